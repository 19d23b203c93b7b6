"""``/livez``, ``/readyz``, ``/metrics``, request ids, errors nobody foresaw, and draining, on a real server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from lading.artifact import Artifact
from lading.errors import SettingsError
from lading.log import configure_logging
from lading.serve.http.app import App
from lading.settings import Settings
from tests.given.changed_artifacts import with_golden_outputs
from tests.given.live_server import LiveServer, live_server, wait_until
from tests.given.pictures import Encode
from tests.given.small_artifacts import lookup_artifact

BODY = {"features": [[1, 2, 3, 4]]}


def samples(live: LiveServer) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample of ``/metrics`` by its name and its labels' values."""
    families = text_string_to_metric_families(live.client.get("/metrics").text)
    return {
        (sample.name, tuple(sample.labels[key] for key in sorted(sample.labels))): sample.value
        for family in families
        for sample in family.samples
    }


def test_a_ready_server_says_so(table: LiveServer) -> None:
    for path in ("/livez", "/readyz"):
        answer = table.client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")


def test_before_the_model_is_loaded_it_is_alive_and_not_ready(small: dict[str, Artifact]) -> None:
    loading = threading.Event()
    with live_server(small["table"], ready=False, loading=loading) as live:
        answer = live.client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["error"] == "not ready: the model is being loaded"
        assert live.client.get("/livez").status_code == 200
        refused = live.client.post("/predict", json=BODY)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        loading.set()
        wait_until(lambda: live.client.get("/readyz").status_code == 200)
        assert live.client.post("/predict", json=BODY).status_code == 200


def test_golden_outputs_that_do_not_match_are_why_it_is_not_ready(small: dict[str, Artifact], tmp_path: Path) -> None:
    moved = with_golden_outputs(small["table"], tmp_path / "moved", shift=0.5)
    with live_server(moved, ready=False) as live:
        wait_until(lambda: "golden" in live.app.repository.not_ready_because)
        answer = live.client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["error"].startswith(
            "not ready: variant 'fp32' does not reproduce its golden output 'total' here: differs by 0.5"
        )
        assert live.client.get("/livez").status_code == 200
        assert live.client.post("/predict", json=BODY).status_code == 503
        assert samples(live)["lading_ready", ("small-table", "fp32")] == 0


def test_requests_are_counted_and_timed(small: dict[str, Artifact]) -> None:
    with live_server(small["table"]) as live:
        before = samples(live)
        live.client.post("/predict", json=BODY)
        live.client.post("/predict", json={"features": [[1, 2, 3, 4]] * 3})
        live.client.post("/predict", json={})
        live.client.get("/livez")
        after = samples(live)
    assert not any(value for (name, _), value in before.items() if name == "lading_requests_total")
    assert after["lading_requests_total", ("200", "small-table", "http", "fp32")] == 2
    assert after["lading_requests_total", ("400", "small-table", "http", "fp32")] == 1
    assert after["lading_request_duration_seconds_count", ("small-table", "http", "fp32")] == 3
    assert after["lading_schema_violations_total", ("name", "small-table", "fp32")] == 1
    assert after["lading_start_duration_seconds", ()] > 0
    assert after["lading_inference_duration_seconds_count", ("small-table", "fp32")] == 2
    assert after["lading_decode_duration_seconds_count", ("small-table", "fp32")] == 2
    assert after["lading_batch_size_sum", ("small-table", "fp32")] == 4
    assert after["lading_requests_in_flight", ()] == 0
    assert after["lading_ready", ("small-table", "fp32")] == 1
    assert after["lading_usable_cpus", ()] > 0
    assert any(name == "process_resident_memory_bytes" for name, _ in after)


def test_the_metrics_say_what_is_served(table: LiveServer) -> None:
    digest = table.artifact.digest
    assert samples(table)["lading_model_info", (digest, "small-table", "fp32", "fp32", "1")] == 1


def test_a_request_id_comes_back(table: LiveServer) -> None:
    answer = table.client.post("/predict", json=BODY, headers={"x-request-id": "order-66/a:b"})
    assert answer.headers["x-request-id"] == "order-66/a:b"


@pytest.mark.parametrize("sent", [None, "", "two words", "x" * 129, '"quoted"', "-leading"])
def test_a_missing_or_unusable_request_id_is_made_anew(table: LiveServer, sent: str | None) -> None:
    headers = {} if sent is None else {"x-request-id": sent}
    made = [table.client.get("/livez", headers=headers).headers["x-request-id"] for _ in range(2)]
    assert all(len(one) == 32 and one.isalnum() for one in made)
    assert made[0] != made[1]


