"""A bare ONNX file that was packed with labels: every port names them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from lading.build.batch_axis import rename
from lading.build.onnx_file import pack_onnx
from lading.protocol.proto import inference_pb2 as pb
from lading.protocol.proto.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.given.browser import browser
from tests.given.live_server import live_server
from tests.given.onnx_text import parse, save
from tests.given.packed_onnx import LABELS, packed_classifier
from tests.given.quick_verify import quick_verify

__all__ = ["browser"]
ROWS = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


def test_labels_given_when_it_was_packed_are_in_every_answer(tmp_path: Path) -> None:
    with live_server(packed_classifier(tmp_path)) as live:
        client = live.client
        predicted = client.post("/predict", json={"x": ROWS.tolist()}).json()
        best = [LABELS[place] for place in np.argmax(predicted["outputs"]["y"], axis=1)]
        assert predicted["labels"] == {"y": best}
        described = client.get("/model").json()
        assert (described["outputs"][0]["labels"], described["probabilistic"]) == (list(LABELS), True)
        assert client.get("/v2/models/iris").json()["parameters"]["labels"] == {"y": list(LABELS)}
        tensor = {"name": "x", "datatype": "FP32", "shape": [3, 4], "data": ROWS.ravel().tolist()}
        wanted = [{"name": "y", "parameters": {"classification": 1}}]
        answer = client.post("/v2/models/iris/infer", json={"inputs": [tensor], "outputs": wanted}).json()
        assert [text.split(":")[2] for text in answer["outputs"][0]["data"]] == best
        message = pb.ModelInferRequest(model_name="iris", raw_input_contents=[ROWS.tobytes()])
        message.inputs.add(name="x", datatype="FP32", shape=[3, 4])
        message.outputs.add(name="y").parameters["classification"].int64_param = 1
        with grpc.insecure_channel(live.grpc) as channel:
            raw = GRPCInferenceServiceStub(channel).ModelInfer(message).raw_output_contents[0]  # type: ignore[no-untyped-call]
        assert [raw.count(label.encode()) for label in LABELS] == [best.count(label) for label in LABELS]


def test_an_output_is_answered_under_the_name_that_it_was_asked_for(tmp_path: Path) -> None:
    model = parse("z = Softmax <axis = 1> (x) y = Identity (z)", "float[N, 4] x", "float[N, 4] y, float[N, 4] z")
    rename(model.graph, "y", "Identity:0")
    with quick_verify():
        artifact = pack_onnx(save(model, tmp_path / "named.onnx"), tmp_path / "artifact", name="named")
    with live_server(artifact) as live, grpc.insecure_channel(live.grpc) as channel:
        assert [spec.name for spec in artifact.manifest.outputs] == ["Identity_0", "z"]
        tensor = {"name": "x", "datatype": "FP32", "shape": [3, 4], "data": ROWS.ravel().tolist()}
        for name in ("Identity:0", "Identity_0", "z"):
            for parameters in ({}, {"classification": 1}, {"binary_data": True}):
                wanted = [{"name": name, "parameters": parameters}]
                answer = live.client.post("/v2/models/named/infer", json={"inputs": [tensor], "outputs": wanted})
                head = answer.content[: int(answer.headers.get("inference-header-content-length", len(answer.content)))]
                assert [output["name"] for output in json.loads(head)["outputs"]] == [name]
            for classes in (0, 1):
                message = pb.ModelInferRequest(model_name="named", raw_input_contents=[ROWS.tobytes()])
                message.inputs.add(name="x", datatype="FP32", shape=[3, 4])
                output = message.outputs.add(name=name)
                if classes:
                    output.parameters["classification"].int64_param = classes
                stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
                assert [output.name for output in stub.ModelInfer(message).outputs] == [name]


@pytest.mark.slow
def test_the_page_shows_the_best_label_and_a_bar_for_each(browser: Any, tmp_path: Path) -> None:
    with live_server(packed_classifier(tmp_path)) as live:
        page = browser.new_page()
        page.goto(live.url)
        page.wait_for_selector("#form:not([hidden])")
        page.click("#send")
        page.wait_for_selector(".answer")
        best = LABELS[int(live.artifact.golden_outputs()["y"][0].argmax())]
        assert page.inner_text(".answer") == best
        assert page.locator(".bars li.top .name").all_inner_texts() == [best]
        assert sorted(page.locator(".bars .name").all_inner_texts()) == sorted(LABELS)
        assert page.locator(".bars .value").first.inner_text().endswith(" %")
        page.fill("#body", '{"x": [[1, 2, 3, 4], [0, 0, 0, 0]]}')
        page.click("#send")
        page.wait_for_selector("#result pre")
        assert len(page.inner_text(".answer").split(", ")) == 2
        page.close()
