"""Rows of a table reach the model's tensors the same as records, as columns and as tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.artifact.manifest import ModelInfo
from lading.budget import Budget
from lading.errors import RequestError
from lading.protocol.plain import decode_json
from lading.spec import Array, TensorSpec
from lading.tensors.checks import check_inputs
from tests.given.small_artifacts import COLUMNS

MODEL = ModelInfo("m", "1", "fp32", "", COLUMNS, (), 8)
WHOLE: dict[str, Any] = {"age": 31, "height": 1.8, "city": "Oslo", "kind": "a", "name": "Ada", "agreed": True}

CELLS = {
    "age": st.none() | st.floats(0, 100, width=32),
    "height": st.none() | st.floats(0, 3, width=32),
    "city": st.none() | st.sampled_from(["Bergen", "Oslo", "Paris", "", 0, 1, 2]),
    "kind": st.sampled_from(["a", "b", 0, 1]),
    "name": st.text(max_size=4),
    "agreed": st.booleans(),
}
RECORDS = st.lists(st.fixed_dictionaries(CELLS), min_size=1, max_size=8)


def read(body: Any, model: ModelInfo = MODEL) -> dict[str, Array]:
    arrays = decode_json(model, orjson.dumps(body), Budget())
    check_inputs(model.inputs, arrays)
    return arrays


def code(city: Any) -> int:
    return city if isinstance(city, int) else {"Bergen": 0, "Oslo": 1}.get(city, 2)


@given(RECORDS)
def test_records_columns_and_tensors_are_the_same(records: list[dict[str, Any]]) -> None:
    columns = {name: [record[name] for record in records] for name in CELLS}
    tensors = {
        "size": [[record["age"], record["height"]] for record in records],
        "city": [code(record["city"]) for record in records],
        "kind": [[record["kind"]] for record in records],
        "name": [[record["name"]] for record in records],
        "agreed": columns["agreed"],
    }
    wanted = read(tensors)
    for body in (records, columns):
        for name, array in read(body).items():
            np.testing.assert_array_equal(array, wanted[name])
            assert array.dtype == wanted[name].dtype
    assert wanted["city"].tolist() == tensors["city"]
    assert wanted["size"].shape == (len(records), 2)


@given(RECORDS)
def test_rows_in_a_request_become_what_they_become_alone(records: list[dict[str, Any]]) -> None:
    together = read(records)
    for row, record in enumerate(records):
        for name, array in read(record).items():
            np.testing.assert_array_equal(array, together[name][row : row + 1])


def test_what_may_be_missing_may_be_left_out_of_a_record() -> None:
    arrays = read([{"kind": "a", "name": "", "agreed": False}, WHOLE])
    assert arrays["city"].tolist() == [2, 1]
    np.testing.assert_array_equal(arrays["size"], np.array([[np.nan, np.nan], [31, 1.8]], np.float32))


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ([WHOLE, {**WHOLE, "kind": "c"}], r"'kind'\[1\] is 'c', which is no category of it.* its categories are: a, b"),
        ([{**WHOLE, "kind": None}], r"'kind'\[0\] is null; the model takes its categories"),
        ([{**WHOLE, "kind": 7}], "'kind' has the value 7; the largest allowed is 1"),
        ([{**WHOLE, "kind": 0.5}], r"'kind'\[0\] is 0.5"),
        ([{**WHOLE, "age": "31"}], r"'age'\[0\] is a string; the model takes numbers.*without quotes"),
        ([{**WHOLE, "age": [31]}], r"'age'\[0\] is a list; the model takes numbers"),
        ([{**WHOLE, "aeg": 3}], "record 0: unknown column 'aeg'; did you mean 'age'"),
        ([WHOLE, {"kind": "a", "name": ""}], "record 1 has no 'agreed'; it has 'kind', 'name'"),
        ([WHOLE] * 9, "the body has 9 records; at most 8"),
        ([], "the body is a list: send a JSON object"),
        ([WHOLE, 3], "the body is a list: send a JSON object"),
        ({name: [value] * 9 for name, value in WHOLE.items()}, "'age' has 9 examples; at most 8"),
        (
            {name: [value] * (3 if name == "height" else 2) for name, value in WHOLE.items()},
            "column 'height' has 3 values, and 'age' has 2",
        ),
        ({"age": [1], "city": ["Oslo"], "kind": ["a"], "name": [""], "agreed": [True]}, "column 'height' is missing"),
        ({**{name: [value] for name, value in WHOLE.items()}, "size": [[1, 2]]}, "'size' is sent whole and as columns"),
        ([{**WHOLE, "name": 3}], r"'name'\[0\] is an integer; the model takes strings"),
        ([{**WHOLE, "name": "x" * 17}], "a string of 17 characters; at most 16 bytes"),
        ([{**WHOLE, "name": "å" * 9}], "a string of 9 characters; at most 16 bytes"),
        ([{**WHOLE, "agreed": 1}], r"'agreed'\[0\] is an integer; the model takes true or false"),
    ],
)
def test_what_is_wrong_is_said_with_the_column_and_the_row(body: Any, problem: str) -> None:
    with pytest.raises(RequestError, match=problem):
        read(body)


def test_records_hold_tensors_of_any_shape() -> None:
    specs = (TensorSpec(name="x", dtype="float32", shape=("batch", 2, 2)),)
    model = ModelInfo("m", "1", "fp32", "", specs, (), 8)
    assert read([{"x": [[1, 2], [3, 4]]}, {"x": [[5, 6], [7, 8]]}], model)["x"].shape == (2, 2, 2)


def test_records_of_graphs_are_refused() -> None:
    specs = (TensorSpec(name="x", dtype="float32", shape=("nodes", 2)),)
    with pytest.raises(RequestError, match="the body is a list"):
        read([{"x": [[1, 2]]}], ModelInfo("m", "1", "fp32", "", specs, (), 8))
