"""What is read from a manifest: the cost of a batch."""

from __future__ import annotations

import pytest

from lading.manifest import CostTable


@pytest.mark.parametrize(
    ("cost", "best"),
    [
        ({}, 1),
        ({1: 20.0, 2: 40.0, 8: 160.0}, 1),
        ({1: 20.0, 2: 39.0, 8: 155.0}, 1),  # 3 % are not worth a wait
        ({1: 2.0, 2: 4.0, 8: 16.0}, 2),  # what surrounds a run is shared
        ({1: 1.0, 2: 1.1, 8: 1.6, 32: 6.9}, 8),
        ({1: 0.05, 8: 0.06, 64: 0.1}, 64),
    ],
)
def test_a_batch_is_as_large_as_it_pays(cost: dict[int, float], best: int) -> None:
    assert CostTable(cost).best_batch == best


def test_the_cost_of_sizes_that_were_not_measured_lies_between() -> None:
    table = CostTable({1: 1.0, 4: 2.0, 8: 4.0})
    assert [table.seconds(rows) for rows in (1, 2, 4, 6, 8, 16)] == pytest.approx(
        [0.001, 0.004 / 3, 0.002, 0.003, 0.004, 0.008]
    )


def test_the_cost_of_a_model_without_measurements_is_a_guess_that_grows() -> None:
    assert 0 < CostTable({}).seconds(1) < CostTable({}).seconds(2)
