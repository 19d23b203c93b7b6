"""Real servers, a real Prometheus and Alertmanager, hours shortened to minutes: the right alert arrives, and no other.

Each fault has a namespace of its own, and all happen at once beside a server that is well. Windows and waiting times
are divided by 30. Of the burn-rate alerts the pair of 1 h and 5 m is kept: the longer ones would take an hour even so,
and promtool tests them.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from prometheus_client import Gauge

from lading.artifact import Artifact
from lading.monitoring.rules import Alert, Group, shortened
from lading.monitoring.slo import Slo
from lading.monitoring.write import rule_files
from tests.given.live_server import LiveServer, live_server
from tests.given.small_artifacts import lookup_artifact, table_artifact, typed_artifact
from tests.given.traffic import PATIENCE_S, asking, hold_a_lane, post
from tools.stack import free_port, prometheus_stack

SHORTER = 30
EXPECTED = {
    "well": set(),
    "errors": {"LadingAvailabilityBudgetBurn"},
    "latency": {"LadingLatencyBudgetBurn"},
    "overload": {"LadingAvailabilityBudgetBurn", "LadingShedding", "LadingQueueSaturated"},
    "drift": {"LadingDrift"},
    "dead": {"LadingScrapeLost"},
}
INHIBITED = ("errors", "LadingServerErrors")
"""A ticket about a model for which there is a page: Alertmanager holds it back, if the page came first."""
GOOD = {"features": [[1, 2, 3, 4]]}
TYPED = {"count": [[1, 2]], "flag": [[True, False]]}


@dataclass
class Receiver:
    """What reached the webhook: when each alert fired and resolved, in seconds since the faults began."""

    url: str
    begin: float = 0.0
    fired: dict[tuple[str, str], float] = field(default_factory=dict)
    resolved: dict[tuple[str, str], float] = field(default_factory=dict)

    def take(self, body: bytes) -> None:
        """Read one notification."""
        for alert in json.loads(body)["alerts"]:
            key = (alert["labels"].get("namespace", ""), alert["labels"]["alertname"])
            at = self.fired if alert["status"] == "firing" else self.resolved
            at.setdefault(key, time.monotonic() - self.begin)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.take(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Receiver(f"http://127.0.0.1:{server.server_port}/")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def rules() -> list[Group]:
    slos = [
        Slo.model_validate({"model": "small-types", "latency": {"threshold_ms": 100}}),
        Slo.model_validate({"model": "*", "latency": {"threshold_ms": 10_000}}),
    ]
    groups = [group for file in rule_files(slos).values() for group in file]
    kept = [
        replace(
            group,
            rules=[r for r in group.rules if not isinstance(r, Alert) or r.labels.get("long_window", "1h") == "1h"],
        )
        for group in groups
    ]
    return shortened(kept, SHORTER)


def send_slowly(live: LiveServer, body: object) -> Callable[[], httpx.Response]:
    """A request whose second half comes half a second after the first."""
    content = json.dumps(body).encode()

    def halves() -> Iterator[bytes]:
        yield content[:5]
        time.sleep(0.5)
        yield content[5:]

    return lambda: live.client.post("/predict", content=halves())


def wait_for(condition: Callable[[], bool], what: str, receiver: Receiver) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"{what}; fired: {receiver.fired}, resolved: {receiver.resolved}"
        time.sleep(0.2)


@pytest.mark.slow
def test_each_fault_raises_its_alerts_and_no_other_and_they_resolve(tmp_path: Path, receiver: Receiver) -> None:
    table = table_artifact(tmp_path / "table")
    port = free_port()
    with contextlib.ExitStack() as running:

        def serve(artifact: Artifact, max_queue: int = 256) -> LiveServer:
            live = running.enter_context(live_server(artifact, max_queue=max_queue))
            as_if_new(live)
            return live

        well, drifting, other = (serve(table) for _ in range(3))
        failing = serve(lookup_artifact(tmp_path / "lookup"))
        slow = serve(typed_artifact(tmp_path / "typed"))
        full = serve(table, max_queue=1)
        dying = contextlib.ExitStack()
        running.enter_context(dying)
        as_if_new(dying.enter_context(live_server(table, http_port=port)))
        for live, body in ((well, GOOD), (drifting, GOOD), (failing, {"index": [[1]]}), (slow, TYPED), (full, GOOD)):
            running.enter_context(asking(post(live, body), 0.2))
        score, threshold = (
            recorded(drifting, name).labels("small-table", "features", "psi")
            for name in ("lading_drift_score", "lading_drift_threshold")
        )
        score.set(0.05)
        threshold.set(0.2)
        evaluated = recorded(drifting, "lading_drift_evaluated_timestamp_seconds", "model")
        evaluated.labels("small-table").set_to_current_time()
        places = {"well": well, "errors": failing, "latency": slow, "overload": full, "drift": drifting}
        targets = {name: [live.url[7:]] for name, live in places.items()} | {
            "dead": [other.url[7:], f"127.0.0.1:{port}"]
        }
        stack = running.enter_context(
            prometheus_stack(tmp_path / "stack", targets, rules(), interval="2s", webhook=receiver.url)
        )
        # The last target is up, and an interval later all of them have been seen twice.
        wait_for(lambda: len(up(stack.prometheus)) == 7, "not every server was scraped", receiver)
        with contextlib.ExitStack() as faults:
            receiver.begin = time.monotonic()
            faults.enter_context(asking(post(failing, {"index": [[7]]}), 0.3))
            for _ in range(2):
                faults.enter_context(asking(send_slowly(slow, TYPED), 0.1))
            for _ in range(4):
                faults.enter_context(asking(lambda: hold_a_lane(full), 0.0))
                faults.enter_context(asking(post(full, GOOD), 0.1))
            score.set(0.6)
            dying.close()
            expected = {(space, name) for space, names in EXPECTED.items() for name in names}
            wait_for(lambda: expected <= set(receiver.fired), "an alert did not arrive", receiver)
            wait_for(lambda: INHIBITED in held_back(stack.alertmanager), "no ticket was held back", receiver)
        mended = time.monotonic() - receiver.begin
        score.set(0.05)
        as_if_new(dying.enter_context(live_server(table, http_port=port)))
        wait_for(lambda: expected <= set(receiver.resolved), "an alert did not resolve", receiver)
    assert {(space, name) for space, name in receiver.fired if (space, name) != INHIBITED} == expected
    print(f"\nseconds since the faults began; they were mended after {mended:.0f} s")
    for space, name in sorted(expected):
        print(f"| {space} | {name} | {receiver.fired[space, name]:.0f} | {receiver.resolved[space, name]:.0f} |")


def held_back(alertmanager: str) -> set[tuple[str, str]]:
    """Alerts that fire and that nobody is told, because another one about the same model says more."""
    alerts = httpx.get(f"{alertmanager}/api/v2/alerts", params={"inhibited": "true"}).json()
    return {
        (alert["labels"]["namespace"], alert["labels"]["alertname"])
        for alert in alerts
        if alert["status"]["inhibitedBy"]
    }


def as_if_new(live: LiveServer) -> None:
    """This process began with the first test and not with the server, and the artifact says a date of long ago."""
    model = live.app.repository.find()
    live.app.metrics.start_duration.set(1.0)
    live.app.metrics.model_created.labels(model.name, model.variant, model.version).set(time.time())


def recorded(live: LiveServer, name: str, *labels: str) -> Gauge:
    """The gauge that drift detection sets."""
    registry = live.app.metrics.registry
    found = registry._names_to_collectors.get(name)
    of = labels or ("model", "feature", "test")
    return found if isinstance(found, Gauge) else Gauge(name, "Drift.", of, registry=registry)


def up(prometheus: str) -> list[str]:
    """Instances that answered the last scrape."""
    answer = httpx.get(f"{prometheus}/api/v1/query", params={"query": "count_over_time(up[1m]) > 1 and up == 1"}).json()
    return [series["metric"]["instance"] for series in answer["data"]["result"]]
