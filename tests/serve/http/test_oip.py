"""The Open Inference Protocol over REST, as its text says and as its clients send it."""

from __future__ import annotations

import base64
import gzip
import json
import struct
import zlib
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lading.artifact import Artifact
from tests.given.live_server import LiveServer, live_server
from tests.given.pictures import Encode

TABLE = "/v2/models/small-table"
JSON_LENGTH = "inference-header-content-length"


def tensor(data: Any, shape: list[int], datatype: str = "FP32", name: str = "features") -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


def infer(live: LiveServer, content: object, path: str = f"{TABLE}/infer", **options: Any) -> httpx.Response:
    return live.client.post(path, json=content, **options)


def with_raw(content: dict[str, Any], *raw: bytes) -> tuple[bytes, dict[str, str]]:
    head = json.dumps(content).encode()
    return head + b"".join(raw), {JSON_LENGTH: str(len(head)), "content-type": "application/octet-stream"}


def raw_outputs(answer: httpx.Response) -> tuple[dict[str, Any], bytes]:
    length = int(answer.headers[JSON_LENGTH])
    return json.loads(answer.content[:length]), answer.content[length:]


def test_the_server_and_its_model_describe_themselves(table: LiveServer) -> None:
    for path in ("/v2", "/v2/"):
        assert table.client.get(path).json()["extensions"] == [
            "binary_tensor_data",
            "classification",
            "model_repository",
            "statistics",
        ]
    for path in (TABLE, f"{TABLE}/versions/1"):
        metadata = table.client.get(path).json()
        assert metadata["inputs"] == [{"name": "features", "datatype": "FP32", "shape": [-1, 4]}]
        assert metadata["outputs"] == [{"name": "total", "datatype": "FP32", "shape": [-1, 1]}]
        assert (metadata["name"], metadata["versions"], metadata["platform"]) == (
            "small-table",
            ["1"],
            "onnxruntime_onnx",
        )
        assert metadata["parameters"]["lanes"] == 2
    assert table.client.get("/v2/models").json() == {"models": ["small-table"]}


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready", f"{TABLE}/ready", f"{TABLE}/versions/1/ready"])
def test_health_is_200(table: LiveServer, path: str) -> None:
    assert table.client.get(path).status_code == 200


@pytest.mark.parametrize("path", [f"{TABLE}/infer", f"{TABLE}/versions/1/infer"])
@pytest.mark.parametrize("data", [[1, 2, 3, 4, 5, 6, 7, 8], [[1, 2, 3, 4], [5, 6, 7, 8]]], ids=["flat", "nested"])
def test_data_may_be_flat_or_nested_and_the_id_comes_back(table: LiveServer, path: str, data: list[Any]) -> None:
    answer = infer(table, {"id": "abc", "inputs": [tensor(data, [2, 4])], "parameters": {"unheard": "of"}}, path)
    assert answer.json() == {
        "model_name": "small-table",
        "model_version": "1",
        "id": "abc",
        "parameters": {"variant": "fp32"},
        "outputs": [{"name": "total", "datatype": "FP32", "shape": [2, 1], "data": [10.0, 26.0]}],
    }


def test_only_the_outputs_asked_for_come_back(pictures: LiveServer) -> None:
    content = {
        "inputs": [tensor([0] * 768, [1, 16, 16, 3], "UINT8", "image")],
        "outputs": [{"name": "shade"}],
    }
    answer = infer(pictures, content, "/v2/models/small-colour/infer").json()
    assert [output["name"] for output in answer["outputs"]] == ["shade"]
    assert "id" not in answer


def test_every_datatype_of_the_model_is_read_and_written(types: LiveServer) -> None:
    content = {
        "inputs": [
            tensor([1, -2, 3, 4], [2, 2], "INT16", "count"),
            tensor([True, False, True, True], [2, 2], "BOOL", "flag"),
        ]
    }
    output = infer(types, content, "/v2/models/small-types/infer").json()["outputs"][0]
    assert (output["datatype"], output["data"]) == ("INT64", [1, 0, 3, 4])


def test_tensors_travel_as_raw_bytes_both_ways(types: LiveServer) -> None:
    count = np.array([[1, -2], [3, 4]], np.int16).tobytes()
    inputs: list[dict[str, Any]] = [
        {"name": "count", "shape": [2, 2], "datatype": "INT16", "parameters": {"binary_data_size": len(count)}},
        {"name": "flag", "shape": [2, 2], "datatype": "BOOL", "parameters": {"binary_data_size": 4}},
    ]
    body, headers = with_raw({"inputs": inputs, "parameters": {"binary_data_output": True}}, count, b"\1\0\1\1")
    answer = types.client.post("/v2/models/small-types/infer", content=body, headers=headers)
    assert answer.headers["content-type"] == "application/octet-stream"
    content, raw = raw_outputs(answer)
    assert content["outputs"][0]["parameters"] == {"binary_data_size": 32}
    assert np.frombuffer(raw, "<i8").tolist() == [1, 0, 3, 4]


