"""An SLO is read as people write it, and judged by what was counted."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.deploy.load.slo import evaluate, read_objectives
from lading.errors import SettingsError


@dataclass
class Counted:
    requests: int = 1000
    failures: int = 0
    rate: float = 100.0
    mean_ms: float = 10.0
    max_ms: float = 90.0

    def percentile_ms(self, share: float) -> float:
        return 100 * share


def test_every_kind_of_objective_is_read_in_its_unit() -> None:
    read = {
        one.name: one.bound for one in read_objectives("p99=0.05s,p99.9=80ms,mean=900us,max=2s,errors=0.1%,rps=200")
    }
    assert read == pytest.approx(
        {"p99": 50, "p99.9": 80, "mean": 0.9, "max": 2000, "errors": 0.001, "rps": 200}, rel=1e-12
    )


@pytest.mark.parametrize(
    "text",
    ["", "p99", "p99=50", "p99=50%", "p100=5ms", "p0=5ms", "errors=1ms", "errors=101%", "rps=10/s", "latency=5ms"],
)
def test_what_cannot_be_read_is_named_with_an_example(text: str) -> None:
    with pytest.raises(SettingsError, match="an example: p99=50ms,errors="):
        read_objectives(text)


def test_an_objective_that_is_named_twice_is_refused() -> None:
    with pytest.raises(SettingsError, match="p99 twice"):
        read_objectives("p99=1ms,p99=2ms")


@given(st.integers(1, 99), st.floats(0.001, 1e6), st.sampled_from(["us", "ms", "s"]))
def test_a_latency_that_was_written_is_the_one_that_is_read(percent: int, number: float, unit: str) -> None:
    (one,) = read_objectives(f"p{percent}={number:.6f}{unit}")
    assert one.bound == pytest.approx(float(f"{number:.6f}") * {"us": 1e-3, "ms": 1, "s": 1e3}[unit])


@pytest.mark.parametrize(
    ("slo", "passed"),
    [
        ("p99=99ms,errors=0%,rps=100", True),
        ("p99=98.9ms", False),
        ("rps=101", False),
        ("max=90ms,mean=10ms", True),
        ("max=89ms", False),
    ],
)
def test_bounds_are_upper_ones_but_that_of_the_rate(slo: str, passed: bool) -> None:
    assert evaluate(read_objectives(slo), Counted()).passed is passed


def test_one_failure_in_a_thousand_is_a_tenth_of_a_percent() -> None:
    assert evaluate(read_objectives("errors=0.1%"), Counted(failures=1)).passed
    assert not evaluate(read_objectives("errors=0.1%"), Counted(failures=2)).passed


def test_no_request_at_all_meets_nothing() -> None:
    assert not evaluate(read_objectives("p99=1s"), Counted(requests=0)).passed
