"""Alerts reach someone: a test alert, sent as the docs say, arrives at the receiver of a real Alertmanager."""

from __future__ import annotations

import json
import shlex
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.given.chart import ROOT, one, render, tool
from tests.given.documented import commands
from tests.given.live_server import wait_until
from tools.stack import ALERTMANAGER_EXAMPLE, prometheus_stack

PAGE = ROOT / "docs" / "monitoring.md"


def documented_test_alert() -> str:
    """The command in the docs."""
    (found,) = [line for line in commands(PAGE) if line.startswith("amtool alert add")]
    return found


@contextmanager
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An address on this machine, and the notifications that reach it."""
    arrived: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            arrived.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", arrived
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.slow
def test_a_test_alert_reaches_the_receiver(tmp_path: Path) -> None:
    tool("prometheus-alertmanager")
    with webhook() as (url, arrived), prometheus_stack(tmp_path, {}, [], webhook=url) as stack:
        command = documented_test_alert().replace("http://127.0.0.1:9093", stack.alertmanager)
        subprocess.run([tool("amtool"), *shlex.split(command)[1:]], check=True, capture_output=True)
        wait_until(lambda: bool(arrived), 60)
    (alert,) = arrived[0]["alerts"]
    assert alert["labels"]["alertname"] == "LadingTestAlert"
    assert alert["labels"]["severity"] == "critical"
    assert alert["annotations"]["summary"]


def test_the_example_is_a_configuration_that_alertmanager_takes() -> None:
    checked = subprocess.run(
        [tool("amtool"), "check-config", str(ALERTMANAGER_EXAMPLE)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def matcher(part: dict[str, str]) -> str:
    """The operator's matcher, as Alertmanager writes it."""
    return f'{part["name"]}{part["matchType"]}"{part["value"]}"'


def test_a_page_goes_to_pages_and_anything_else_to_tickets_in_the_example_and_in_the_chart(tmp_path: Path) -> None:
    sets = ("monitoring.alerting.enabled=true", "monitoring.alerting.pages.webhookConfigs[0].url=http://a.example/")
    spec = one(render(*sets), "AlertmanagerConfig")["spec"]
    routes = [
        {"receiver": route["receiver"], "matchers": [matcher(part) for part in route["matchers"]]}
        for route in spec["route"]["routes"]
    ]
    plain = {
        "route": {"receiver": spec["route"]["receiver"], "routes": routes},
        "receivers": [{"name": receiver["name"]} for receiver in spec["receivers"]],
    }
    (tmp_path / "chart.yaml").write_text(yaml.safe_dump(plain))
    for file in (ALERTMANAGER_EXAMPLE, tmp_path / "chart.yaml"):
        for severity, receiver in (("critical", "pages"), ("warning", "tickets")):
            words = [tool("amtool"), "config", "routes", "test", f"--config.file={file}", f"severity={severity}"]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            assert done.stdout.strip() == receiver, done.stderr
