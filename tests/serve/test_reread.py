"""Credentials that are read again: a fault is loud, and a disk that hangs is noticed."""

from __future__ import annotations

import threading

import pytest
from prometheus_client import CollectorRegistry, Gauge
from structlog.testing import capture_logs

from lading.errors import SettingsError
from lading.serve.reread import Reread
from tests.given.live_server import wait_until


class Clock:
    """Monotonic time that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def unreadable() -> Gauge:
    return Gauge("unreadable", "1 while something is wrong.", ("kind",), registry=CollectorRegistry())


def value(gauge: Gauge) -> float:
    (sample,) = (sample for family in gauge.collect() for sample in family.samples)
    return sample.value


def test_a_fault_is_logged_at_once_then_every_minute_and_so_is_its_end(unreadable: Gauge) -> None:
    clock, faults = Clock(), {"now": ""}
    reread = Reread("keys", lambda: faults["now"], unreadable, clock)
    assert value(unreadable) == 0
    with capture_logs() as logs:
        faults["now"] = "line 2 is broken"
        for clock.now in range(130):
            reread.look_again()
        assert value(unreadable) == 1
        faults["now"] = "line 3 is broken"
        reread.look_again()
        faults["now"] = ""
        reread.look_again()
        reread.look_again()
    assert value(unreadable) == 0
    assert [(line["log_level"], line.get("reason")) for line in logs] == [
        *[("error", "line 2 is broken")] * 3,
        ("error", "line 3 is broken"),
        ("info", None),
    ]


def test_a_file_that_cannot_be_read_is_a_fault_and_stops_nothing(unreadable: Gauge) -> None:
    def read() -> str:
        raise SettingsError("the file is missing")

    reread = Reread("keys", read, unreadable)
    with capture_logs() as logs:
        reread.look_again()
    assert value(unreadable) == 1
    assert logs[0]["reason"] == "the file is missing; what was read before stays in use"


def test_a_disk_that_hangs_is_noticed(unreadable: Gauge) -> None:
    clock, reading, answers = Clock(), threading.Event(), threading.Event()

    def read() -> str:
        reading.set()
        answers.wait()
        return ""

    reread = Reread("keys", read, unreadable, clock)
    reread.start()
    assert reading.wait(20)
    reread.notice_stall()
    assert value(unreadable) == 0
    clock.now = 11
    reread.notice_stall()
    assert value(unreadable) == 1
    answers.set()
    reread.stop()
    wait_until(lambda: value(unreadable) == 0)
