"""Faults of a server in Triton's extensions, and the statements that have to find each."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from oip_conformance.proto import oip_pb2 as pb
from oip_conformance.tensors import Tensor, from_raw
from tests.given.grpc_faults import tensors
from tests.given.protocol_faults import (
    INDEX,
    INFER,
    OF_VERSION,
    STATS,
    call,
    call_with,
    change,
    each,
    errors,
    good,
    refuse,
    request,
    status,
)
from tests.given.protocol_messages import ECHO, LENGTH, Asked, Fault, Refused, Reply

# Binary data


def binary_request(spoil: Callable[[Asked, dict[str, Any], bytes], Asked | Reply]) -> Fault:
    """Requests with bytes after the JSON are understood in another way."""

    def before(asked: Asked) -> Asked | Reply:
        length = asked.headers.get(LENGTH, "")
        if not asked.path.endswith("/infer") or not length.isdigit() or length == "0":
            return asked
        try:
            content = json.loads(asked.body[: int(length)])
        except ValueError:
            return asked
        return spoil(asked, content, asked.body[int(length) :])

    return Fault(rest_before=before)


def with_json(asked: Asked, content: Any, raw: bytes) -> Asked:
    """The request with another JSON."""
    head = json.dumps(content).encode()
    return replace(asked, body=head + raw, headers={**asked.headers, LENGTH: str(len(head))})


def in_the_models_order(asked: Asked, content: dict[str, Any], raw: bytes) -> Asked:
    """The bytes are taken for those of the inputs in the order of the metadata."""
    known = list(ECHO)
    content["inputs"].sort(key=lambda entry: known.index(entry["name"]) if entry["name"] in known else 9)
    return with_json(asked, content, raw)


def big_endian(asked: Asked, content: dict[str, Any], raw: bytes) -> Asked:
    """The first bytes are taken for a big-endian number."""
    return with_json(asked, content, raw[:8][::-1] + raw[8:])


def all_or_none(asked: Asked, content: dict[str, Any], _: bytes) -> Asked | Reply:
    """Some inputs as JSON and some as bytes are refused."""
    mixed = len({"data" in entry for entry in content["inputs"]}) > 1
    return Reply(400, {"error": "mixed"}) if mixed else asked


def binary_in_binary_out(asked: Asked, content: dict[str, Any], raw: bytes) -> Asked:
    """Who sends bytes gets bytes."""
    return with_json(asked, {**content, "parameters": {"binary_data_output": True}}, raw)


def binary_reply(spoil: Callable[[Reply], Reply], *, raw_request: bool = False) -> Fault:
    """Responses with bytes after the JSON are changed: those of raw requests alone, or all."""

    def after(asked: Asked, reply: Reply) -> Reply:
        wanted = asked.headers.get(LENGTH) == "0" or not raw_request
        return spoil(reply) if wanted and reply.status == 200 and reply.raw else reply

    return Fault(rest_after=after)


def edit_outputs(**fields: Any) -> Callable[[Reply], Reply]:
    """The outputs of a response have other members; ``None`` removes one."""

    def spoil(reply: Reply) -> Reply:
        outputs = [
            {key: value for key, value in {**entry, **fields}.items() if value is not None}
            for entry in reply.content["outputs"]
        ]
        return replace(reply, content={**reply.content, "outputs": outputs})

    return spoil


def set_parameter(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Requested outputs have another value of a parameter that they have; ``None`` removes it."""

    def spoil(content: dict[str, Any]) -> None:
        for output in content.get("outputs") or []:
            parameters = output.get("parameters", {})
            if name in parameters and value is None:
                del parameters[name]
            elif name in parameters:
                parameters[name] = value

    return spoil


def one_for_all(content: dict[str, Any]) -> None:
    """If one output is wanted as bytes, all are."""
    outputs = content.get("outputs") or []
    if any(output.get("parameters", {}).get("binary_data") for output in outputs):
        for output in outputs:
            output["parameters"] = {**output.get("parameters", {}), "binary_data": True}


def request_over_output(content: dict[str, Any]) -> None:
    """What the request says about bytes counts more than what an output says."""
    if content.get("parameters", {}).get("binary_data_output"):
        for output in content.get("outputs") or []:
            output.pop("parameters", None)


# Classification


