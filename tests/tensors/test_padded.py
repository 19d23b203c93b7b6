"""Requests of different lengths that share a run are answered as each would be alone."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lading.artifact import Artifact
from lading.artifact.manifest import CostTable, LengthCost
from lading.content import hole, stack_rows
from lading.errors import RequestError, SpecError
from lading.predictor import Predictor
from lading.spec import Array, Padding, TensorSpec, check_spec
from lading.tensors.checks import check_inputs
from lading.tensors.padded import cheapest_groups, fill_in, padded_dims
from lading.tensors.ragged import (
    CheckedInputs,
    collate,
    count_rows,
    group_requests,
    join_requests,
    part_outputs,
    separate,
    split,
)
from tests.given.small_text import LONGEST, WORDS, text_artifact

TEXT = TensorSpec(name="text", dtype="int64", shape=("batch", "tokens"), padding=Padding(max_length=LONGEST, value=7))
MASK = TensorSpec(name="mask", dtype="int64", shape=("batch", "tokens"), mask_of="tokens")
KINDS = TensorSpec(name="types", dtype="int32", shape=("batch", "tokens"), default=0)
SPECS = (TEXT, MASK, KINDS)
LENGTHS = st.lists(st.lists(st.integers(1, LONGEST), min_size=1, max_size=3), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return text_artifact(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def bucketed(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return text_artifact(tmp_path_factory.mktemp("buckets"), Padding(max_length=LONGEST, buckets=(4, LONGEST)))


def rows_of(rng: np.random.Generator, lengths: list[int]) -> list[Array]:
    return [rng.integers(0, len(WORDS), size=length, dtype=np.int64) for length in lengths]


def request_of(predictor: Predictor, rows: list[Array]) -> CheckedInputs:
    arrays = fill_in(predictor.inputs, {"text": stack_rows(predictor.inputs[0], rows)})
    return CheckedInputs(arrays, check_inputs(predictor.inputs, arrays), count_rows(predictor.inputs, arrays))


@pytest.mark.parametrize("kind", ["plain", "bucketed"])
@settings(max_examples=40, deadline=None)
@given(lengths=LENGTHS, seed=st.integers(0))
def test_texts_share_a_run(kind: str, plain: Artifact, bucketed: Artifact, lengths: list[list[int]], seed: int) -> None:
    predictor = Predictor(plain if kind == "plain" else bucketed)
    padded = padded_dims(predictor.inputs)
    rng = np.random.default_rng(seed)
    rows = [rows_of(rng, one) for one in lengths]
    requests = [request_of(predictor, one) for one in rows]
    outputs = predictor.run(join_requests(predictor.inputs, requests))
    together = part_outputs(predictor.outputs, outputs, requests, padded)
    for texts, inputs, shared in zip(rows, requests, together, strict=True):
        examples = list(separate(predictor.inputs, predictor.outputs, inputs.arrays, shared))
        assert shared["each"].shape[:2] == inputs.arrays["text"].shape
        for text, (seen, answered) in zip(texts, examples, strict=True):
            alone = predictor.run(request_of(predictor, [text]).arrays)
            np.testing.assert_array_equal(seen["text"], text)
            assert seen.keys() == {"text"}
            np.testing.assert_allclose(answered["kind"], alone["kind"][0], atol=1e-5)
            np.testing.assert_allclose(answered["each"], alone["each"][0], atol=1e-5)


@given(lengths=st.lists(st.integers(1, LONGEST), min_size=1, max_size=5), seed=st.integers(0))
def test_splitting_undoes_collate(lengths: list[int], seed: int) -> None:
    examples = [{"text": row} for row in rows_of(np.random.default_rng(seed), lengths)]
    joined = collate(SPECS, examples)
    assert joined["mask"].sum(axis=1).tolist() == lengths
    assert (joined["text"][joined["mask"] == 0] == 7).all()
    assert (joined["types"] == 0).all()
    counts = [check_inputs(SPECS, example, example=True) for example in examples]
    echo = TensorSpec(name="text", dtype="int64", shape=("batch", "tokens"))
    parts = split([echo], {"text": joined["text"]}, counts, padded_dims(SPECS))
    for example, part in zip(examples, parts, strict=True):
        np.testing.assert_array_equal(part["text"], example["text"])


def test_a_token_that_is_the_padding_value_is_a_token() -> None:
    assert fill_in(SPECS, {"text": np.array([[7, 7]])})["mask"].tolist() == [[1, 1]]


def test_a_mask_that_was_sent_is_kept() -> None:
    sent = {"text": np.array([[1, 2, 3]]), "mask": np.array([[1, 1, 0]])}
    assert fill_in(SPECS, sent)["mask"].tolist() == [[1, 1, 0]]


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"text": np.zeros((1, 9), np.int64)}, "input 'text' has 9 tokens; at most 8 are accepted"),
        ({"mask": np.array([[2, 1]])}, "input 'mask' is a mask: send 1"),
        ({"mask": np.array([[0, 0]])}, "input 'mask' has no 1 in row 0"),
        ({"mask": np.array([[1, 1, 1]])}, "'tokens' is 2 in another input"),
    ],
)
def test_what_does_not_fit_is_told(arrays: dict[str, Array], sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        check_inputs(SPECS, fill_in(SPECS, {"text": np.array([[1, 2]])} | arrays))


def test_floats_end_in_holes_too() -> None:
    sound = TensorSpec(name="sound", dtype="float32", shape=("batch", "samples"), padding=Padding(max_length=9))
    mask = TensorSpec(name="mask", dtype="bool", shape=("batch", "samples"), mask_of="samples")
    assert np.isnan(hole(sound))
    filled = collate([sound, mask], [{"sound": np.ones(1, np.float32)}, {"sound": np.ones(3, np.float32)}])
    assert filled["sound"].tolist() == [[1, 0, 0], [1, 1, 1]]
    assert filled["mask"].tolist() == [[True, False, False], [True, True, True]]


@st.composite
def waiting(draw: st.DrawFn) -> list[tuple[int, int]]:
    return draw(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 30)), min_size=1, max_size=6))


@given(sizes=waiting(), overhead=st.integers(0, 40), most=st.integers(1, 6))
def test_no_other_way_to_share_runs_takes_less_time(sizes: list[tuple[int, int]], overhead: int, most: int) -> None:
    def seconds(rows: int, length: int) -> float:
        return overhead + rows * length

    def taken(groups: list[list[int]]) -> float:
        return sum(
            seconds(sum(sizes[one][0] for one in group), max(sizes[one][1] for one in group)) for group in groups
        )

    groups = cheapest_groups(sizes, most, seconds)
    assert sorted(one for group in groups for one in group) == list(range(len(sizes)))
    assert all(len(group) == 1 or sum(sizes[one][0] for one in group) <= most for group in groups)
    order = sorted(range(len(sizes)), key=lambda one: sizes[one][1])
    places = [places for count in range(len(order)) for places in combinations(range(1, len(order)), count)]
    others = [[order[begin:end] for begin, end in zip((0, *cuts), (*cuts, len(order)), strict=True)] for cuts in places]
    allowed = [
        way for way in others if all(len(one) == 1 or sum(sizes[place][0] for place in one) <= most for one in way)
    ]
    assert taken(groups) == min(map(taken, allowed))


def test_five_tokens_do_not_wait_for_five_hundred() -> None:
    table = CostTable(
        {1: 10.0},
        [
            LengthCost(length=8, batch=4, alone_ms=1.0, batch_ms=1.3),
            LengthCost(length=512, batch=4, alone_ms=40.0, batch_ms=160.0),
        ],
    )
    specs = (TEXT.model_copy(update={"padding": Padding(max_length=512)}), MASK)
    requests = [CheckedInputs({}, {"batch": 1, "tokens": length}, 1) for length in (5, 500, 6, 480, 7)]
    assert group_requests(specs, requests, 8, table.seconds) == [[0, 2, 4], [3], [1]]


def test_time_at_a_length_is_linear_between_the_measured_ones() -> None:
    table = CostTable(
        {1: 10.0},
        [
            LengthCost(length=10, batch=5, alone_ms=2.0, batch_ms=6.0),
            LengthCost(length=20, batch=5, alone_ms=4.0, batch_ms=12.0),
        ],
    )
    assert table.seconds(1, 10) == pytest.approx(0.002)
    assert table.seconds(3, 10) == pytest.approx(0.004)
    assert table.seconds(1, 15) == pytest.approx(0.003)
    assert table.seconds(1, 40) == pytest.approx(0.008)
    assert table.seconds(1, 1) == pytest.approx(0.002)
    assert table.seconds(1) == pytest.approx(0.010)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"shape": ("batch", 4), "padding": Padding(max_length=4)}, "padding needs a symbolic dim"),
        ({"shape": ("batch", "tokens", 2), "mask_of": "tokens"}, "the mask of 'tokens' has shape"),
        ({"shape": ("batch", "tokens"), "mask_of": "tokens", "default": 1}, "a tensor has one"),
        ({"dtype": "bool", "shape": ("batch", "tokens"), "padding": Padding(max_length=4)}, "padding is for numbers"),
    ],
)
def test_a_declaration_that_cannot_be_is_refused(fields: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        TensorSpec.model_validate({"name": "x", "dtype": "int64"} | fields)


@pytest.mark.parametrize("buckets", [(8, 4), (4,), (0, 8)])
def test_buckets_ascend_to_the_largest_length(buckets: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="bucket"):
        Padding(max_length=8, buckets=buckets)


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ((MASK,), "is the mask of 'tokens', which no input pads"),
        ((TEXT, KINDS.model_copy(update={"shape": ("batch", "words")})), "has a default, and a dim that no required"),
        ((TEXT, TEXT.model_copy(update={"name": "other"})), "two inputs pad the same dim"),
    ],
)
def test_a_model_whose_tensors_do_not_fit_together_is_refused(inputs: tuple[TensorSpec, ...], sentence: str) -> None:
    from tests.given.tiny import TinyTable

    spec = TinyTable()
    spec.inputs = inputs  # type: ignore[assignment]  # the model's own has one
    with pytest.raises(SpecError, match=sentence):
        check_spec(spec)