def test_an_unforeseen_error_is_logged_with_its_id_and_hidden_from_the_client(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    configure_logging("info", "json")
    with live_server(lookup_artifact(tmp_path / "lookup")) as live:
        assert live.client.post("/predict", json={"index": [[1]]}).json()["outputs"] == {"entry": [[1.5]]}
        answer = live.client.post("/predict", json={"index": [[7]]}, headers={"x-request-id": "broken-1"})
        assert live.client.post("/predict", json={"index": [[1]]}).status_code == 200
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] == "broken-1"
    assert answer.json() == {
        "error": "something went wrong in the server; its log has the details under this request id",
        "status": 500,
        "request_id": "broken-1",
    }
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    line = next(line for line in lines if line["event"] == "unexpected error")
    assert (line["request_id"], line["path"], line["level"]) == ("broken-1", "/predict", "error")
    assert "indices element out of data bounds" in line["exception"][0]["exc_value"]
    assert "locals" not in line["exception"][0]["frames"][0]


def test_each_request_is_logged_when_asked_for(small: dict[str, Artifact], capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "console")
    with live_server(small["table"], access_log=True) as live:
        live.client.post("/predict", json=BODY, headers={"x-request-id": "seen-1"})
    logged = next(line for line in capfd.readouterr().err.splitlines() if "seen-1" in line)
    assert all(part in logged for part in ("method=POST", "path=/predict", "status=200", "ms="))


def test_a_client_that_goes_away_is_counted_as_such(small: dict[str, Artifact]) -> None:
    with live_server(small["table"]) as live:

        def broken_off() -> Iterator[bytes]:
            yield b'{"features": '
            wait_until(lambda: samples(live)["lading_requests_in_flight", ()] == 1)
            raise ConnectionAbortedError

        with httpx.Client(base_url=live.url) as leaving, pytest.raises(ConnectionAbortedError):
            leaving.post("/predict", content=broken_off())
        wait_until(lambda: samples(live)["lading_requests_in_flight", ()] == 0)
        assert samples(live)["lading_requests_total", ("499", "small-table", "http", "fp32")] == 1


def test_a_request_that_has_begun_is_answered_before_the_server_stops(small: dict[str, Artifact]) -> None:
    with live_server(small["table"]) as live, ThreadPoolExecutor(1) as pool:
        stopping = threading.Event()

        def slow_body() -> Iterator[bytes]:
            yield b'{"features": [[1, 2, '
            assert stopping.wait(20)
            yield b"3, 4]]}"

        pending = pool.submit(httpx.post, f"{live.url}/predict", content=slow_body(), timeout=20)
        wait_until(lambda: samples(live)["lading_requests_in_flight", ()] == 1)
        live.stop.set()
        wait_until(lambda: not accepts(live.url))
        stopping.set()
        assert pending.result(20).json()["outputs"] == {"total": [[10.0]]}


def test_one_request_too_many_is_answered_429_with_a_time_to_return(small: dict[str, Artifact]) -> None:
    with live_server(small["table"], lanes=1, max_queue=0) as live:
        gate = threading.Event()
        live.hold(gate)
        refused = live.client.post("/predict", json=BODY)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"] == (
            "1 in progress or waiting, which is as many requests as may: send it again later"
        )
        gate.set()
        wait_until(lambda: live.client.post("/predict", json=BODY).status_code == 200)


def accepts(url: str) -> bool:
    try:
        httpx.get(f"{url}/livez", timeout=5)
    except httpx.TransportError:
        return False
    return True


def test_two_servers_in_one_process_count_for_themselves(
    table: LiveServer, pictures: LiveServer, encode: Encode
) -> None:
    pictures.client.post("/classify", content=encode())
    assert not any(labels[1:2] == ("small-colour",) for _, labels in samples(table))


def test_an_app_without_an_artifact_says_how_to_name_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LADING_ARTIFACT", raising=False)
    with pytest.raises(SettingsError, match="set LADING_ARTIFACT, or write `lading serve artifacts/cards`"):
        App(Settings())


def test_the_artifact_may_come_from_the_settings(small: dict[str, Artifact]) -> None:
    app = App(Settings(artifact=small["table"].path, lanes=1))
    assert app.repository.find().artifact.digest == small["table"].digest
