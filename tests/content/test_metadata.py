"""A client that knows the protocol's metadata alone fills the tensors that they list, and is answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from lading.artifact import Artifact
from lading.build.onnx_declared import Declared, read_given
from lading.build.onnx_file import pack_onnx
from lading.content import content_types
from lading.protocol.datatypes import FROM_V2, raw_bytes, raw_strings
from lading.protocol.proto import inference_pb2 as pb
from lading.protocol.proto.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.given.live_server import LiveServer, live_server
from tests.given.onnx_text import parse, save
from tests.given.quick_verify import quick_verify
from tests.given.small_artifacts import picture_artifact
from tests.given.small_text import text_artifact


def _recordings(folder: Path) -> Artifact:
    folder.mkdir()
    nodes = "a = Abs (sound) level = ReduceMean <keepdims = 1> (a, last)"
    file = save(parse(nodes, "float[N, 400] sound", "float[N, 1] level", opset=18), folder / "heard.onnx")
    with quick_verify():
        return pack_onnx(file, folder / "a", name="heard", declared=Declared(recordings=(read_given("8000"),)))


MADE: dict[str, Callable[[Path], Artifact]] = {
    "audio": _recordings,
    "image": picture_artifact,
    "text": text_artifact,
}
ROWS = 2


@pytest.fixture(scope="module", params=sorted(MADE))
def live(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(MADE[request.param](tmp_path_factory.mktemp("content") / "made")) as live:
        yield live


def test_every_content_type_is_here() -> None:
    assert {content.name for content in content_types()} == MADE.keys()


def filled(tensor: Any) -> tuple[list[int], list[Any], bytes]:
    """Shape, values and raw bytes of a tensor that is known by its datatype and shape alone."""
    datatype, sizes = (
        (tensor["datatype"], tensor["shape"]) if isinstance(tensor, dict) else (tensor.datatype, tensor.shape)
    )
    shape = [size if size >= 0 else ROWS for size in sizes]
    if datatype == "BYTES":
        texts = [f"value {number}" for number in range(int(np.prod(shape)))]
        return shape, texts, raw_strings(texts)
    array = (np.arange(np.prod(shape)) % 5).reshape(shape).astype(FROM_V2[datatype])
    return shape, array.ravel().tolist(), raw_bytes(array)


def test_over_rest(live: LiveServer) -> None:
    address = f"/v2/models/{live.artifact.manifest.name}"
    known = live.client.get(address).json()
    sent = []
    for tensor in known["inputs"]:
        shape, values, _ = filled(tensor)
        sent.append({"name": tensor["name"], "datatype": tensor["datatype"], "shape": shape, "data": values})
    answer = live.client.post(f"{address}/infer", json={"inputs": sent})
    assert answer.status_code == 200, answer.text
    assert [(output["name"], output["shape"][0]) for output in answer.json()["outputs"]] == [
        (output["name"], ROWS) for output in known["outputs"]
    ]


@pytest.mark.parametrize("raw", [False, True])
def test_over_grpc(live: LiveServer, raw: bool) -> None:
    name = live.artifact.manifest.name
    fields = {"UINT8": "uint_contents", "FP32": "fp32_contents", "INT64": "int64_contents"}
    with grpc.insecure_channel(live.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        known = stub.ModelMetadata(pb.ModelMetadataRequest(name=name))
        request = pb.ModelInferRequest(model_name=name)
        for tensor in known.inputs:
            shape, values, content = filled(tensor)
            added = request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=shape)
            if raw:
                request.raw_input_contents.append(content)
            elif tensor.datatype == "BYTES":
                added.contents.bytes_contents.extend(text.encode() for text in values)
            else:
                getattr(added.contents, fields[tensor.datatype]).extend(values)
        answer = stub.ModelInfer(request)
    assert [output.shape[0] for output in answer.outputs] == [ROWS] * len(known.outputs)


def test_both_ports_say_the_same(live: LiveServer) -> None:
    name = live.artifact.manifest.name
    listed = live.client.get(f"/v2/models/{name}").json()["inputs"]
    with grpc.insecure_channel(live.grpc) as channel:
        known = GRPCInferenceServiceStub(channel).ModelMetadata(pb.ModelMetadataRequest(name=name))  # type: ignore[no-untyped-call]
    assert [(one.name, one.datatype, list(one.shape)) for one in known.inputs] == [
        (one["name"], one["datatype"], one["shape"]) for one in listed
    ]


def test_numbers_of_every_input_are_known_and_taken(live: LiveServer) -> None:
    address = f"/v2/models/{live.artifact.manifest.name}"
    known = live.client.get(address).json()
    assert known["parameters"]["files"]
    tensors = known["parameters"].get("tensors", known["inputs"])
    assert [tensor["name"] for tensor in tensors] == [spec.name for spec in live.artifact.manifest.inputs]
    assert all(tensor["datatype"] != "BYTES" for tensor in tensors)
    sent = []
    for tensor in tensors:
        shape, values, _ = filled(tensor)
        values = [min(1, value) for value in values]  # also a mask
        values[0] = 1
        sent.append({"name": tensor["name"], "datatype": tensor["datatype"], "shape": shape, "data": values})
    answer = live.client.post(f"{address}/infer", json={"inputs": sent})
    assert answer.status_code == 200, answer.text