def test_one_output_may_be_raw_and_another_json(pictures: LiveServer) -> None:
    asked = {
        "inputs": [tensor([200] * 768, [1, 16, 16, 3], "UINT8", "image")],
        "outputs": [{"name": "shade"}, {"name": "colour", "parameters": {"binary_data": True}}],
    }
    content, raw = raw_outputs(infer(pictures, asked, "/v2/models/small-colour/infer"))
    shade, colour = content["outputs"]
    assert len(shade["data"]) == 2
    assert np.frombuffer(raw, "<f4").shape == (3,)
    assert colour["parameters"] == {"binary_data_size": 12}


def test_a_body_may_be_one_tensor_and_nothing_else(table: LiveServer) -> None:
    rows = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32)
    answer = table.client.post(f"{TABLE}/infer", content=rows.tobytes(), headers={JSON_LENGTH: "0"})
    content, raw = raw_outputs(answer)
    assert content["outputs"][0]["shape"] == [2, 1]
    assert np.frombuffer(raw, "<f4").tolist() == [10.0, 26.0]


def test_a_picture_may_be_pixels_or_an_encoded_file_in_any_form(pictures: LiveServer, encode: Encode) -> None:
    path = "/v2/models/small-colour/infer"
    photo = encode("PNG")
    element = struct.pack("<I", len(photo)) + photo
    pixels = np.full((1, 16, 16, 3), (230, 20, 20), np.uint8)
    entry = {"name": "image", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(element)}}
    body, headers = with_raw({"inputs": [entry]}, element)
    column = tensor([[base64.b64encode(photo).decode()]], [1, 1], "BYTES", "image")
    answers = [
        infer(pictures, {"inputs": [tensor(pixels.ravel().tolist(), [1, 16, 16, 3], "UINT8", "image")]}, path),
        infer(pictures, {"inputs": [column]}, path),
        pictures.client.post(path, content=body, headers=headers),
    ]
    alone = pictures.client.post(path, content=photo, headers={JSON_LENGTH: "0"})
    colours = [answer.json()["outputs"][0]["data"] for answer in answers]
    colours.append(np.frombuffer(raw_outputs(alone)[1][:12], "<f4").tolist())
    for colour in colours:
        assert colour == pytest.approx(colours[0], abs=1e-6)


def test_ragged_graphs_are_read_with_and_without_their_owners(graph: LiveServer) -> None:
    nodes = tensor([1, 0, 0, 1], [2, 2], name="nodes")
    edges = tensor([0, 1, 1, 0], [2, 2], "INT64", "edges")
    owner = tensor([0, 0], [2], "INT64", "owner")
    path = "/v2/models/small-graph/infer"
    first, second = (
        infer(graph, {"inputs": inputs}, path).json() for inputs in ([nodes, edges], [nodes, edges, owner])
    )
    assert first["outputs"] == second["outputs"]
    assert first["outputs"][0]["shape"] == [1, 2]


