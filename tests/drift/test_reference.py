"""The reference summarises training data with the function that later sees live data."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.content.image import picture_descriptors
from lading.drift.features import LARGEST, features
from lading.drift.reference import BINS, Reference
from lading.errors import ArtifactError
from lading.spec import TensorSpec
from tests.given.small_artifacts import table_artifact

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


CALIBRATED = json.loads(fitted().to_json())
Change = Callable[[dict[str, Any]], object]
BROKEN: dict[str, tuple[Change, str]] = {
    "an unknown key": (lambda whole: whole.update(more=1), "more: Extra inputs are not permitted"),
    "an unknown key of a feature": (lambda whole: whole["features"]["x.0"].update(more=1), r"features\.x\.0\.more"),
    "a newer version": (lambda whole: whole.update(schema_version=2), "has schema_version 2; .* upgrade lading"),
    "a newer version with other keys": (
        lambda whole: [whole.pop(name) for name in list(whole)] and whole.update(schema_version=3, other={}),
        "has schema_version 3; .* upgrade lading",
    ),
    "a version that is no number": (lambda whole: whole.update(schema_version="new"), "schema_version: "),
    "no examples": (lambda whole: whole.update(examples=0), "there are thresholds, but no examples"),
    "fewer than no examples": (lambda whole: whole.update(examples=-1), "examples: "),
    "a bin too many": (lambda whole: whole["features"]["x.0"]["shares"].append(0), "11 shares do not fit 10 bins"),
    "a label too few": (lambda whole: whole["features"]["y.label"].update(labels=["a"]), "do not fit 1 bins"),
    "edges that descend": (lambda whole: whole["features"]["x.0"]["edges"].reverse(), "do not ascend"),
    "an edge twice": (lambda whole: whole["features"]["x.0"].update(edges=[0.0] * 9), "do not ascend"),
    "a negative share": (lambda whole: whole["features"]["x.0"]["shares"].__setitem__(0, -1), "not negative"),
    "no share": (lambda whole: whole["features"]["x.0"].update(shares=[0.0] * 10), "not all zero"),
    "a number that is not finite": (lambda whole: whole["features"]["x.0"].update(mean=float("nan")), "mean: "),
    "a threshold that is not finite": (lambda whole: whole["joint_null"].update(mean=float("inf")), "joint_null.mean"),
    "a sketch that is cut": (lambda whole: whole["joint"]["sketch"].pop(), "joint.sketch"),
    "a dim too few": (lambda whole: (whole["joint"]["mean"].pop(), whole["joint"]["std"].pop()), "and the features"),
    "a mean too few": (lambda whole: whole["joint"]["mean"].pop(), "means and"),
    "a deviation of zero": (lambda whole: whole["joint"]["std"].__setitem__(0, 0), r"joint\.std"),
    "a feature that is a list": (lambda whole: whole["features"].update({"x.0": []}), r"features\.x\.0"),
}


@pytest.mark.parametrize(("change", "sentence"), BROKEN.values(), ids=BROKEN)
def test_a_reference_that_cannot_be_used_is_refused_in_one_sentence(change: Change, sentence: str) -> None:
    content = copy.deepcopy(CALIBRATED)
    change(content)
    with pytest.raises(ArtifactError, match=sentence) as refused:
        Reference.from_json(json.dumps(content), "artifact/reference.json")
    assert str(refused.value).startswith("artifact/reference.json ")
    assert len(str(refused.value)) <= 500
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("cut", [0, 1, 100, -20, -2])
def test_a_torn_reference_is_refused(cut: int) -> None:
    with pytest.raises(ArtifactError, match=r"reference\.json cannot be read"):
        Reference.from_json(fitted().to_json()[:cut])


@pytest.mark.parametrize("content", [b"[]", b"null", b"1", b"\xff\xfe", b"\0" * 100, b'"' + b"x" * 10_000 + b'"'])
def test_what_is_no_reference_is_refused(content: bytes) -> None:
    with pytest.raises(ArtifactError, match=r"reference\.json cannot be read"):
        Reference.from_json(content)


def test_a_reference_without_a_version_is_of_the_first() -> None:
    content = {name: value for name, value in CALIBRATED.items() if name != "schema_version"}
    assert Reference.from_json(json.dumps(content)) == fitted()


def test_a_missing_reference_is_named(tmp_path: Path) -> None:
    artifact = table_artifact(tmp_path / "artifact")
    (artifact.path / "reference.json").unlink()
    with pytest.raises(ArtifactError, match=r"artifact/reference\.json cannot be read: No such file"):
        Reference.of(artifact)


@pytest.mark.parametrize("rows", [100, LARGEST // 2, LARGEST // 2 + 1, 5_000_000])
def test_features_of_a_large_tensor_are_those_of_some_of_its_rows(rows: int) -> None:
    """Of 80 MB, for the largest."""
    tensor = np.random.default_rng(0).normal([0, 5], 1, (rows, 2)).astype(np.float64)
    found = features(TensorSpec(name="x", dtype="float64", shape=("n", 2)), tensor)
    assert found["x.count"] == rows
    assert len(found["x.0"]) == len(found["x.1"]) <= max(rows if rows * 2 <= LARGEST else 0, LARGEST // 2)
    assert len(found["x.0"]) > min(rows, LARGEST // 2) / 2
    assert found["x.1"].mean() == pytest.approx(5, abs=0.5)


def test_features_of_a_long_row_are_those_of_some_of_its_columns() -> None:
    tensor = np.linspace(0, 1, 3_000_000, dtype=np.float32)
    found = features(TensorSpec(name="x", dtype="float32", shape=("batch", "n")), tensor)
    assert found["x.mean"] == pytest.approx(0.5, abs=0.001)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_numbers_whose_sum_is_not_finite_do_not_spoil_a_window() -> None:
    large = np.array([1e308, -1e308] * 20)
    assert not np.isfinite(large.mean())
    assert np.isfinite(fitted().vector({"x.0": large, "x.1": np.array([np.inf])})).all()


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


def test_columns_without_a_fixed_number_are_summarised_as_a_whole() -> None:
    spec = TensorSpec(name="x", dtype="float32", shape=("batch", "tokens"))
    found = features(spec, np.array([1.0, 3.0, 2.0], np.float32))
    assert {name: float(values[0]) for name, values in found.items()} == pytest.approx(
        {"x.count": 3.0, "x.mean": 2.0, "x.std": (2 / 3) ** 0.5}
    )
    assert {name: values.tolist() for name, values in features(spec, np.zeros(0, np.float32)).items()} == {
        "x.count": [0.0]
    }


def test_values_outside_of_the_seen_range_are_named_by_feature() -> None:
    low, high = fitted().features["x.0"].minimum, fitted().features["x.0"].maximum
    for value, outside in ((low, False), (high, False), (low - 1, True), (high + 1e-3, True)):
        example = features(TABLE, np.array([value, 5.0])) | {"y.label": np.array([1]), "unknown": np.array([1e9])}
        assert fitted().outside(example) == (["x.0"] if outside else [])
