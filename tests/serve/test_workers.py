"""Several worker processes behind one port: one answer to probes and to a scrape, and a worker that ends comes back."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from lading.artifact import Artifact
from lading.protocol.proto.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.given.grpc_message import typed
from tests.given.live_server import wait_until
from tests.given.metric_names import NAMES
from tests.given.served_process import LADING, ServedProcess, serving

BODY = {"features": [[1, 2, 3, 4]]}


@pytest.fixture(scope="module")
def pair(small: dict[str, Artifact], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedProcess]:
    """Two workers."""
    log: Path = tmp_path_factory.mktemp("pair") / "log"
    with serving(small["table"].path, log, workers=2, LADING_LANES="2") as served:
        wait_until(lambda: httpx.get(f"{served.url}/readyz").status_code == 200)
        yield served


def scrape(served: ServedProcess) -> dict[str, list[tuple[dict[str, str], float]]]:
    families = text_string_to_metric_families(httpx.get(f"{served.url}/metrics").text)
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in families:
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def pids(served: ServedProcess) -> set[int]:
    return {int(labels["pid"]) for labels, _ in scrape(served)["process_resident_memory_bytes"]}


def count(served: ServedProcess, protocol: str) -> float:
    return sum(value for labels, value in scrape(served)["lading_requests_total"] if labels["protocol"] == protocol)


@pytest.mark.slow
def test_every_scrape_counts_what_every_worker_answered(pair: ServedProcess) -> None:
    before = {"http": 0.0, "grpc": 0.0}
    for _ in range(40):  # a connection each, so that both workers get some
        assert httpx.post(f"{pair.url}/predict", json=BODY).status_code == 200
    for _ in range(10):
        with grpc.insecure_channel(pair.grpc, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            GRPCInferenceServiceStub(channel).ModelInfer(typed([1, 2, 3, 4]))  # type: ignore[no-untyped-call]
    for _ in range(8):  # whichever worker is asked
        assert count(pair, "http") == before["http"] + 40
        assert count(pair, "grpc") == before["grpc"] + 10
    found = scrape(pair)
    assert len(pids(pair)) == 2
    assert [labels for labels, _ in found["lading_ready"]] == [{"model": "small-table", "variant": "fp32"}]
    one_each = ("lading_ready", "lading_requests_in_flight", "lading_queue_length", "lading_usable_cpus")
    assert {name: len(found[name]) for name in one_each} == dict.fromkeys(one_each, 1)
    assert found["lading_ready"][0][1] == 1
    assert found["lading_requests_in_flight"][0][1] == 0
    assert found["lading_inference_duration_seconds_count"][0][1] == 50
    for _ in range(8):
        (statistics,) = httpx.get(f"{pair.url}/v2/models/small-table/stats").json()["model_stats"]
        assert (statistics["inference_count"], statistics["inference_stats"]["success"]["count"]) == (50, 50)
        assert abs(statistics["last_inference"] / 1e3 - time.time()) < 600
    names = {name: set(entries[0][0]) for name, entries in found.items() if name in NAMES}
    assert names == {name: labels for name, labels in NAMES.items() if name != "lading_shed_total"} | {
        "lading_shed_total": {"reason"}
    }


@pytest.mark.slow
def test_the_status_page_shows_what_all_workers_answer(pair: ServedProcess) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for _ in range(20):
            httpx.post(f"{pair.url}/predict", json=BODY)
        pages = [httpx.get(f"{pair.url}/status").text for _ in range(8)]  # whichever worker is asked
        found = [re.search(r"answered ([\d.]+)", page) for page in pages]
        rates = [float(match.group(1)) if match else 0.0 for match in found]  # none before there are two samples
        # Their samples are up to two seconds apart, and half of the traffic would be half of the rate.
        if min(rates) > 0.75 * max(rates) > 0:
            return
    raise AssertionError(rates)


@pytest.mark.slow
def test_a_killed_worker_under_load_is_started_again_and_the_other_answers(pair: ServedProcess) -> None:
    before = pids(pair)
    counted = count(pair, "http")
    stop_at = time.monotonic() + 20

    def ask() -> tuple[int, int]:
        good = lost = 0
        while time.monotonic() < stop_at and pids_now() == before:
            try:
                good += httpx.post(f"{pair.url}/predict", json=BODY, timeout=10).status_code == 200
            except httpx.TransportError:
                lost += 1
        return good, lost

    def pids_now() -> set[int]:
        try:
            return pids(pair) or before
        except httpx.TransportError:
            return before

    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(ask) for _ in range(3)]
        wait_until(lambda: count(pair, "http") > counted + 10)
        os.kill(next(iter(before)), signal.SIGKILL)
        results = [one.result(30) for one in asking]
    assert all(good for good, _ in results)
    # A connection that the killed worker held is lost, and no other.
    assert sum(lost for _, lost in results) <= 3
    wait_until(lambda: len(pids(pair)) == 2, 40)
    assert "it is started again" in pair.log.read_text()
    # What the dead worker had counted still counts, so that no rate goes back.
    assert count(pair, "http") >= counted + sum(good for good, _ in results)
    assert httpx.get(f"{pair.url}/readyz").status_code == 200
    assert httpx.get(f"{pair.url}/livez").status_code == 200


def counters(served: ServedProcess) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every series that may only rise; those of one process end with it."""
    return {
        (name, frozenset(labels.items())): value
        for name, samples in scrape(served).items()
        if name.endswith(("_total", "_count", "_bucket", "_sum"))
        for labels, value in samples
        if "pid" not in labels
    }


