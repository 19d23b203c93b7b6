"""Locust's users. Each sends one request per second of its kind, for any model."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import gevent
import grpc
from locust import FastHttpUser, User, constant_throughput, task

from lading.deploy.load.shapes import Kind
from lading.protocol.client import ANYONE, Access
from lading.protocol.client_codec import Request

METHOD = "/inference.GRPCInferenceService/ModelInfer"
RATE = 1.0
"""Requests per second of one user."""


class Sending(User):
    """Sends the bodies of its kind in turn. :mod:`lading.deploy.load.locustfile` makes them once."""

    abstract = True
    kind: ClassVar[Kind]
    bodies: ClassVar[dict[Kind, list[Request]]] = {}
    access: ClassVar[Access] = ANYONE
    secrets: ClassVar[Mapping[str, str]] = {}
    """Headers of ``access``, read once."""
    timeout_s: ClassVar[float] = 10.0
    wait_time = constant_throughput(RATE)

    def on_start(self) -> None:
        """Start at a random time in the first second, so that users that start together do not send together."""
        own = self.bodies[self.kind]
        self.turn: Iterator[Request] = itertools.islice(itertools.cycle(own), random.randrange(len(own)), None)
        gevent.sleep(random.uniform(0, 1 / RATE))


class _Http(Sending, FastHttpUser):
    abstract = True
    insecure = False

    def __init__(self, environment: Any) -> None:
        self.network_timeout = self.connection_timeout = self.timeout_s
        self.ssl_context_factory = self.access.trust
        super().__init__(environment)

    @task
    def send(self) -> None:
        """One request over a kept connection."""
        body = next(self.turn)
        headers = {**body.headers, **self.secrets}
        name = f"{body.path} ({self.kind})"
        # The annotation says str, but geventhttpclient takes bytes.
        self.client.post(body.path, data=body.content, headers=headers, name=name)  # type: ignore[arg-type]


class Plain(_Http):
    """``/classify`` with one encoded file, else ``/predict`` with JSON."""

    kind = "plain"


class V2Json(_Http):
    """The Open Inference Protocol, numbers as JSON."""

    kind = "v2-json"


class V2Binary(_Http):
    """The Open Inference Protocol with its binary tensor extension."""

    kind = "v2-binary"


class Grpc(Sending):
    """The Open Inference Protocol over gRPC, on a channel of its own."""

    kind = "grpc"
    address: ClassVar[str] = ""

    def on_start(self) -> None:
        """Open the channel."""
        # Channels of a process share connections by default, but each user is a client of its own.
        self.channel = self.access.channel(self.address, [("grpc.use_local_subchannel_pool", 1)])
        self.call = self.channel.unary_unary(METHOD)  # bytes in, bytes out: nothing to parse
        super().on_start()

    def on_stop(self) -> None:
        """Close the channel."""
        self.channel.close()

    @task
    def send(self) -> None:
        """One call, reported to Locust as it reports its own HTTP requests."""
        body = next(self.turn)
        started, begun = time.time(), time.perf_counter()
        error: Exception | None = None
        answer = b""
        try:
            answer = self.call(body.content, timeout=self.timeout_s, metadata=tuple(self.secrets.items()))
        except grpc.RpcError as failed:
            error = RuntimeError(f"{failed.code().name}: {failed.details()}")
        self.environment.events.request.fire(
            request_type="GRPC",
            name="ModelInfer (grpc)",
            response_time=1000 * (time.perf_counter() - begun),
            response_length=len(answer),
            exception=error,
            context=self.context(),
            start_time=started,
            url=self.address,
        )


USERS: dict[Kind, type[Sending]] = {user.kind: user for user in (Plain, V2Json, V2Binary, Grpc)}
