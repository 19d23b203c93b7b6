"""Parameters of the Open Inference Protocol, over REST and gRPC: each does what the table in the documentation says."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import grpc
import numpy as np
import pytest

from lading.artifact import Artifact
from lading.protocol.oip import split_bytes
from lading.protocol.proto import inference_pb2 as pb
from lading.protocol.proto.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.given.live_server import LiveServer, live_server, wait_until

MODEL = "small-colour"
JSON_LENGTH = "inference-header-content-length"
PIXELS = np.full((2, 16, 16, 3), (230, 20, 20), np.uint8)
REFUSED = (400, grpc.StatusCode.INVALID_ARGUMENT)
EXPIRED = (504, grpc.StatusCode.DEADLINE_EXCEEDED)
Parameters = Mapping[str, Any]
NONE: Mapping[str, Any] = MappingProxyType({})


class Answer(NamedTuple):
    status: object
    """HTTP status, or gRPC's code."""
    error: str = ""
    outputs: Mapping[str, tuple[str, list[int], list[Any]]] = NONE
    """Datatype, shape and values by name."""


class Asked(NamedTuple):
    """One request in any form: parameters of the request and its input; for each output its own."""

    request: Parameters = NONE
    input: Parameters = NONE
    outputs: Mapping[str, Parameters] = NONE


Ask = Callable[[LiveServer, Asked], Answer]


def values(datatype: str, raw: bytes, shape: list[int]) -> list[Any]:
    if datatype == "BYTES":
        return [bytes(text).decode() for text in split_bytes("", memoryview(raw), shape)]
    numbers: list[float] = np.frombuffer(raw, "<f4").tolist()
    return numbers


def _rest(live: LiveServer, asked: Asked, *, raw: bool) -> Answer:
    tensor: dict[str, Any] = {"name": "image", "datatype": "UINT8", "shape": list(PIXELS.shape)}
    tensor["parameters"] = dict(asked.input) | ({"binary_data_size": PIXELS.nbytes} if raw else {})
    if not raw:
        tensor["data"] = PIXELS.ravel().tolist()
    content: dict[str, Any] = {"inputs": [tensor], "parameters": dict(asked.request)}
    if asked.outputs:
        content["outputs"] = [
            {"name": name, "parameters": dict(sent) | ({"binary_data": True} if raw else {})}
            for name, sent in asked.outputs.items()
        ]
    head = json.dumps(content).encode()
    headers = {JSON_LENGTH: str(len(head))} if raw else {}
    answer = live.client.post(f"/v2/models/{MODEL}/infer", content=head + PIXELS.tobytes() * raw, headers=headers)
    if answer.status_code != 200:
        return Answer(answer.status_code, answer.json()["error"])
    length = int(answer.headers.get(JSON_LENGTH, len(answer.content)))
    found, rest = {}, answer.content[length:]
    for output in json.loads(answer.content[:length])["outputs"]:
        data = output.get("data")
        if data is None:
            size = output["parameters"]["binary_data_size"]
            data, rest = values(output["datatype"], rest[:size], output["shape"]), rest[size:]
        found[output["name"]] = (output["datatype"], output["shape"], data)
    return Answer(200, outputs=found)


def _parameter(value: Any) -> pb.InferParameter:
    kinds: dict[type, str] = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}
    return pb.InferParameter(**{kinds[type(value)]: value}) if value is not None else pb.InferParameter()


def _grpc(live: LiveServer, asked: Asked, *, raw: bool) -> Answer:
    message = pb.ModelInferRequest(model_name=MODEL)
    tensor = message.inputs.add(name="image", datatype="UINT8", shape=PIXELS.shape)
    if raw:
        message.raw_input_contents.append(PIXELS.tobytes())
    else:
        tensor.contents.uint_contents.extend(PIXELS.ravel().tolist())
    holders = [(message, asked.request), (tensor, asked.input)]
    holders += [(message.outputs.add(name=name), sent) for name, sent in asked.outputs.items()]
    for holder, sent in holders:
        for name, value in sent.items():
            holder.parameters[name].CopyFrom(_parameter(value))
    with grpc.insecure_channel(live.grpc) as channel:
        try:
            answer = GRPCInferenceServiceStub(channel).ModelInfer(message, timeout=30)  # type: ignore[no-untyped-call]
        except grpc.RpcError as error:
            return Answer(error.code(), error.details())
    found = {}
    for place, output in enumerate(answer.outputs):
        shape = list(output.shape)
        if answer.raw_output_contents:
            data = values(output.datatype, answer.raw_output_contents[place], shape)
        else:
            contents = output.contents
            data = list(contents.fp32_contents) or [text.decode() for text in contents.bytes_contents]
        found[output.name] = (output.datatype, shape, data)
    return Answer(200, outputs=found)


FORMS: dict[str, Ask] = {
    "REST, JSON": lambda live, asked: _rest(live, asked, raw=False),
    "REST, raw": lambda live, asked: _rest(live, asked, raw=True),
    "gRPC, typed": lambda live, asked: _grpc(live, asked, raw=False),
    "gRPC, raw": lambda live, asked: _grpc(live, asked, raw=True),
}
every_form = pytest.mark.parametrize("ask", FORMS.values(), ids=FORMS.keys())