@pytest.mark.slow
def test_no_counter_goes_back_when_one_of_four_workers_is_killed(small: dict[str, Artifact], tmp_path: Path) -> None:
    over = threading.Event()

    def ask(served: ServedProcess) -> None:
        while not over.is_set():
            with contextlib.suppress(httpx.TransportError):
                httpx.post(f"{served.url}/predict", json=BODY, timeout=10)

    with serving(small["table"].path, tmp_path / "log", workers=4) as served, ThreadPoolExecutor(2) as pool:
        wait_until(lambda: len(pids(served)) == 4, 60)
        asking = [pool.submit(ask, served) for _ in range(2)]
        try:
            before, fallen, lost = counters(served), [], 0
            for number in range(200):
                if number == 50:
                    os.kill(pids(served).pop(), signal.SIGKILL)
                try:
                    after = counters(served)
                except httpx.TransportError:  # the killed worker had taken the connection
                    lost += 1
                    continue
                fallen += [
                    (number, name, value, after.get(name))
                    for name, value in before.items()
                    if after.get(name, -1) < value
                ]
                before = after
        finally:
            over.set()
        for one in asking:
            one.result(30)
        assert fallen == []
        assert lost <= 3
        assert "it is started again" in served.log.read_text()


@pytest.mark.slow
def test_no_probe_and_no_request_fails_while_a_worker_is_replaced(pair: ServedProcess) -> None:
    before = pids(pair)
    os.kill(next(iter(before)), signal.SIGKILL)
    seen: set[tuple[str, int]] = set()

    def replaced() -> bool:
        for path in ("/livez", "/readyz"):
            with contextlib.suppress(httpx.TransportError):  # the connection was to the worker that was killed
                seen.add((path, httpx.get(f"{pair.url}{path}").status_code))
        with contextlib.suppress(httpx.TransportError):
            seen.add(("/predict", httpx.post(f"{pair.url}/predict", json=BODY).status_code))
        try:
            return len(pids(pair) - before) == 1 and len(pids(pair)) == 2
        except httpx.TransportError:
            return False

    wait_until(replaced, 60)
    assert seen == {("/livez", 200), ("/readyz", 200), ("/predict", 200)}


@pytest.mark.slow
def test_a_stop_stops_every_worker_and_ends_with_0(small: dict[str, Artifact], tmp_path: Path) -> None:
    with serving(small["table"].path, tmp_path / "log", workers=2) as served:
        running = pids(served)
        served.process.terminate()
        assert served.process.wait(40) == 0
    assert not [pid for pid in running if Path(f"/proc/{pid}").exists()]
    assert "Traceback" not in served.log.read_text()


@pytest.mark.slow
def test_workers_end_with_the_process_that_started_them(small: dict[str, Artifact], tmp_path: Path) -> None:
    with serving(small["table"].path, tmp_path / "log", workers=2) as served:
        running = pids(served)
        served.process.kill()
        wait_until(lambda: not [pid for pid in running if Path(f"/proc/{pid}").exists()])


@pytest.mark.slow
def test_a_worker_that_cannot_start_ends_the_server_with_its_error(small: dict[str, Artifact], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = {"LADING_WORKERS": "2", "LADING_PAYLOAD_LOG": str(tmp_path / "file" / "log")}
    command = [*LADING, "serve", str(small["table"].path), "--port", "0", "--grpc-port", "0"]
    ended = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "log cannot be written: Not a directory" in ended.stderr.replace("\n", " ")
    assert "Traceback" not in ended.stderr
