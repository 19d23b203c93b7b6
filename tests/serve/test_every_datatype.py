"""Every data type of the protocol goes in and comes out unchanged, at its extremes, in every form of sending it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from lading.protocol.datatypes import TO_V2, raw_bytes
from lading.protocol.oip_grpc import CONTENTS
from lading.protocol.proto import inference_pb2 as pb
from lading.protocol.proto.inference_pb2_grpc import GRPCInferenceServiceStub
from lading.spec import Array
from tests.given.live_server import LiveServer, live_server
from tests.given.small_artifacts import identity_artifact

LENGTH = "inference-header-content-length"
PATH = "/v2/models/small-identity/infer"


def extremes(dtype: str) -> Array:
    """Two rows of what is hardest to carry: the least and the most, and what no float holds exactly."""
    if dtype == "bool":
        return np.array([[True, False], [False, True]])
    if dtype == "string":
        return np.array([["", "a\nb"], ['"Tromsø"', "\U0001f600 null \0"]], object)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        info = np.finfo(kind)
        return np.array([[info.min, info.max], [info.tiny, 0.1]], kind)
    integer = np.iinfo(kind)
    return np.array([[integer.min, integer.max], [integer.max - 1, 1]], kind)


@pytest.fixture(scope="module", params=TO_V2)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A model that gives back what it is given, of one type each."""
    folder: Path = tmp_path_factory.mktemp("identity")
    with live_server(identity_artifact(folder / "a", request.param)) as live:
        yield live, extremes(request.param), TO_V2[request.param]


def entry(values: Array, datatype: str, **more: object) -> dict[str, object]:
    return {"name": "given", "shape": list(values.shape), "datatype": datatype, **more}


def same(raw: bytes, values: Array) -> bool:
    return raw == raw_bytes(values)


def test_json_in_and_out(served: tuple[LiveServer, Array, str]) -> None:
    live, values, datatype = served
    for data in (values.tolist(), values.ravel().tolist()):
        answer = live.client.post(PATH, json={"inputs": [entry(values, datatype, data=data)]})
        (output,) = answer.json()["outputs"]
        assert output["datatype"] == datatype
        assert np.array_equal(np.array(output["data"], values.dtype).reshape(2, 2), values)


def test_raw_bytes_in_and_out(served: tuple[LiveServer, Array, str]) -> None:
    live, values, datatype = served
    raw = raw_bytes(values)
    declared = entry(values, datatype, parameters={"binary_data_size": len(raw)})
    head = json.dumps({"inputs": [declared], "parameters": {"binary_data_output": True}}).encode()
    answer = live.client.post(PATH, content=head + raw, headers={LENGTH: str(len(head))})
    length = int(answer.headers[LENGTH])
    assert same(answer.content[length:], values)
    assert json.loads(answer.content[:length])["outputs"][0]["datatype"] == datatype
    if datatype == "BYTES":
        return  # the elements have lengths of their own
    alone = live.client.post(PATH, content=raw, headers={LENGTH: "0"})
    assert same(alone.content[int(alone.headers[LENGTH]) :], values)


def test_grpc_raw_and_typed(served: tuple[LiveServer, Array, str]) -> None:
    live, values, datatype = served
    tensor = pb.ModelInferRequest.InferInputTensor(name="given", datatype=datatype, shape=values.shape)
    raw = pb.ModelInferRequest(model_name="small-identity", inputs=[tensor], raw_input_contents=[raw_bytes(values)])
    with grpc.insecure_channel(live.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        assert same(stub.ModelInfer(raw).raw_output_contents[0], values)
        if datatype not in CONTENTS:
            assert datatype == "FP16"  # the protocol has no field for it
            return
        getattr(tensor.contents, CONTENTS[datatype]).extend(
            [text.encode() for text in values.ravel()] if datatype == "BYTES" else values.ravel().tolist()
        )
        answer = stub.ModelInfer(pb.ModelInferRequest(model_name="small-identity", inputs=[tensor]))
    back = getattr(answer.outputs[0].contents, CONTENTS[datatype])
    got = [text.decode() for text in back] if datatype == "BYTES" else list(back)
    assert np.array_equal(np.array(got, values.dtype).reshape(2, 2), values)
