"""A table is served over every port: names of categories, strings and missing values, alone and in batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
from jsonschema import Draft202012Validator

from lading.artifact import Artifact
from lading.deploy.golden_check import check_server
from lading.deploy.load.bodies import bodies, examples
from lading.deploy.load.signature import from_artifact, from_server
from lading.drift.features import example_features
from lading.drift.reference import Reference
from lading.drift.window import Window, scores_of
from lading.protocol.proto import inference_pb2 as pb
from lading.protocol.proto.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.given.browser import browser
from tests.given.every_port import assert_every_port_answers
from tests.given.live_server import LiveServer, live_server
from tests.given.small_artifacts import COLUMNS, columns_artifact

__all__ = ["browser"]
ROW: dict[str, Any] = {"age": 31, "height": None, "city": "Oslo", "kind": "a", "name": "Ada", "agreed": True}


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return columns_artifact(tmp_path_factory.mktemp("columns") / "artifact")


@pytest.fixture(scope="module")
def served(artifact: Artifact) -> Iterator[LiveServer]:
    with live_server(artifact) as live:
        yield live


def predict(live: LiveServer, body: Any) -> httpx.Response:
    return live.client.post("/predict", json=body)


def test_a_record_records_and_columns_get_the_same_answer(served: LiveServer) -> None:
    one = predict(served, ROW)
    assert one.json()["outputs"] == {
        "city_back": [1],
        "kind_back": [[0]],
        "name_back": [["Ada"]],
        "agreed_back": [True],
        "total": [31.0],
    }
    assert predict(served, [ROW]).json() == one.json()
    both = predict(served, {name: [value, value] for name, value in ROW.items()}).json()["outputs"]
    assert both == {name: value * 2 for name, value in one.json()["outputs"].items()}


def test_arrays_get_the_same_answer_over_every_port(served: LiveServer, artifact: Artifact) -> None:
    assert_every_port_answers(served, artifact.golden_inputs(), artifact.golden_outputs())
    sentences = list(check_server(artifact, served.url, served.grpc))
    assert all("gives the golden answers" in sentence for sentence in sentences)


def test_the_open_protocol_takes_names_of_categories_as_bytes(served: LiveServer, artifact: Artifact) -> None:
    given = {name: array[:1] for name, array in artifact.golden_inputs().items()}
    tensors: list[dict[str, Any]] = [
        {"name": "city", "datatype": "BYTES", "shape": [1], "data": ["Paris"]},
        {"name": "kind", "datatype": "BYTES", "shape": [1, 1], "data": ["b"]},
        {"name": "size", "datatype": "FP32", "shape": [1, 2], "data": given["size"].ravel().tolist()},
        {"name": "name", "datatype": "BYTES", "shape": [1, 1], "data": ["Ådne"]},
        {"name": "agreed", "datatype": "BOOL", "shape": [1], "data": [True]},
    ]
    tensors[2]["data"] = [1.5, None]
    answer = served.client.post("/v2/models/small-columns/infer", json={"inputs": tensors})
    outputs = {output["name"]: output for output in answer.json()["outputs"]}
    assert outputs["city_back"]["data"] == [2]
    assert outputs["kind_back"]["data"] == [1]
    assert (outputs["name_back"]["data"], outputs["name_back"]["datatype"]) == (["Ådne"], "BYTES")
    message = pb.ModelInferRequest(model_name="small-columns")
    for tensor in tensors:
        one = message.inputs.add(name=tensor["name"], datatype=tensor["datatype"], shape=tensor["shape"])
        field = {"BYTES": "bytes_contents", "FP32": "fp32_contents", "BOOL": "bool_contents"}[tensor["datatype"]]
        data = [value.encode() if isinstance(value, str) else value for value in tensor["data"]]
        getattr(one.contents, field).extend(np.nan if value is None else value for value in data)
    with grpc.insecure_channel(served.grpc) as channel:
        read = GRPCInferenceServiceStub(channel).ModelInfer(message)  # type: ignore[no-untyped-call]
        contents = {output.name: output.contents for output in read.outputs}
        assert [text.decode() for text in contents["name_back"].bytes_contents] == ["Ådne"]
        assert list(contents["city_back"].int64_contents) == [2]
        message.inputs[1].contents.bytes_contents[0] = b"z"
        with pytest.raises(grpc.RpcError, match="'z', which is no category"):
            GRPCInferenceServiceStub(channel).ModelInfer(message)  # type: ignore[no-untyped-call]
        message.inputs[1].contents.bytes_contents[0] = b"\xff"
        with pytest.raises(grpc.RpcError, match="a string that is not UTF-8"):
            GRPCInferenceServiceStub(channel).ModelInfer(message)  # type: ignore[no-untyped-call]


def test_strings_that_are_too_long_or_cut_off_are_refused(served: LiveServer) -> None:
    long = predict(served, {**ROW, "name": "x" * 17})
    assert (long.status_code, "at most 16 bytes" in long.text) == (400, True)
    tensor = {"name": "name", "datatype": "BYTES", "shape": [1, 1], "parameters": {"binary_data_size": 5}}
    head = b'{"inputs": [' + repr(tensor).replace("'", '"').encode() + b"]}"
    cut = served.client.post(
        "/v2/models/small-columns/infer",
        content=head + b"\x09\0\0\0a",
        headers={"inference-header-content-length": str(len(head))},
    )
    assert (cut.status_code, "ends within element 0" in cut.text) == (400, True)


def test_the_api_description_holds_for_what_is_answered_and_refused(served: LiveServer) -> None:
    document = served.client.get("/docs.json").json()
    schema = Draft202012Validator(document["components"]["schemas"]["Inputs"])
    example = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["example"]
    bodies: list[Any] = [example, ROW, [ROW, ROW], {name: [value] for name, value in ROW.items()}]
    bodies += [{**ROW, "city": "Paris"}, {**ROW, "kind": 1}, {**ROW, "city": None}]
    for body in bodies:
        assert schema.is_valid(body), body
        assert predict(served, body).status_code == 200, body
    for body in ({**ROW, "kind": "z"}, {**ROW, "kind": 9}, {**ROW, "name": 3}, {**ROW, "age": -1}, [], {}):
        assert not schema.is_valid(body), body
        assert predict(served, body).status_code == 400, body


def test_the_description_of_the_model_holds_a_form_that_can_be_sent(served: LiveServer) -> None:
    columns = served.client.get("/model").json()["table"]
    assert {column["name"]: column["kind"] for column in columns} == {
        "age": "number", "height": "number", "city": "category", "kind": "category", "name": "text", "agreed": "flag",
    }  # fmt: skip
    assert columns[2]["categories"] == ["Bergen", "Oslo"]
    record = {column["name"]: column["example"] for column in columns}
    assert predict(served, [record]).status_code == 200


def test_a_load_test_draws_rows_that_are_answered(served: LiveServer, artifact: Artifact) -> None:
    for signature in (from_artifact(artifact.path), from_server(served.url)):
        drawn = examples(signature)
        for kind in ("plain", "v2-json", "v2-binary"):
            for request in bodies(signature, kind, drawn):
                answer = served.client.post(request.path, content=request.content, headers=dict(request.headers))
                assert answer.status_code == 200, answer.text


def test_the_payload_log_keeps_strings_and_codes(artifact: Artifact, tmp_path: Any) -> None:
    with live_server(artifact, payload_log=str(tmp_path / "log"), grpc_port="off") as live:
        assert predict(live, [ROW, {**ROW, "name": "Åse"}]).status_code == 200
    (file,) = (tmp_path / "log").rglob("*.parquet")
    (row,) = pq.read_table(file).to_pylist()
    assert row["input.name"] == ["Ada", "Åse"]
    assert row["output.name_back"] == ["Ada", "Åse"]
    assert row["input.city"] == [1, 1]


def test_feedback_about_a_string_is_right_or_wrong(artifact: Artifact) -> None:
    with live_server(artifact, feedback=100, grpc_port="off") as live:
        asked = predict(live, ROW).headers["x-request-id"]
        told = live.client.post("/feedback", json={"request_id": asked, "truth": {"name_back": "Eva"}})
        assert told.json()["name_back"] == {"predicted": "Ada", "truth": "Eva", "right": False}, told.text


def test_drift_is_a_share_per_category_and_others_have_a_bin(artifact: Artifact) -> None:
    reference = Reference.of(artifact)
    assert reference.features["city.category"].labels == ("Bergen", "Oslo", "(other)")
    assert {"size.age", "size.height", "size.missing", "kind.category", "name.length", "agreed"} <= {
        *reference.features
    }
    window = Window(reference, 50)
    for _ in range(60):
        row = {"size": np.array([31, 1.5], np.float32), "city": np.array(2), "kind": np.array([0]),
               "name": np.array(["Ada"], object), "agreed": np.array(True)}  # fmt: skip
        window.add(example_features(COLUMNS, (), row, {}))
    drifted = {score.feature for score in scores_of(reference, window.blocks(), 0.01) if score.drifted}
    assert "city.category" in drifted


@pytest.mark.slow
def test_the_page_is_a_form_with_a_field_per_column(browser: Any, served: LiveServer) -> None:
    page = browser.new_page()
    page.goto(served.url)
    page.wait_for_selector("#table-form:not([hidden])")
    page.fill("#table-form [name='age']", "40")
    page.fill("#table-form [name='height']", "")
    page.fill("#table-form [name='city']", "Paris")
    page.select_option("#table-form [name='kind']", "b")
    page.fill("#table-form [name='name']", "Åse")
    page.click("#table-form button")
    page.wait_for_selector("#result dl.values")
    answer = page.inner_text("#result")
    assert "40" in answer
    assert "Åse" in answer
    assert '"city":"Paris"' in page.input_value("#body")
    page.close()
