"""Faults of a server over gRPC, and the statements that have to find each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from oip_conformance.proto import oip_pb2 as pb
from tests.given.protocol_faults import call, call_errors, call_with, refuse, with_code
from tests.given.protocol_messages import ECHO, Fault


def put(**fields: Any) -> Callable[[Any], None]:
    """Fields of a message have other values."""

    def spoil(message: Any) -> None:
        for name, value in fields.items():
            setattr(message, name, value)

    return spoil


def tensors(member: str, **fields: Any) -> Callable[[Any], None]:
    """Fields of each entry of a list in a message have other values."""

    def spoil(message: Any) -> None:
        for entry in getattr(message, member):
            for name, value in fields.items():
                if name == "shape":
                    entry.shape[:] = value
                else:
                    setattr(entry, name, value)

    return spoil


def looks_good(method: str, _: Any, __: Any) -> Any:
    """A message where there should be an error."""
    return getattr(pb, f"{method}Response")()


def ready_anyway(method: str, _: Any, error: Any) -> Any:
    return pb.ModelReadyResponse(ready=True) if method == "ModelReady" else error


def reverse_typed(message: Any) -> None:
    for tensor in message.inputs:
        tensor.contents.fp32_contents[:] = tensor.contents.fp32_contents[::-1]


def in_the_models_order(message: Any) -> None:
    """Raw contents are taken for those of the inputs in the order of the metadata."""
    if {tensor.name for tensor in message.inputs} == set(ECHO):
        by_name = {tensor.name: type(tensor).FromString(tensor.SerializeToString()) for tensor in message.inputs}
        del message.inputs[:]
        message.inputs.extend(by_name[name] for name in ECHO)


def make_up_an_id(message: Any) -> None:
    message.id = message.id or "made-up"


def one_output_more(message: Any) -> None:
    message.outputs.add().CopyFrom(message.outputs[0])
    message.outputs[-1].name = "more"
    message.raw_output_contents.extend(message.raw_output_contents[:1])


def drop_outputs(message: Any) -> None:
    del message.outputs[:]


def one_dim_more(message: Any) -> None:
    for output in message.outputs:
        output.shape.append(1)


def a_byte_less(message: Any) -> None:
    if message.raw_output_contents:
        message.raw_output_contents[0] = message.raw_output_contents[0][:-1]


def typed_too(message: Any) -> None:
    if message.raw_output_contents:
        message.outputs[0].contents.fp32_contents.append(1)


def first_row(message: Any) -> None:
    for place, raw in enumerate(message.raw_output_contents):
        shape = message.outputs[place].shape
        message.raw_output_contents[place] = raw[: len(raw) // shape[0]]
        shape[0] = 1


GRPC_FAULTS: dict[str, tuple[Callable[[], Fault], str]] = {
    "gRPC: not live": (lambda: call("ServerLive", put(live=False)), "grpc_health.server_live"),
    "gRPC: not ready": (lambda: call("ServerReady", put(ready=False)), "grpc_health.server_ready"),
    "gRPC: the model is not ready": (lambda: call("ModelReady", put(ready=False)), "grpc_health.model_ready"),
    "gRPC: a version is not ready": (
        lambda: refuse("ModelReady", lambda message: message.version == "1"),
        "grpc_health.model_version_ready",
    ),
    "gRPC: every model is ready": (
        lambda: call_errors(ready_anyway),
        "grpc_health.unknown_model_is_not_ready grpc_health.unknown_version_is_not_ready",
    ),
    "gRPC: no server metadata": (lambda: refuse("ServerMetadata"), "grpc_health.server_metadata"),
    "gRPC: the server has no name": (
        lambda: call("ServerMetadata", put(name="")),
        "grpc_health.server_name grpc_health.server_metadata_as_over_rest",
    ),
    "gRPC: the server has no version": (
        lambda: call("ServerMetadata", put(version="")),
        "grpc_health.server_version grpc_health.server_metadata_as_over_rest",
    ),
    "gRPC: no model metadata": (lambda: refuse("ModelMetadata"), "grpc_health.model_metadata"),
    "gRPC: metadata of another model": (
        lambda: call("ModelMetadata", put(name="other")),
        "grpc_health.model_name grpc_health.metadata_of_a_version",
    ),
    "gRPC: the platform is a word": (
        lambda: call("ModelMetadata", put(platform="numpy")),
        "grpc_health.model_platform_form grpc_health.versions_as_over_rest",
    ),
    "gRPC: inputs of one name": (
        lambda: call("ModelMetadata", tensors("inputs", name="same")),
        "grpc_health.input_names grpc_health.model_metadata_as_over_rest",
    ),
    "gRPC: outputs without names": (
        lambda: call("ModelMetadata", tensors("outputs", name="")),
        "grpc_health.output_names grpc_inference.all_outputs_by_default",
    ),
    "gRPC: datatypes of numpy": (
        lambda: call("ModelMetadata", tensors("inputs", datatype="float32")),
        "grpc_health.datatypes",
    ),
    "gRPC: shapes with -2": (
        lambda: call("ModelMetadata", tensors("outputs", shape=[-2, 4])),
        "grpc_health.shapes grpc_inference.output_shapes_fit_the_metadata",
    ),
    "gRPC: other shapes than over REST": (
        lambda: call("ModelMetadata", tensors("inputs", shape=[-1, 5])),
        "grpc_health.model_metadata_as_over_rest",
    ),
    "gRPC: a version has no metadata": (
        lambda: refuse("ModelMetadata", lambda message: message.version == "1"),
        "grpc_health.metadata_of_a_version",
    ),
    "an error of a call is OK": (
        lambda: call_errors(looks_good),
        "grpc_health.unknown_model grpc_health.unknown_version grpc_mistakes.unknown_version "
        "classification.grpc_no_number_of_classes repository.grpc_load_an_unknown_model "
        "repository.grpc_unload_an_unknown_model statistics.grpc_of_an_unknown_model",
    ),
    "gRPC: all errors are INTERNAL": (
        lambda: call_errors(with_code(grpc.StatusCode.INTERNAL)),
        "grpc_health.unknown_model_by_its_code grpc_mistakes.errors_are_the_clients",
    ),
    "gRPC: errors say nothing": (
        lambda: call_errors(with_code(grpc.StatusCode.INVALID_ARGUMENT, "")),
        "grpc_mistakes.errors_say_what_is_wrong",
    ),
    "gRPC: no inference": (
        lambda: refuse("ModelInfer"),
        "grpc_inference.answers grpc_inference.typed_contents grpc_inference.raw_contents",
    ),
    "gRPC: typed contents are refused": (
        lambda: refuse("ModelInfer", lambda message: not message.raw_input_contents),
        "grpc_inference.typed_contents",
    ),
    "gRPC: raw contents are refused": (
        lambda: refuse("ModelInfer", lambda message: bool(message.raw_input_contents)),
        "grpc_inference.answers grpc_inference.raw_contents",
    ),
    "gRPC: typed contents are read from the end": (
        lambda: call_with("ModelInfer", reverse_typed),
        "grpc_inference.typed_and_raw_contents_are_the_same",
    ),
    "gRPC: the order of the inputs is the model's": (
        lambda: call_with("ModelInfer", in_the_models_order),
        "grpc_inference.inputs_in_any_order",
    ),
    "gRPC: another model_name": (lambda: call("ModelInfer", put(model_name="other")), "grpc_inference.model_name"),
    "gRPC: another model_version": (
        lambda: call("ModelInfer", put(model_version="7")),
        "grpc_inference.model_version grpc_inference.by_version",
    ),
    "gRPC: no id comes back": (
        lambda: call("ModelInfer", put(id="")),
        "grpc_inference.returns_the_id grpc_inference.returns_each_its_own_id",
    ),
    "gRPC: an id is made up": (lambda: call("ModelInfer", make_up_an_id), "grpc_inference.makes_up_no_id"),
    "gRPC: an output more": (lambda: call("ModelInfer", one_output_more), "grpc_inference.all_outputs_by_default"),
    "gRPC: requested outputs are ignored": (
        lambda: call_with("ModelInfer", drop_outputs),
        "grpc_inference.one_output grpc_mistakes.unknown_output grpc_mistakes.an_output_without_name",
    ),
    "gRPC: datatypes are wider": (
        lambda: call("ModelInfer", tensors("outputs", datatype="FP64")),
        "grpc_inference.output_datatypes",
    ),
    "gRPC: outputs have a dim more": (
        lambda: call("ModelInfer", one_dim_more),
        "grpc_inference.output_shapes_fit_the_metadata",
    ),
    "gRPC: a byte is missing": (
        lambda: call("ModelInfer", a_byte_less),
        "grpc_inference.as_many_values_as_the_shape",
    ),
    "gRPC: raw and typed contents come": (lambda: call("ModelInfer", typed_too), "grpc_inference.raw_or_typed"),
    "gRPC: one row comes back": (
        lambda: call("ModelInfer", first_row),
        "grpc_inference.whole_batches grpc_inference.as_over_rest",
    ),
    "gRPC: parameters are refused": (
        lambda: call_with("ModelInfer", lambda message: not message.parameters),
        "grpc_inference.parameters",
    ),
}
"""Each fault, and the ids of the statements that find it."""
