"""A value that may be missing reaches the model on every way in; elsewhere it is refused as before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pytest

from lading.artifact import Artifact
from lading.build.onnx_file import pack_onnx
from lading.drift.features import features
from lading.drift.reference import Reference
from lading.errors import RequestError
from lading.protocol.json_values import parse_tensor
from lading.score.parquet_tensor import stacked
from lading.spec import TensorSpec
from lading.tensors.checks import check_inputs
from tests.given.live_server import LiveServer, live_server
from tests.given.onnx_text import parse, save
from tests.given.quick_verify import quick_verify

FILLED = "n = IsNaN (x) y = Where (n, b, x)"  # a missing value becomes that of its column
HOLES = TensorSpec(name="x", dtype="float32", shape=("batch", 3), missing=True)
WHOLE = HOLES.model_copy(update={"missing": False})


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A graph whose calibration data hold a missing value."""
    folder = tmp_path_factory.mktemp("missing")
    rows = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    rows[::3, 1] = np.nan
    np.savez(folder / "rows.npz", x=rows)
    file = save(parse(FILLED, "float[N, 3] x", "float[N, 3] y"), folder / "filled.onnx")
    with quick_verify():
        return pack_onnx(file, folder / "artifact", name="filled", calibration=folder / "rows.npz")


@pytest.fixture(scope="module")
def served(artifact: Artifact) -> Iterator[LiveServer]:
    with live_server(artifact, grpc_port="off") as live:
        yield live


def infer(values: list[float | None]) -> dict[str, object]:
    return {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": values}]}


def binary(values: list[float]) -> tuple[bytes, dict[str, str]]:
    raw = np.array(values, np.float32).tobytes()
    tensor = {"name": "x", "shape": [1, 3], "datatype": "FP32", "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [tensor]}).encode()
    return head + raw, {"inference-header-content-length": str(len(head))}


def test_examples_with_holes_make_an_input_whose_values_may_be_missing(artifact: Artifact) -> None:
    assert artifact.manifest.inputs[0].missing
    reference = Reference.of(artifact)
    assert reference.features["x.missing"].mean == pytest.approx(1 / 9, abs=0.02)
    assert "x.1" in reference.features


def test_null_is_a_missing_value_on_every_endpoint(served: LiveServer) -> None:
    plain = served.client.post("/predict", json={"x": [[1.0, None, 3.0]]})
    assert plain.json()["outputs"]["y"] == [[1.0, pytest.approx(0.2), 3.0]], plain.text
    url = "/v2/models/filled/infer"
    assert served.client.post(url, json=infer([1.0, None, 3.0])).json()["outputs"][0]["data"][1] == pytest.approx(0.2)
    body, headers = binary([1.0, np.nan, 3.0])
    answer: httpx.Response = served.client.post(url, content=body, headers=headers)
    assert answer.json()["outputs"][0]["data"][1] == pytest.approx(0.2), answer.text
    schema = served.client.get("/docs.json").json()["components"]["schemas"]["Inputs"]["properties"]["x"]
    assert schema["items"]["items"]["type"] == ["number", "null"]


def test_infinity_and_text_are_no_missing_values(served: LiveServer) -> None:
    body, headers = binary([1.0, np.inf, 3.0])
    answer = served.client.post("/v2/models/filled/infer", content=body, headers=headers)
    assert answer.status_code == 400
    assert "'x' has an infinite value: send finite numbers, or null for a missing one" in answer.text
    text = served.client.post("/predict", json={"x": [[1.0, "", 3.0]]})
    assert text.status_code == 400
    assert "numbers, or null, (float32)" in text.text


def test_an_input_that_does_not_allow_it_refuses_a_missing_value() -> None:
    with pytest.raises(RequestError, match="is null"):
        parse_tensor(WHOLE, [[1.0, None, 2.0]])
    with pytest.raises(RequestError, match="not finite"):
        check_inputs([WHOLE], {"x": np.array([[np.nan, 1, 2]], np.float32)})


def test_bounds_hold_for_the_values_that_are_there() -> None:
    bounded = HOLES.model_copy(update={"minimum": 0.0, "maximum": 9.0})
    check_inputs([bounded], {"x": np.array([[np.nan, 1, 9]], np.float32)})
    check_inputs([bounded], {"x": np.full((1, 3), np.nan, np.float32)})
    with pytest.raises(RequestError, match="the largest allowed is 9"):
        check_inputs([bounded], {"x": np.array([[np.nan, 1, 10]], np.float32)})
    with pytest.raises(RequestError, match="cannot hold"):
        parse_tensor(HOLES, [[None, 1e300, 2.0]])


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.int64(), 3)])
def test_a_null_in_parquet_is_a_missing_value(kind: pa.DataType) -> None:
    column = pa.array([[1, None, 3], [4, 5, 6]], type=kind)
    np.testing.assert_array_equal(stacked(HOLES, column), np.array([[1, np.nan, 3], [4, 5, 6]], np.float32))
    with pytest.raises(RequestError, match="holds a null"):
        stacked(WHOLE, column)


def test_only_floats_can_be_missing() -> None:
    with pytest.raises(ValueError, match=r"only floats can be missing, and categories .*; it is int64"):
        TensorSpec(name="x", dtype="int64", shape=("batch", 3), missing=True)


def test_missing_values_leave_the_features_of_the_others(tmp_path: Path) -> None:
    found = features(HOLES, np.array([1, np.nan, 3], np.float32))
    assert {name: values.tolist() for name, values in found.items()} == {
        "x.missing": [pytest.approx(1 / 3)],
        "x.0": [1.0],
        "x.2": [3.0],
    }
    wide = HOLES.model_copy(update={"shape": ("batch", 100)})
    assert set(features(wide, np.full(100, np.nan, np.float32))) == {"x.missing"}
