"""The ranges of activations, seen over the user's own examples."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.progress import Progress

from lading.build.examples import spread
from lading.build.quantize.calibration import BINS, Activation, float_activations, observe
from lading.build.quantize.source import Data, Source
from lading.errors import QuantizationError
from lading.spec import Example, Quantization, TensorSpec, Variant
from tests.given.tiny import TinyImage


def identity(shape: str = "[batch, 4]") -> onnx.ModelProto:
    model = onnx.parser.parse_model(
        f'<ir_version: 9, opset_import: ["" : 20]> g (float{shape} x) => (float{shape} y) {{ y = Relu (x) }}'
    )
    return onnx.shape_inference.infer_shapes(model)


@given(
    st.lists(st.floats(-100, 100, width=32), min_size=8, max_size=64),
    st.sampled_from(["minmax", "entropy", "percentile"]),
)
@example([0.0] * 7 + [1e-45], "percentile")
def test_a_range_lies_within_what_was_seen(values: list[float], method: str) -> None:
    feed = {"x": np.array(values[: len(values) // 4 * 4], np.float32).reshape(-1, 4)}
    seen = observe(identity(), ["x"], [feed], histograms=True)["x"]
    low, high = seen.range(method)  # type: ignore[arg-type]
    assert seen.low <= low <= high <= seen.high
    if method == "minmax":
        assert (low, high) == (feed["x"].min(), feed["x"].max())


def test_entropy_and_percentile_cut_off_a_lone_outlier() -> None:
    values = np.random.default_rng(0).normal(size=(20_000, 4)).astype(np.float32)
    values[0, 0] = 50.0
    seen = observe(identity(), ["x"], [{"x": part} for part in np.array_split(values, 7)], histograms=True)["x"]
    assert seen.range("minmax")[1] == 50.0
    assert 3.0 < seen.range("percentile")[1] < 10.0
    assert 2.0 < seen.range("entropy")[1] < 10.0


def test_zeros_of_a_relu_do_not_hide_the_rest() -> None:
    values = np.maximum(np.random.default_rng(0).normal(size=(5_000, 4)), 0).astype(np.float32)
    seen = observe(identity(), ["y"], [{"x": values}], histograms=True)["y"]
    assert seen.counts is not None
    assert seen.counts.sum() == np.count_nonzero(values)
    assert seen.range("entropy")[0] == 0.0


def test_a_tensor_of_zeros_keeps_its_empty_range() -> None:
    seen = observe(identity(), ["x"], [{"x": np.zeros((2, 4), np.float32)}], histograms=True)["x"]
    assert [seen.range(method) for method in ("minmax", "entropy", "percentile")] == [(0.0, 0.0)] * 3


def test_counts_of_all_batches_add_up() -> None:
    values = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    whole = observe(identity(), ["x"], [{"x": values}], histograms=True)["x"]
    parts = observe(identity(), ["x"], [{"x": part} for part in np.array_split(values, 5)], histograms=True)["x"]
    assert whole.counts is not None
    assert parts.counts is not None
    assert len(whole.counts) == 2 * BINS
    np.testing.assert_array_equal(whole.counts, parts.counts)


def test_calibration_needs_examples() -> None:
    with pytest.raises(QuantizationError, match="needs examples to calibrate with"):
        observe(identity(), ["x"], [], histograms=False)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 1])
def test_what_was_once_not_finite_has_no_range(odd: float, place: int) -> None:
    feeds = [{"x": np.ones((1, 4), np.float32)} for _ in range(2)]
    feeds[place]["x"][0, 2] = odd
    seen = observe(identity(), ["x", "y"], feeds, histograms=True)
    assert {seen["x"].range(method) for method in ("minmax", "entropy", "percentile")} == {(-np.inf, np.inf)}
    assert seen["y"].range("minmax") == ((0.0, 1.0) if odd == -np.inf else (-np.inf, np.inf))


def test_without_a_histogram_every_method_is_minmax() -> None:
    assert Activation(-1.0, 2.0).range("entropy") == (-1.0, 2.0)


def test_only_float_activations_of_the_named_operators_are_looked_at() -> None:
    assert float_activations(identity(), ["Relu"]) == ["x", "y"]
    assert float_activations(identity(), ["Conv"]) == []


def test_examples_are_spread_over_the_data_set() -> None:
    data: list[Example] = [({}, {"index": np.asarray(index)}) for index in range(10)]
    assert [int(t["index"]) for _, t in spread(data, 4)] == [0, 3, 6, 9]
    assert len(spread(data, 50)) == 10
    assert spread([], 4) == []


class Pictures(Sequence[Example]):
    """Pictures of 1 MiB that are made when they are read, as those of a folder are."""

    def __init__(self, count: int) -> None:
        self.size = count

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: Any) -> Any:
        picture = np.random.default_rng(index).random((4, 256, 256), dtype=np.float32)
        return {"x": picture}, {"y": np.zeros((), np.int64)}


class OfPictures(TinyImage):
    inputs = (TensorSpec(name="x", dtype="float32", shape=("batch", 4, 256, 256)),)

    def __init__(self, count: int, method: Any) -> None:
        self.size = count
        static = Quantization(method="static", calibration=method, calibration_examples=count)
        self.variants = (Variant(name="int8", quantization=static),)

    def dataset(self, _split: str) -> Any:
        return Pictures(self.size)


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_memory_does_not_grow_with_the_number_of_examples(method: str, tmp_path: Path) -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 20]> g (float[batch,4,256,256] x) => (float[batch,1,256,256] y) '
        "<float[1,4,1,1] w = {1, 1, 1, 1}> { y = Conv (x, w) }"
    )
    onnx.save(model, tmp_path / "fp32.onnx")

    def peak(count: int) -> int:
        spec = OfPictures(count, method)
        with Progress(disable=True) as progress:
            source = Source(spec, 0.0, tmp_path / "fp32.onnx", Data(spec), progress)
            assert source.prepared
            tracemalloc.start()
            try:
                source.ranges(spec.variants[0].quantization or Quantization(method="static"))
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    few, many = peak(8), peak(40)
    assert many < few + 2 * 2**20, "32 more pictures are 32 MiB"
