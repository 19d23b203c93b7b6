"""Shapes: a share of the rate at each moment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.deploy.load.shapes import SHAPES, Shape, users_at

MOMENTS = [number / 1000 for number in range(1000)]


def shares(shape: Shape) -> list[int]:
    return [users_at(shape, moment, rate=1000, duration_s=1) or 0 for moment in MOMENTS]


@given(st.sampled_from(SHAPES), st.floats(0, 0.999), st.floats(1, 5000), st.floats(1, 1e5))
def test_users_are_never_fewer_than_one_nor_more_than_the_rate(
    shape: Shape, moment: float, rate: float, duration_s: float
) -> None:
    users = users_at(shape, moment * duration_s, rate=rate, duration_s=duration_s)
    assert users is not None
    assert 1 <= users <= round(rate)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_reaches_the_rate_and_ends(shape: Shape) -> None:
    assert max(shares(shape)) == pytest.approx(1000, rel=0.01)
    assert users_at(shape, 60, rate=1000, duration_s=60) is None


def test_a_ramp_and_the_stairs_never_go_down() -> None:
    for shape in ("ramp", "step"):
        found = shares(shape)
        assert found == sorted(found)
    assert sorted(set(shares("step"))) == [200, 400, 600, 800, 1000]


def test_a_spike_is_five_times_the_load_for_a_fifth_of_the_time() -> None:
    assert shares("spike").count(1000) == 200
    assert set(shares("spike")) == {200, 1000}


def test_a_day_is_quiet_at_four_and_busy_at_sixteen() -> None:
    found = shares("daily")
    assert found.index(max(found)) / 1000 * 24 == pytest.approx(16, abs=0.5)
    assert found.index(min(found)) / 1000 * 24 == pytest.approx(4, abs=0.5)