@pytest.mark.parametrize(
    ("encoding", "deflate"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", lambda data: zlib.compress(data, wbits=-15))],
    ids=["gzip", "zlib", "bare deflate"],
)
def test_a_body_may_be_compressed(table: LiveServer, encoding: str, deflate: Any) -> None:
    body = deflate(json.dumps({"inputs": [tensor([1, 2, 3, 4], [1, 4])]}).encode())
    answer = table.client.post(f"{TABLE}/infer", content=body, headers={"content-encoding": encoding})
    assert answer.json()["outputs"][0]["data"] == [10.0]


def test_a_bomb_is_refused_before_it_is_unpacked(pictures: LiveServer) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    for path in ("/v2/models/small-colour/infer", "/predict", "/classify"):
        answer = pictures.client.post(path, content=bomb, headers={"content-encoding": "gzip"})
        assert answer.status_code == 413
        assert "inflates to more than 300000 bytes" in answer.json()["error"]


def test_a_body_inflates_to_no_more_than_the_largest_that_the_model_takes(table: LiveServer) -> None:
    for bomb in (b" " * 400_000, b'{"inputs": [' + b"[]," * 130_000 + b"1]}"):
        answer = table.client.post("/predict", content=gzip.compress(bomb), headers={"content-encoding": "gzip"})
        assert answer.status_code == 413
        assert "inflates to more than 288768 bytes" in answer.json()["error"]


GOOD = tensor([1, 2, 3, 4], [1, 4])
BAD: dict[str, tuple[object, str]] = {
    "no inputs": ({}, "'inputs' is missing"),
    "inputs of another kind": ({"inputs": {"features": 1}}, "'inputs' is an object of 1 entry: send a list"),
    "an input that is no object": ({"inputs": [3]}, "an entry of 'inputs' is 3: each is an object"),
    "unknown input": ({"inputs": [GOOD | {"name": "x"}]}, "unknown input 'x'; the inputs are: features"),
    "an input twice": ({"inputs": [GOOD, GOOD]}, "input 'features' is sent twice"),
    "another datatype": ({"inputs": [GOOD | {"datatype": "INT32"}]}, "has datatype 'INT32'; the model takes FP32"),
    "no datatype": ({"inputs": [{"name": "features", "shape": [1, 4], "data": []}]}, "has no 'datatype'"),
    "no shape": ({"inputs": [{"name": "features", "datatype": "FP32", "data": []}]}, "has no 'shape'"),
    "no data": ({"inputs": [{"name": "features", "datatype": "FP32", "shape": [1, 4]}]}, "has no 'data'"),
    "too few values": ({"inputs": [tensor([1, 2], [1, 4])]}, "has 2 values, which is not its shape [1, 4]"),
    "another nesting": ({"inputs": [tensor([[1, 2], [3, 4]], [1, 4])]}, "2 entries at the top"),
    "ragged": ({"inputs": [tensor([[1, 2, 3, 4], [5]], [2, 4])]}, "a list at depth 1"),
    "text": ({"inputs": [tensor([1, 2, 3, "4"], [1, 4])]}, "is a string; the model takes numbers"),
    "negative size": ({"inputs": [tensor([], [-1, 4])]}, "sizes run from 0"),
    "another rank": ({"inputs": [tensor([1, 2, 3, 4], [4])]}, "has shape [4]; the model takes [-1, 4]"),
    "another width": ({"inputs": [tensor([1, 2, 3], [1, 3])]}, "has shape [1, 3]; the model takes [batch, 4]"),
    "out of range": ({"inputs": [tensor([1, 2, 3, 99], [1, 4])]}, "the largest allowed is 10"),
    "unknown output": ({"inputs": [GOOD], "outputs": [{"name": "y"}]}, "unknown output 'y'; the outputs are: total"),
    "an id that is no text": ({"id": 3, "inputs": [GOOD]}, "'id' is not a string"),
    "parameters of another kind": (
        {"inputs": [GOOD], "parameters": [1]},
        "'parameters' of the request is [1]: it is",
    ),
    "too many bytes": (
        {"inputs": [{**GOOD, "data": None, "parameters": {"binary_data_size": 16}}]},
        "binary_data_size 16; 0 bytes are left",
    ),
}


@pytest.mark.parametrize(("content", "sentence"), BAD.values(), ids=BAD.keys())
def test_what_is_wrong_is_said(table: LiveServer, content: object, sentence: str) -> None:
    answer = infer(table, content)
    assert answer.status_code == 400
    assert sentence in answer.json()["error"]


def test_unknown_models_and_versions_are_404(table: LiveServer) -> None:
    for path in ("/v2/models/x/infer", f"{TABLE}/versions/9/infer", f"{TABLE}/infer?variant=int8"):
        assert infer(table, {"inputs": [GOOD]}, path).status_code == 404
    for path in ("/v2/models/x", "/v2/models/x/ready", f"{TABLE}/versions/9"):
        answer = table.client.get(path)
        assert answer.status_code == 404
        assert "small-table" in answer.json()["error"]


def test_a_deadline_is_read_from_the_header(small: dict[str, Artifact]) -> None:
    with live_server(small["table"], lanes=1) as live:
        wrong = infer(live, {"inputs": [GOOD]}, headers={"x-request-timeout-ms": "soon"})
        assert (wrong.status_code, "send the milliseconds" in wrong.json()["error"]) == (400, True)
        late = infer(live, {"inputs": [GOOD]}, headers={"x-request-timeout-ms": "0.000001"})
        assert late.status_code == 504


def test_other_methods_are_405(table: LiveServer) -> None:
    assert table.client.get(f"{TABLE}/infer").status_code == 405
    assert table.client.put("/predict").status_code == 405


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    length=st.one_of(st.integers(-1, 200).map(str), st.text(max_size=4)),
    entry=st.fixed_dictionaries(
        {
            "shape": st.lists(st.one_of(st.integers(-2, 2**63), st.none()), max_size=4),
            "datatype": st.sampled_from(["FP32", "BYTES", "BOOL", "FP64", "", "fp32"]),
            "parameters": st.fixed_dictionaries(
                {"binary_data_size": st.one_of(st.integers(-1, 40), st.floats(allow_nan=False), st.none())}
            ),
        }
    ),
    raw=st.binary(max_size=64),
)
def test_no_raw_body_is_worse_than_a_400(table: LiveServer, length: str, entry: dict[str, Any], raw: bytes) -> None:
    head = json.dumps({"inputs": [entry | {"name": "features"}]}).encode()
    sent = {JSON_LENGTH: length.encode("utf-8").decode("latin-1")} if length.isprintable() else {}
    for headers in (sent, {JSON_LENGTH: str(len(head))}):
        try:
            answer = table.client.post(f"{TABLE}/infer", content=head + raw, headers=headers)
        except (httpx.LocalProtocolError, UnicodeEncodeError):
            continue
        assert answer.status_code in (200, 400, 413)
        assert "request_id" in answer.json() or answer.status_code == 200