def classes(spoil: Callable[[list[str]], list[str]], *, rest: bool = True) -> Fault:
    """The classes of each row are changed, over gRPC, and over REST unless it is left out."""

    def changed(texts: list[str], count: int) -> list[str]:
        rows = [texts[start : start + count] for start in range(0, len(texts), count)]
        return [text for row in rows for text in spoil(row)]

    def after(_: Asked, reply: Reply) -> Reply:
        outputs = reply.content.get("outputs") if isinstance(reply.content, dict) else None
        for entry in outputs or []:
            if entry["datatype"] == "BYTES" and ":" in str(entry.get("data", "")) and rest:
                entry["data"] = changed(entry["data"], entry["shape"][1])
        return reply

    def after_call(method: str, sent: Any, found: Any) -> Any:
        if method != "ModelInfer" or isinstance(found, Refused):
            return found
        asked = {output.name for output in sent.outputs if "classification" in output.parameters}
        for place, output in enumerate(found.outputs):
            if output.name in asked:
                shape = list(output.shape)
                texts = from_raw(output.name, "BYTES", shape, found.raw_output_contents[place]).flat()
                values = np.array([text.encode() for text in changed(texts, shape[1])], dtype=object)
                found.raw_output_contents[place] = Tensor(output.name, "BYTES", values).raw()
        return found

    return Fault(rest_after=after, grpc_after=after_call)


def label_by_turn() -> Fault:
    """The same class has another label each time."""
    turn = itertools.count()
    return classes(lambda row: [f"{text}{next(turn)}" for text in row])


def class_tensor(**fields: Any) -> Fault:
    """The tensor of classes has another datatype or shape."""

    def after(_: Asked, reply: Reply) -> Reply:
        outputs = reply.content.get("outputs") if isinstance(reply.content, dict) else None
        for entry in outputs or []:
            if entry["datatype"] == "BYTES" and ":" in str(entry.get("data", "")):
                entry.update(fields)
        return reply

    def after_call(method: str, sent: Any, found: Any) -> Any:
        if method == "ModelInfer" and not isinstance(found, Refused):
            asked = {output.name for output in sent.outputs if "classification" in output.parameters}
            for output in found.outputs:
                if output.name in asked:
                    output.datatype = fields.get("datatype", output.datatype)
                    output.shape[:] = fields.get("shape", output.shape)
        return found

    return Fault(rest_after=after, grpc_after=after_call)


def two_classes() -> Fault:
    """Two classes are returned, whatever number was asked."""

    def two(message: Any) -> None:
        for output in message.outputs:
            if "classification" in output.parameters:
                output.parameters["classification"].int64_param = 2

    over_rest, over_grpc = request(set_parameter("classification", 2)), call_with("ModelInfer", two)
    return Fault(rest_before=over_rest.rest_before, grpc_before=over_grpc.grpc_before)


def classify_all(content: dict[str, Any]) -> None:
    """The classes that one output was asked for are returned of all."""
    outputs = content.get("outputs") or []
    if any("classification" in output.get("parameters", {}) for output in outputs):
        for output in outputs:
            output["parameters"] = {"classification": 1}


# Repository and statistics


def keeps_models() -> Fault:
    """Models that are unloaded stay."""
    unload = r"^/v2/repository/models/(echo|total)/unload$"

    def before(asked: Asked) -> Asked | Reply:
        return Reply(200, {}) if re.search(unload, asked.path) else asked

    def before_call(method: str, message: Any) -> Any:
        return type(message)() if method == "RepositoryModelUnload" else message

    def after_call(method: str, _: Any, found: Any) -> Any:
        return pb.RepositoryModelUnloadResponse() if method == "RepositoryModelUnload" else found

    return Fault(rest_before=before, grpc_before=before_call, grpc_after=after_call)


def ignores_ready() -> Fault:
    """An index has all models, whatever was asked."""

    def before(asked: Asked) -> Asked:
        return replace(asked, body=b"{}") if asked.path == "/v2/repository/index" and b"{" in asked.body else asked

    def all_models(message: Any) -> None:
        message.ready = False

    return Fault(rest_before=before, grpc_before=call_with("RepositoryIndex", all_models).grpc_before)


def counts_failures() -> Fault:
    """Refused requests count as successes."""
    refused: list[int] = []

    def after(asked: Asked, reply: Reply) -> Reply:
        if asked.path.endswith("/infer") and reply.status >= 400:
            refused.append(reply.status)
        if asked.path.endswith("/stats") and reply.status == 200:
            for entry in reply.content["model_stats"]:
                entry["inference_count"] += len(refused)
        return reply

    return Fault(rest_after=after)


