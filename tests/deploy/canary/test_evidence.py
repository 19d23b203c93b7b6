"""What both releases answered is read from a real Prometheus, and whether they agree from themselves."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from lading.cli import app
from lading.deploy.canary.evidence import Prometheus, agreement, pods_of
from lading.errors import CanaryError, ClientError
from lading.protocol.client import Access
from tests.given.api_server import api_server, endpoints, route
from tests.given.counted import prometheus_that_counted
from tests.given.live_server import LiveServer, live_server, wait_until
from tests.given.locked_server import locked_server
from tests.given.small_artifacts import colour_artifact, graph_artifact, table_artifact, typed_artifact
from tools.stack import prometheus_stack

TWO_RELEASES = {
    "httproutes/cards": route(),
    "endpointslices/a": endpoints("cards-a", 1),
    "endpointslices/b": endpoints("cards-b", 1),
}


def test_two_releases_of_one_artifact_answer_the_same(tmp_path: Path) -> None:
    for make in (colour_artifact, graph_artifact, table_artifact):
        artifact = make(tmp_path / make.__name__)
        with live_server(artifact) as one, live_server(artifact) as other:
            assert agreement(one.url, other.url, None) == 1.0
            assert agreement(one.url, other.url, artifact.path) == 1.0


def test_releases_with_keys_and_tls_are_asked_with_both(tmp_path: Path) -> None:
    with locked_server(table_artifact(tmp_path / "table"), tmp_path) as (server, access):
        assert agreement(server.url, server.url, None, access=access) == 1.0
        with pytest.raises(ClientError, match="answered 401"):
            agreement(server.url, server.url, None, access=Access(ca=access.ca))


def test_what_is_no_release_of_the_same_model_cannot_be_compared(tmp_path: Path) -> None:
    with live_server(table_artifact(tmp_path / "a")) as one, live_server(typed_artifact(tmp_path / "b")) as other:
        with pytest.raises(ClientError, match="answered 404"):
            agreement(one.url, other.url, None)
        with pytest.raises(ClientError, match="does not answer"):
            agreement("http://127.0.0.1:1", other.url, None)


def test_no_prometheus_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CanaryError, match="does not answer"):
        Prometheus("http://127.0.0.1:1").window("", 60)
    with (
        live_server(table_artifact(tmp_path / "a")) as server,
        pytest.raises(CanaryError, match="refused sum"),
    ):
        Prometheus(server.url).window("", 60)


def test_a_releases_pods_are_told_from_those_of_one_whose_name_goes_on() -> None:
    assert (
        pods_of("serve", "cards")
        == 'namespace="serve",pod=~"cards-[bcdfghjklmnpqrstvwxz2456789]{5,10}-[bcdfghjklmnpqrstvwxz2456789]{5}"'
    )


def ask(server: LiveServer, stop: threading.Event) -> None:
    with httpx.Client(base_url=server.url) as client:
        while not stop.wait(0.02):
            client.post("/predict", json={"features": [[1.0, 2.0, 3.0, 4.0]]})


@pytest.mark.slow
def test_the_command_promotes_a_release_by_what_prometheus_counted(tmp_path: Path) -> None:
    artifact = table_artifact(tmp_path / "table")
    stop = threading.Event()
    with (
        live_server(artifact) as one,
        live_server(artifact) as other,
        api_server({**TWO_RELEASES, "endpointslices/b": endpoints("cards-b", 8)}) as api,  # enough for all
        prometheus_stack(
            tmp_path / "prometheus",
            {"serve": [one.url.removeprefix("http://"), other.url.removeprefix("http://")]},
            [],
            interval="1s",
        ) as stack,
    ):
        threads = [threading.Thread(target=ask, args=(server, stop)) for server in (one, other)]
        for thread in threads:
            thread.start()
        try:
            counted = Prometheus(stack.prometheus)
            selectors = [f'instance="{server.url.removeprefix("http://")}"' for server in (one, other)]
            wait_until(lambda: all(counted.window(own, 10).requests > 5 for own in selectors), 60)
            words = ["canary", "cards-a", "cards-b", "--api", api.url, "--namespace", "serve", "--steps", "10,50"]
            words += [
                "--minutes",
                "0.1",
                "--min-requests",
                "5",
                "--p99-ratio",
                "1000",
                "--prometheus",
                stack.prometheus,
            ]
            wait_until(lambda: all(counted.scrapes(own, 6) > 1 for own in selectors), 60)
            words += ["--patience", "9", "--stable-url", one.url, "--canary-url", other.url]
            words += ["--stable-selector", selectors[0], "--canary-selector", selectors[1]]
            done = CliRunner().invoke(app, words)
            assert done.exit_code == 0, done.output
            assert api.weights() == [10, 50, 100]
            assert "both answer the same on 100.0% of the inputs" in done.output
            assert "requests failed (0.00%)" in done.output
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def test_the_command_asks_locked_releases_with_key_and_certificate(tmp_path: Path) -> None:
    with (
        locked_server(table_artifact(tmp_path / "table"), tmp_path) as (server, access),
        api_server(TWO_RELEASES) as api,
        prometheus_that_counted({"count": 2.0, "increase code": 1000.0, "histogram_quantile": 0.02}) as prometheus,
    ):
        words = ["canary", "cards-a", "cards-b", "--api", api.url, "--namespace", "serve", "--steps", "10"]
        words += ["--minutes", "0.01", "--prometheus", prometheus]
        words += ["--stable-url", server.url, "--canary-url", server.url, "--ca", str(access.ca)]
        done = CliRunner().invoke(app, [*words, "--key", str(access.key)])
        assert done.exit_code == 0, done.output
        assert "both answer the same on 100.0% of the inputs" in done.output
        assert api.weights() == [10, 100]
        api.objects["httproutes/cards"] = route()
        refused = CliRunner().invoke(app, words)
        assert isinstance(refused.exception, ClientError)
        assert "answered 401" in str(refused.exception)
        assert api.weights()[2:] == [], "without the key no request moves"


def test_the_commands_dry_run_prints_a_patch_for_each_step() -> None:
    with api_server({"httproutes/cards": route()}) as api:
        words = ["canary", "cards-a", "cards-b", "--api", api.url, "--namespace", "serve", "--dry-run"]
        done = CliRunner().invoke(app, words)
        assert api.history == []
    patches = [json.loads(line.split("'")[1]) for line in done.output.splitlines() if " patch " in line]
    assert [one[-1]["value"] for one in patches] == [5, 25, 50, 100]