@every_form
def test_classes_come_instead_of_the_output_that_has_the_parameter(pictures: LiveServer, ask: Ask) -> None:
    whole = ask(pictures, Asked(outputs={"colour": {}, "shade": {}}))
    answer = ask(pictures, Asked(outputs={"colour": {"classification": 2}, "shade": {}}))
    assert answer.outputs["shade"] == whole.outputs["shade"]
    datatype, shape, texts = answer.outputs["colour"]
    assert (datatype, shape) == ("BYTES", [2, 2])
    scores, places, labels = zip(*[text.split(":") for text in texts], strict=True)
    assert (places, labels) == (("0", "1") * 2, ("red", "green") * 2)
    _, _, numbers = whole.outputs["colour"]
    assert [np.float32(score) for score in scores] == [np.float32(numbers[place]) for place in (0, 1, 3, 4)]


@every_form
def test_more_classes_than_there_are_is_all_of_them(pictures: LiveServer, ask: Ask) -> None:
    wanted = {"colour": {"classification": 10**9}, "shade": {"classification": 3}}
    outputs = ask(pictures, Asked(outputs=wanted)).outputs
    assert [outputs[name][:2] for name in wanted] == [("BYTES", [2, 3]), ("BYTES", [2, 2])]


@every_form
@pytest.mark.parametrize("count", [0, -1, 2.0, "2", True, None])
def test_a_number_of_classes_that_is_none_is_refused(pictures: LiveServer, ask: Ask, count: object) -> None:
    answer = ask(pictures, Asked(outputs={"colour": {"classification": count}}))
    assert answer.status in REFUSED
    assert answer.error.startswith("the parameter 'classification' of output 'colour' is ")
    assert answer.error.endswith("; send the number of classes, an integer of at least 1")


def test_the_model_without_a_vector_of_scores_and_the_huge_number_are_refused(types: LiveServer) -> None:
    tensors = [
        {"name": "count", "shape": [1, 2], "datatype": "INT16", "data": [3, 4]},
        {"name": "flag", "shape": [1, 2], "datatype": "BOOL", "data": [True, True]},
    ]

    def kept(count: int) -> Any:
        content = {"inputs": tensors, "outputs": [{"name": "kept", "parameters": {"classification": count}}]}
        return types.client.post("/v2/models/small-types/infer", json=content)

    assert kept(1).json()["outputs"][0]["data"] == ["4:1"]
    assert kept(2**80).status_code == 400


@every_form
@pytest.mark.parametrize("name", ["shared_memory_region", "shared_memory_byte_size", "shared_memory_offset"])
def test_shared_memory_is_refused_by_name(pictures: LiveServer, ask: Ask, name: str) -> None:
    sent = {name: "region" if name.endswith("region") else 64}
    for asked in (Asked(input=sent), Asked(outputs={"colour": sent}), Asked(request=sent)):
        answer = ask(pictures, asked)
        assert answer.status in REFUSED
        assert f"has the parameter {name!r}: this server has no shared memory" in answer.error


def test_an_input_in_shared_memory_has_no_data_and_the_sentence_is_about_the_memory(pictures: LiveServer) -> None:
    parameters = {"shared_memory_region": "region", "shared_memory_byte_size": PIXELS.nbytes}
    tensor = {"name": "image", "datatype": "UINT8", "shape": list(PIXELS.shape), "parameters": parameters}
    answer = pictures.client.post(f"/v2/models/{MODEL}/infer", json={"inputs": [tensor]})
    assert (answer.status_code, "'shared_memory_region'" in answer.json()["error"]) == (400, True)
    message = pb.ModelInferRequest(model_name=MODEL)
    shared = message.inputs.add(name="image", datatype="UINT8", shape=PIXELS.shape)
    shared.parameters["shared_memory_region"].string_param = "region"
    with grpc.insecure_channel(pictures.grpc) as channel, pytest.raises(grpc.RpcError) as error:
        GRPCInferenceServiceStub(channel).ModelInfer(message)  # type: ignore[no-untyped-call]
    assert (error.value.code(), "'shared_memory_region'" in error.value.details()) == (REFUSED[1], True)


@pytest.mark.parametrize("data", [[1], [], {}, "AAAA"])
def test_data_in_both_places_is_refused_over_rest(table: LiveServer, data: object) -> None:
    raw = np.zeros((1, 4), np.float32).tobytes()
    tensor = {"name": "features", "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": len(raw)}}
    for sent, status in ((tensor | {"data": data}, 400), (tensor | {"data": None}, 200), (tensor, 200)):
        head = json.dumps({"inputs": [sent]}).encode()
        headers = {JSON_LENGTH: str(len(head))}
        answer = table.client.post("/v2/models/small-table/infer", content=head + raw, headers=headers)
        assert answer.status_code == status
        assert status == 200 or "input 'features' has both 'data' and 'binary_data_size'" in answer.json()["error"]