def stats(spoil: Callable[[dict[str, Any]], Any]) -> Fault:
    """The statistics of each model are changed."""

    def spoil_all(content: Any) -> None:
        for entry in content["model_stats"]:
            spoil(entry)

    return change(STATS, spoil_all)


def reversed_bytes(reply: Reply) -> Reply:
    return replace(reply, raw=[reply.raw[0][::-1], *reply.raw[1:]])


def without_bytes(reply: Reply) -> Reply:
    return replace(reply, raw=[], content={**reply.content, "outputs": []})


def wrong_length(reply: Reply) -> Reply:
    return replace(reply, headers={LENGTH: str(len(reply.encoded()[1]) - 1)})


EXTENSION_FAULTS: dict[str, tuple[Callable[[], Fault], str]] = {
    "binary inputs are refused": (
        lambda: binary_request(lambda *_: Reply(400, {"error": "refused"})),
        "binary_data.inputs",
    ),
    "binary inputs are big-endian": (lambda: binary_request(big_endian), "binary_data.inputs_are_the_same"),
    "the order of binary inputs is the model's": (
        lambda: binary_request(in_the_models_order),
        "binary_data.inputs_in_the_order_of_the_json",
    ),
    "mixed inputs are refused": (lambda: binary_request(all_or_none), "binary_data.one_input_of_several"),
    "bytes in, bytes out": (lambda: binary_request(binary_in_binary_out), "binary_data.json_outputs_by_default"),
    "binary outputs have no size": (
        lambda: binary_reply(edit_outputs(parameters=None)),
        "binary_data.one_output binary_data.all_outputs",
    ),
    "binary outputs have data too": (
        lambda: binary_reply(edit_outputs(data=[0])),
        "binary_data.one_output_has_no_data",
    ),
    "binary outputs are big-endian": (
        lambda: binary_reply(reversed_bytes),
        "binary_data.outputs_are_the_same binary_data.some_outputs_of_several",
    ),
    "the length of the JSON is wrong": (lambda: binary_reply(wrong_length), "binary_data.length_of_the_json"),
    "bytes of no output follow": (
        lambda: binary_reply(lambda reply: replace(reply, raw=[*reply.raw, b"1234"])),
        "binary_data.length_of_the_json",
    ),
    "binary_data_output is ignored": (
        lambda: request(lambda content: content.get("parameters", {}).pop("binary_data_output", None)),
        "binary_data.all_outputs",
    ),
    "binary_data does not override": (
        lambda: request(request_over_output),
        "binary_data.an_output_overrides_the_request",
    ),
    "binary_data false is true": (
        lambda: request(set_parameter("binary_data", True)),
        "binary_data.false_is_json",
    ),
    "one binary output makes all binary": (lambda: request(one_for_all), "binary_data.some_outputs_of_several"),
    "raw requests are refused": (
        lambda: status(INFER, 400, only=lambda asked: asked.headers.get(LENGTH) == "0"),
        "binary_data.raw_request",
    ),
    "raw requests have no binary outputs": (
        lambda: binary_reply(without_bytes, raw_request=True),
        "binary_data.raw_request_has_binary_outputs",
    ),
    "raw requests have other values": (
        lambda: binary_reply(reversed_bytes, raw_request=True),
        "binary_data.raw_request_is_the_same",
    ),
    "classes are numbers": (
        lambda: class_tensor(datatype="UINT8"),
        "classification.rest_is_text classification.grpc_is_text",
    ),
    "classes have no row for each example": (
        lambda: class_tensor(shape=[4]),
        "classification.rest_has_count_columns classification.grpc_has_count_columns",
    ),
    "classes have no index": (
        lambda: classes(lambda row: [text.partition(":")[0] for text in row]),
        "classification.rest_is_value_and_index classification.grpc_is_value_and_index",
    ),
    "the lowest class comes first": (
        lambda: classes(lambda row: row[::-1]),
        "classification.rest_highest_first classification.grpc_highest_first",
    ),
    "classes have other values": (
        lambda: classes(lambda row: [f"1{text}" for text in row]),
        "classification.rest_value_of_the_index classification.grpc_value_of_the_index",
    ),
    "a class comes twice": (
        lambda: classes(lambda row: row[:1] * len(row)),
        "classification.rest_each_class_once classification.grpc_each_class_once",
    ),
    "labels change": (
        label_by_turn,
        "classification.rest_one_label_for_a_class classification.grpc_one_label_for_a_class",
    ),
    "gRPC has other labels": (
        lambda: classes(lambda row: [f"{text}!" for text in row], rest=False),
        "classification.the_same_over_both",
    ),
    "two classes always come": (two_classes, "classification.rest_one_class classification.grpc_one_class"),
    "all outputs are classified": (lambda: request(classify_all), "classification.other_outputs_stay"),
    "binary classes are other texts": (
        lambda: binary_reply(lambda reply: replace(reply, raw=[reply.raw[0].replace(b":", b";"), *reply.raw[1:]])),
        "classification.as_binary_data",
    ),
    "no index": (lambda: status(INDEX, 404), "repository.index"),
    "the index names other models": (lambda: each(INDEX, "", name="other"), "repository.index_name"),
    "a state is a number": (lambda: each(INDEX, "", state=1), "repository.index_state"),
    "no reason": (lambda: each(INDEX, "", reason=None), "repository.index_reason"),
    "versions of the index are numbers": (lambda: each(INDEX, "", version=1), "repository.index_version"),
    "the index ignores ready": (
        ignores_ready,
        "repository.index_of_ready_models repository.grpc_index_of_ready_models",
    ),
    "errors of the repository look good": (
        lambda: errors(r"^/v2/repository", good),
        "repository.index_that_is_not_json repository.load_an_unknown_model repository.unload_an_unknown_model",
    ),
    "models are not loaded again": (lambda: status(r"/load$", 403), "repository.load_again"),
    "unloaded models stay": (keeps_models, "repository.unload_and_load repository.grpc_unload_and_load"),
    "gRPC: the index is empty": (
        lambda: call("RepositoryIndex", lambda message: message.Clear()),
        "repository.grpc_index",
    ),
    "gRPC: other states than over REST": (
        lambda: call("RepositoryIndex", tensors("models", state="ready")),
        "repository.the_same_over_both",
    ),
    "no statistics": (lambda: status(STATS, 404), "statistics.of_a_model"),
    "statistics of another model": (lambda: each(STATS, "model_stats", name="other"), "statistics.name"),
    "statistics of another version": (lambda: each(STATS, "model_stats", version="7"), "statistics.version"),
    "no statistics of all models": (lambda: status("^/v2/models/stats$", 404), "statistics.of_all_models"),
    "versions have the same statistics": (
        lambda: each(f"{OF_VERSION}/stats$", "model_stats", version="1"),
        "statistics.of_a_version",
    ),
    "counts are text": (
        lambda: stats(lambda entry: entry.update(inference_count="3")),
        "statistics.counts_are_numbers",
    ),
    "a duration is missing": (
        lambda: stats(lambda entry: entry["inference_stats"].pop("queue")),
        "statistics.durations",
    ),
    "batches have no size": (
        lambda: stats(lambda entry: entry["batch_stats"][0].pop("batch_size")),
        "statistics.batches",
    ),
    "requests are counted for rows": (
        lambda: stats(lambda entry: entry.update(inference_count=entry["execution_count"])),
        "statistics.inferences_are_counted",
    ),
    "executions are not counted": (
        lambda: stats(lambda entry: entry.update(execution_count=0)),
        "statistics.executions_are_counted statistics.the_same_over_both",
    ),
    "refused requests are counted as answered": (counts_failures, "statistics.failures_are_counted"),
    "the last inference is in seconds": (
        lambda: stats(lambda entry: entry.update(last_inference=entry["last_inference"] // 1000)),
        "statistics.time_of_the_last_inference",
    ),
    "durations stay": (
        lambda: stats(lambda entry: entry["inference_stats"].update(success={"count": 1, "ns": 0})),
        "statistics.durations_grow",
    ),
    "errors of statistics look good": (
        lambda: errors(STATS, good),
        "statistics.of_an_unknown_model statistics.of_an_unknown_version",
    ),
    "gRPC: statistics of another model": (
        lambda: call("ModelStatistics", tensors("model_stats", name="other")),
        "statistics.grpc_of_a_model",
    ),
    "gRPC: no statistics of all models": (
        lambda: refuse("ModelStatistics", lambda message: not message.name),
        "statistics.grpc_of_all_models",
    ),
    "gRPC: inferences are not counted": (
        lambda: call("ModelStatistics", tensors("model_stats", inference_count=0)),
        "statistics.grpc_inferences_are_counted",
    ),
}
"""Each fault, and the ids of the statements that find it."""
