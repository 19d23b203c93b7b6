"""The recorder: bounded in bytes, and no error or wait of a consumer ends it or reaches a request."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from lading.artifact.manifest import ModelInfo
from lading.record.exchange import Exchange
from lading.record.metrics import RecordingMetrics
from lading.record.recorder import Recorder

MODEL = ModelInfo("small", "1", "fp32", "sha256:0", (), (), 8)


class Slow:
    """A consumer that waits until it is let go."""

    held = waiting = 0

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.entered, self.go = threading.Event(), threading.Event()

    def wants(self, exchange: Exchange) -> bool:
        return bool(exchange.request_id)

    def take(self, exchange: Exchange) -> None:
        self.entered.set()
        self.go.wait()
        self.taken.append(exchange.request_id)

    def tick(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


@pytest.fixture
def slow() -> Iterator[Slow]:
    consumer = Slow()
    yield consumer
    consumer.go.set()


def exchange(request_id: str, *, error: str = "", inputs: np.ndarray | None = None) -> Exchange:
    tensors = None if inputs is None else {"x": inputs}
    return Exchange(request_id, MODEL, "http", 200, error, 0.1, 0.0, tensors, None)


def recorder_of(slow: Slow, max_bytes: float) -> tuple[Recorder, RecordingMetrics]:
    metrics = RecordingMetrics(CollectorRegistry())
    return Recorder([slow], metrics, max_bytes), metrics


def dropped(metrics: RecordingMetrics) -> float:
    (counter,) = metrics.payload_dropped.collect()
    return counter.samples[0].value


def test_what_waits_is_counted_with_all_its_texts_and_more_is_dropped(slow: Slow) -> None:
    recorder, metrics = recorder_of(slow, 100_000)
    recorder.start()
    recorder.offer(exchange("first"))
    assert slow.entered.wait(20)
    for number in range(20):
        recorder.offer(exchange(f"id-{number}", error="x" * 10_000))
    assert 16 <= dropped(metrics) < 20, "10,000 characters may take 40,000 bytes"
    slow.go.set()
    recorder.close(20)
    assert len(slow.taken) == 21 - dropped(metrics)


def test_one_that_is_larger_than_the_limit_is_taken_when_nothing_else_waits(slow: Slow) -> None:
    recorder, metrics = recorder_of(slow, 1000)
    recorder.start()
    recorder.offer(exchange("large", inputs=np.zeros(10_000)))
    recorder.offer(exchange("another", inputs=np.zeros(10_000)))
    assert dropped(metrics) == 1
    slow.go.set()
    recorder.close(20)
    assert slow.taken == ["large"]


def test_an_array_counts_with_the_body_that_it_is_a_part_of() -> None:
    body = b"0" * 1_000_000
    part = np.frombuffer(memoryview(body)[8:40], np.float32).reshape(2, 4)
    assert exchange("id", inputs=part).nbytes >= len(body)
    batch = np.zeros((128, 1000))
    assert exchange("id", inputs=batch[:1]).nbytes < 10_000, "other requests count the other rows"


def test_an_error_in_what_was_posted_is_counted_and_ends_nothing(slow: Slow) -> None:
    recorder, metrics = recorder_of(slow, 1e6)
    recorder.start()
    slow.go.set()
    recorder.post(lambda: 1 / 0)
    recorder.offer(exchange("after"))
    assert recorder.settle(20)
    assert (slow.taken, dropped(metrics)) == (["after"], 1)
    recorder.close(20)


def test_a_consumer_that_hangs_delays_neither_settling_nor_closing_for_long(slow: Slow) -> None:
    recorder, metrics = recorder_of(slow, 1e6)
    recorder.start()
    for number in range(3):
        recorder.offer(exchange(f"id-{number}"))
    assert slow.entered.wait(20)
    assert not recorder.settle(0.01)
    with capture_logs() as logs:
        recorder.close(0.01)
    (line,) = logs
    assert (line["log_level"], line["consumers"]) == ("error", ["Slow"])
    assert line["rows"] == dropped(metrics) >= 2