def test_data_in_both_places_is_refused_over_grpc(table: LiveServer) -> None:
    message = pb.ModelInferRequest(model_name="small-table", raw_input_contents=[bytes(16)])
    tensor = message.inputs.add(name="features", datatype="FP32", shape=[1, 4])
    with grpc.insecure_channel(table.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        tensor.contents.SetInParent()
        assert stub.ModelInfer(message).raw_output_contents
        for field, value in (("fp32_contents", 1.0), ("int_contents", 1), ("bytes_contents", b"")):
            tensor.contents.Clear()
            getattr(tensor.contents, field).append(value)
            with pytest.raises(grpc.RpcError) as error:
                stub.ModelInfer(message)
            assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert "input 'features' has contents, and the message has raw_input_contents" in error.value.details()


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (Asked(request={"timeout": "soon"}), "the parameter 'timeout' of the request is 'soon'"),
        (Asked(request={"timeout": -1}), "the parameter 'timeout' of the request is -1"),
        (Asked(request={"timeout": 0.5}), "the parameter 'timeout' of the request is 0.5"),
        (Asked(request={"variant": 8}), "the parameter 'variant' of the request is 8"),
        (Asked(request={"classification": 1}), "the request has the parameter 'classification', which belongs to"),
        (Asked(input={"classification": 1}), "input 'image' has the parameter 'classification', which belongs to"),
    ],
)
@every_form
def test_what_a_parameter_cannot_be_is_refused(pictures: LiveServer, ask: Ask, asked: Asked, sentence: str) -> None:
    answer = ask(pictures, asked)
    assert answer.status in REFUSED
    assert answer.error.startswith(sentence)


@pytest.mark.parametrize("value", [1, "true", None, []])
def test_binary_outputs_are_true_or_false(pictures: LiveServer, value: object) -> None:
    form = FORMS["REST, JSON"]
    of_all = form(pictures, Asked(request={"binary_data_output": value}))
    of_one = form(pictures, Asked(outputs={"colour": {"binary_data": value}}))
    assert of_all.error.startswith("the parameter 'binary_data_output' of the request is ")
    assert of_one.error.startswith("the parameter 'binary_data' of output 'colour' is ")
    assert of_all.error.endswith("; send true or false")


def test_another_variant_than_the_address_names_is_refused_over_rest(pictures: LiveServer) -> None:
    form = FORMS["REST, JSON"]
    assert form(pictures, Asked(request={"variant": "fp32"})).status == 200
    answer = form(pictures, Asked(request={"variant": "int8"}))
    assert answer.status == 400
    assert "is 'int8', and 'fp32' answers: over REST the variant is part of the address (?variant=NAME)" in answer.error


@every_form
def test_a_request_that_waited_longer_than_its_timeout_is_not_run(small: dict[str, Artifact], ask: Ask) -> None:
    with live_server(small["colour"], lanes=1) as live, ThreadPoolExecutor(2) as pool:
        gate = threading.Event()
        live.hold(gate)
        late = pool.submit(ask, live, Asked(request={"timeout": 1}))
        patient = pool.submit(ask, live, Asked(request={"timeout": 60_000_000}))
        wait_until(lambda: len(live.app.repository.find().queue) == 2)
        gate.set()
        assert late.result().status in EXPIRED
        assert late.result().error == "the request waited longer than its timeout of 1 microseconds"
        assert patient.result().status == 200


class Row(NamedTuple):
    """A row of the table in the documentation."""

    names: tuple[str, ...]
    holder: str
    effect: str


def documented() -> Iterator[Row]:
    text = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
    table = text.partition("| Parameter | Of | Effect |\n|---|---|---|\n")[2].partition("\n\n")[0]
    for line in table.splitlines():
        names, holder, effect = (cell.strip() for cell in line.strip("|").split("|"))
        yield Row(tuple(re.findall(r"`([^`]+)`", names)), holder, effect)


GOOD: dict[str, Any] = {
    "binary_data": False,
    "binary_data_output": False,
    "classification": 1,
    "sequence_start": True,
    "sequence_end": True,
    "shared_memory_region": "region",
    "timeout": 60_000_000,
    "variant": "fp32",
}
OWN = {"binary_data_size"}
"""Parameters that change what a request is made of; all other tests of raw tensors send them."""


@every_form
@pytest.mark.parametrize("row", list(documented()), ids=lambda row: row.names[0])
def test_each_parameter_does_what_its_row_says(pictures: LiveServer, ask: Ask, row: Row) -> None:
    plain = ask(pictures, Asked(outputs={"colour": {}}))
    for name in set(row.names) - OWN:
        sent = {name: GOOD.get(name, 1)}
        for holder in ("request", "input", "output") if row.holder == "any" else (row.holder,):
            asked = Asked(outputs={"colour": sent}) if holder == "output" else Asked(**{holder: sent})
            answer = ask(pictures, asked._replace(outputs=asked.outputs or {"colour": {}}))
            if row.effect.startswith("refused"):
                assert answer.status in REFUSED
                assert repr(name) in answer.error
            else:
                assert answer.status == 200, answer.error
            if row.effect.startswith("ignored"):
                assert answer.outputs == plain.outputs
