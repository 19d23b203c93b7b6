"""Pictures of any size share a run with those of the same size, and it has no more pixels than the largest picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lading.artifact.manifest import CostTable, LengthCost
from lading.build.examples import of_one_size, runs
from lading.errors import InputShapeError
from lading.predictor import Predictor
from lading.preprocess import Preprocess
from lading.spec import BATCH, Array, TensorSpec
from lading.tensors.checks import check_inputs
from lading.tensors.lengths import Lengths
from lading.tensors.ragged import CheckedInputs, group_requests, join_requests, part_outputs
from lading.tensors.random import random_inputs
from tests.given.any_size import LONGEST, MULTIPLE, PHOTO, Sides, as_input, pixels, sides_artifact

SIDES = st.integers(1, LONGEST // MULTIPLE).map(lambda half: half * MULTIPLE)
REQUESTS = st.lists(
    st.tuples(st.sampled_from([(4, 4), (4, 8), (8, 4), (16, 16), (32, 32)]), st.integers(1, 3)), max_size=8
)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return Predictor(sides_artifact(tmp_path_factory.mktemp("sides")))


def request_of(shape: tuple[int, int], rows: int, rng: np.random.Generator) -> CheckedInputs:
    arrays: dict[str, Array] = {"photo": np.stack([as_input(pixels(*shape, rng)) for _ in range(rows)])}
    return CheckedInputs(arrays, check_inputs([PHOTO], arrays), rows)


@settings(max_examples=60, deadline=None)
@given(asked=REQUESTS, most=st.integers(1, 6), overhead=st.integers(0, 2000), seed=st.integers(0))
def test_each_request_is_answered_as_alone_whatever_shares_its_run(
    predictor: Predictor, asked: list[tuple[tuple[int, int], int]], most: int, overhead: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    requests = [request_of(shape, rows if shape != (32, 32) else 1, rng) for shape, rows in asked]
    groups = group_requests(predictor.inputs, requests, most, lambda rows, length: overhead + rows * length)
    assert sorted(place for group in groups for place in group) == list(range(len(requests)))
    for group in groups:
        members = [requests[place] for place in group]
        assert len({one.arrays["photo"].shape[1:] for one in members}) == 1
        rows = sum(one.rows for one in members)
        assert len(group) == 1 or rows <= most
        joined = join_requests(predictor.inputs, members)
        assert joined["photo"][0, 0].size * rows <= LONGEST**2
        parts = part_outputs(predictor.outputs, predictor.run(joined), members)
        for one, part in zip(members, parts, strict=True):
            for name, array in predictor.run(one.arrays).items():
                np.testing.assert_array_equal(part[name], array)


def test_requests_that_alternate_in_size_take_one_run_a_size() -> None:
    rng = np.random.default_rng(0)
    requests = [request_of(shape, 1, rng) for shape in ((4, 4), (8, 8)) * 3]
    assert group_requests([PHOTO], requests, 8, lambda rows, length: 1000 + rows * length) == [[0, 2, 4], [1, 3, 5]]


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((1, 3, 34, 8), "pictures of 8 x 34 pixels; at most 32 on a side are accepted"),
        ((1, 3, 8, 9), "pictures of 9 x 8 pixels; height and width must be multiples of 2"),
        ((5, 3, 16, 16), "5 pictures of 16 x 16 pixels; one request may have 4 of this size"),
        ((1, 3, 0, 8), "is empty"),
    ],
)
def test_numbers_of_another_size_are_refused(shape: tuple[int, ...], reason: str) -> None:
    with pytest.raises(InputShapeError, match=reason):
        check_inputs([PHOTO], {"photo": np.zeros(shape, np.float32)})


@settings(deadline=None)
@given(
    longest=st.integers(1, 3000),
    shortest=st.none() | st.integers(1, 3000),
    multiple=st.integers(1, 64),
    layout=st.sampled_from(["NHWC", "NCHW"]),
)
def test_what_is_measured_is_accepted_and_ends_with_the_largest(
    longest: int, shortest: int | None, multiple: int, layout: str
) -> None:
    how = Preprocess(
        fit="keep",
        longest=longest,
        shortest=None if shortest is None else min(shortest, longest),
        multiple=min(multiple, longest),
        layout=layout,
    )
    shape = ("batch", "high", "wide", 3) if layout == "NHWC" else ("batch", 3, "high", "wide")
    lengths = Lengths((TensorSpec(name="x", dtype="uint8", shape=shape, content="image", preprocess=how),))
    measured = lengths.measured()
    assert all(how.sizes(sizes["high"], sizes["wide"]) is None for sizes in measured)
    found = [lengths.of(sizes) or 0 for sizes in measured]
    assert found == sorted(found)
    assert found[-1] == lengths.longest == how.most_pixels
    assert lengths.rows(measured[-1], 8) == 1


def test_the_cost_between_two_sizes_is_that_of_the_rows_even_if_the_largest_runs_alone() -> None:
    table = CostTable(
        {1: 1.0},
        [
            LengthCost(length=100, batch=4, alone_ms=1.0, batch_ms=4.0),
            LengthCost(length=400, batch=1, alone_ms=4.0, batch_ms=4.0),
        ],
    )
    assert table.seconds(2, 400) == pytest.approx(0.008)
    assert table.seconds(2, 250) == pytest.approx(0.005)


def test_a_build_runs_examples_of_one_size_together_in_their_order() -> None:
    examples = Sides().dataset("test")
    parted = list(runs([PHOTO], examples, 16))
    assert [id(example) for run in parted for example in run] == [id(example) for example in examples]
    assert all(len({example[0]["photo"].shape for example in run}) == 1 for run in parted)
    golden = of_one_size([PHOTO], [*examples, *examples[:1]], 8)
    assert {example[0]["photo"].shape for example in golden} == {(3, 8, 8)}
    assert len(golden) == 8


def test_random_inputs_of_a_measured_size_are_accepted() -> None:
    for sizes in Lengths((PHOTO,)).measured():
        check_inputs([PHOTO], random_inputs([PHOTO], {**sizes, BATCH: 1}, np.random.default_rng(0)))


def test_verify_measures_the_sizes_and_one_run_of_the_largest(tmp_path: Path) -> None:
    measured = sides_artifact(tmp_path).variant().measurement
    assert measured is not None
    assert [cost.length for cost in measured.lengths] == [LONGEST**2]
    assert measured.length in {height * width for height, width in ((8, 8), (8, 12), (16, 8), (6, 10))}
    assert measured.peak_memory_bytes > 0
