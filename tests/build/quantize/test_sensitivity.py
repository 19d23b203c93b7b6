"""The search for the fewest layers that must stay in float32."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lading.build.quantize.sensitivity import fewest_excluded


@given(st.integers(2, 40), st.data())
def test_the_search_finds_the_fewest_layers_when_the_score_grows_with_each(count: int, data: st.DataObject) -> None:
    needed = data.draw(st.integers(0, count - 1))
    layers = [f"layer{index}" for index in range(count)]
    calls = []

    def score(excluded: list[str]) -> float:
        calls.append(len(excluded))
        return float(len(excluded))

    chosen = fewest_excluded(layers, float(needed), score)  # type: ignore[arg-type]
    assert chosen.excluded == tuple(layers[:needed])
    assert chosen.reached
    assert len(calls) <= 2 * np.log2(count) + 3


def test_a_search_without_success_ends_with_the_best_score_and_something_quantized() -> None:
    scores = {0: 0.1, 1: 0.7, 2: 0.5, 3: 0.4}
    chosen = fewest_excluded(["a", "b", "c", "d"], 0.9, lambda excluded: scores[len(excluded)])
    assert (chosen.excluded, chosen.score, chosen.reached) == (("a",), 0.7, False)


def test_a_search_that_is_late_ends_with_the_best_so_far() -> None:
    calls: list[int] = []

    def score(excluded: list[str]) -> float:
        calls.append(len(excluded))
        return float(len(excluded))

    chosen = fewest_excluded([f"layer{index}" for index in range(40)], 30.0, score, lambda: len(calls) == 3)  # type: ignore[arg-type]
    assert (chosen.score, chosen.reached, calls) == (2.0, False, [0, 1, 2])
