"""What Locust runs: users of the model's signature, a shape, and an exit code from the SLO.

``lading load`` runs it without a page; ``locust -f`` with one, and with workers on other machines.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import gevent
import grpc.experimental.gevent
from locust import LoadTestShape, events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.stats import RequestStats
from rich.console import Console

from lading.deploy.load import users
from lading.deploy.load.bodies import bodies, examples
from lading.deploy.load.shapes import SHAPES, users_at
from lading.deploy.load.signature import from_artifact, from_server, read_files
from lading.deploy.load.slo import evaluate, read_objectives
from lading.deploy.load.users import Grpc, Plain, V2Binary, V2Json  # noqa: F401 - Locust looks for them here
from lading.errors import LadingError
from lading.protocol.client import Access

grpc.experimental.gevent.init_gevent()

REFUSED = 3
"""Exit code when a gate refuses."""


class ByTheClock(LoadTestShape):
    """The chosen shape."""

    def tick(self) -> tuple[int, float] | None:
        """Number of users now, and how many may start per second."""
        assert self.runner is not None
        given = self.runner.environment.parsed_options
        assert given is not None
        wanted = users_at(given.shape, self.get_run_time(), rate=given.rate, duration_s=given.seconds)
        return None if wanted is None else (wanted, max(10.0, given.rate))


@events.init_command_line_parser.add_listener
def arguments(parser: LocustArgumentParser) -> None:
    """Add our options, which Locust's page shows too."""
    add = parser.add_argument
    add("--grpc", default="", help="host:port of gRPC")
    add("--artifact", default="", help="artifact folder; default: ask the server for the signature")
    add("--model", default="", help="which model of the server")
    add("--pictures", default="", help="file or folder of pictures to send")
    add("--shape", choices=SHAPES, default="constant", help="how the rate changes")
    add("--rate", type=float, default=10.0, help="maximum rate, in requests per second")
    add("--seconds", type=float, default=60.0, help="length of the test")
    add("--warm-up", type=float, default=0.0, help="seconds at the start that do not count")
    add("--slo", default="errors=0%", help="the SLO")
    add("--timeout", type=float, default=10.0, help="request timeout, in seconds")
    add("--key-file", default="", help="file of API keys; the first is sent", include_in_web_ui=False)
    add("--ca", default="", help="PEM file of the certificate to trust", include_in_web_ui=False)


@events.init.add_listener
def prepare(environment: Environment, **_: Any) -> None:
    """Make the request bodies of each kind of user."""
    given = environment.parsed_options
    assert given is not None
    try:
        _prepare(environment, given)
        read_objectives(given.slo)
    except LadingError as error:
        Console(stderr=True).print(f"error: {error}", style="red", highlight=False)
        sys.exit(error.exit_code)


def _prepare(environment: Environment, given: Namespace) -> None:
    access = Access(*(Path(file) if file else None for file in (given.key_file, given.ca)))
    users.Sending.access, users.Sending.secrets = access, access.headers()
    users.Sending.timeout_s, Grpc.address = given.timeout, given.grpc
    if given.artifact:
        signature = from_artifact(Path(given.artifact))
    else:
        signature = from_server(environment.host or given.host, given.model or None, access=access)
    inputs = examples(signature, read_files(given.pictures))
    for kind in users.USERS:
        users.Sending.bodies[kind] = bodies(signature, kind, inputs)


@events.test_start.add_listener
def forget_the_warm_up(environment: Environment, **_: Any) -> None:
    """Reset the figures after the warm-up: new connections and cold caches are not part of the SLO."""
    given = environment.parsed_options
    if given is not None and given.warm_up > 0:
        gevent.spawn_later(given.warm_up, environment.stats.reset_all)


@events.quitting.add_listener
def verdict(environment: Environment, **_: Any) -> None:
    """Print the SLO's table, and exit with 3 if it was missed."""
    given = environment.parsed_options
    if given is None or given.worker:
        return
    found = evaluate(read_objectives(given.slo), LocustFigures(environment.stats))
    Console(stderr=True).print(found.table())
    environment.process_exit_code = 0 if found.passed else REFUSED


class LocustFigures:
    """Locust's figures over all requests. Below 100 ms it keeps latencies as whole milliseconds."""

    def __init__(self, stats: RequestStats) -> None:
        self._total = stats.total

    @property
    def requests(self) -> int:
        return self._total.num_requests

    @property
    def failures(self) -> int:
        return self._total.num_failures

    @property
    def rate(self) -> float:
        return float(self._total.total_rps)

    @property
    def mean_ms(self) -> float:
        return float(self._total.avg_response_time)

    @property
    def max_ms(self) -> float:
        return float(self._total.max_response_time)

    def percentile_ms(self, share: float) -> float:
        return float(self._total.get_response_time_percentile(share))
