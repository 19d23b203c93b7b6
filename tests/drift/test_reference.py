"""The reference summarises training data with the function that later sees live data."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.content.image import picture_descriptors
from lading.drift.reference import BINS, Reference, features
from lading.errors import ArtifactError
from lading.spec import TensorSpec

TABLE = TensorSpec(name="x", dtype="float32", shape=("batch", 2))
CLASS = TensorSpec(name="y", dtype="float32", shape=("batch", 3), labels=("a", "b", "c"))
IMAGE = TensorSpec(name="image", dtype="uint8", shape=("batch", 8, 8, 3), content="image")


@cache
def fitted(count: int = 200) -> Reference:
    rng = np.random.default_rng(0)
    rows = rng.normal([0, 5], [1, 2], (count, 2)).astype(np.float32)
    answers = np.eye(3, dtype=np.float32)[np.arange(count) % 3]
    return Reference.fit(
        (TABLE,), (CLASS,), (({"x": row}, {"y": answer}) for row, answer in zip(rows, answers, strict=True))
    )


def test_columns_are_summarised_by_name_in_ten_equal_shares() -> None:
    column = fitted().features["x.1"]
    assert column.mean == pytest.approx(5, abs=0.5)
    assert len(column.shares) == BINS
    assert column.shares == pytest.approx([1 / BINS] * BINS, abs=0.02)


def test_a_labelled_output_is_summarised_as_its_most_likely_label() -> None:
    label = fitted(300).features["y.label"]
    assert label.labels == ("a", "b", "c")
    assert label.shares == pytest.approx((1 / 3, 1 / 3, 1 / 3))


def test_a_reference_survives_its_own_json() -> None:
    assert Reference.from_json(fitted().to_json()) == fitted()


def test_a_torn_reference_is_refused() -> None:
    with pytest.raises(ArtifactError, match=r"reference\.json cannot be read"):
        Reference.from_json(fitted().to_json()[:-20])


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50))
def test_every_live_value_falls_into_one_bin(values: list[float]) -> None:
    counts = fitted().features["x.0"].histogram(np.array(values))
    assert counts.sum() == len(values)


def test_a_darker_picture_is_a_darker_feature() -> None:
    bright = np.full((8, 8, 3), 200, np.uint8)
    assert features(IMAGE, bright)["image.brightness"] == pytest.approx(200, abs=0.5)
    assert features(IMAGE, bright // 4)["image.brightness"] == pytest.approx(50, abs=0.5)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_some_pixels_describe_a_picture_nearly_as_all_do(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    slopes = np.linspace(-1, 1, height)[:, None, None] * rng.uniform(-60, 60, 3)
    picture = (128 + slopes + rng.uniform(-40, 40, 3) + np.zeros((height, width, 3))).astype(np.uint8)
    luma = picture @ np.array([0.299, 0.587, 0.114])
    red, green, blue = picture.reshape(-1, 3).mean(axis=0)
    whole = (
        luma.mean(),
        luma.std(),
        np.abs(np.diff(luma, axis=0)).mean() if height > 1 else 0,
        np.ptp(picture, axis=2).mean(),
        red - blue,
        green - (red + blue) / 2,
    )
    # Two channels differ by up to 240 more at the top than at the bottom. The error is that of the row that has no
    # neighbour, and of the rows between those that are read.
    tolerance = 1 + 240 * (1 / height + np.sqrt(width / (784 * height)))
    assert picture_descriptors(picture) == pytest.approx(np.array(whole), abs=tolerance)


def test_a_constant_column_has_no_empty_bins() -> None:
    reference = Reference.fit((TABLE,), (), (({"x": np.array([1, 2], np.float32)}, {}) for _ in range(5)))
    assert sum(reference.features["x.0"].shares) == 1
    assert reference.features["x.0"].std == 0


def test_a_ragged_tensor_is_summarised_by_row_and_by_count() -> None:
    nodes = TensorSpec(name="nodes", dtype="float32", shape=("nodes", 2))
    edges = TensorSpec(name="edges", dtype="int64", shape=(2, "edges"), indexes="nodes")
    assert features(nodes, np.ones((5, 2), np.float32))["nodes.count"] == [5]
    assert features(nodes, np.ones((5, 2), np.float32))["nodes.0"].shape == (5,)
    assert features(edges, np.zeros((2, 7), np.int64)) == {"edges.count": np.array([7.0])}


def test_a_wide_tensor_is_summarised_as_a_whole() -> None:
    wide = TensorSpec(name="x", dtype="float32", shape=("batch", 100))
    assert set(features(wide, np.ones(100, np.float32))) == {"x.mean", "x.std"}
