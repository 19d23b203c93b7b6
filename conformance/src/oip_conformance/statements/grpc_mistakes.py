"""Calls over gRPC that are wrong, and their status."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import grpc

from oip_conformance import sections as at
from oip_conformance.grpc_client import Reply
from oip_conformance.proto import oip_pb2 as pb
from oip_conformance.statement import GRPC, Failed, Level, Section, Skipped, Statement, require, state, statement
from oip_conformance.subject import NO_MODEL, NO_VERSION, Subject

Requested = pb.ModelInferRequest.InferRequestedOutputTensor
Spoil = Callable[[pb.ModelInferRequest], None]
"""Changes a good request."""


@dataclass(frozen=True)
class Mistake:
    """A wrong call."""

    name: str
    text: str
    section: Section
    spoil: Spoil
    form: str = "raw"
    """Contents of the request before it is spoiled: raw, typed or both."""
    level: Level = Level.MUST
    inputs: int = 1
    """It applies to models with at least this number of inputs."""


def _unknown_model(request: pb.ModelInferRequest) -> None:
    request.model_name = NO_MODEL


def _unknown_input(request: pb.ModelInferRequest) -> None:
    request.inputs[0].name = "no-such-input"


def _no_name(request: pb.ModelInferRequest) -> None:
    request.inputs[0].name = ""


def _no_inputs(request: pb.ModelInferRequest) -> None:
    del request.inputs[:]
    del request.raw_input_contents[:]


def _without_the_first(request: pb.ModelInferRequest) -> None:
    del request.inputs[0]
    del request.raw_input_contents[0]


def _twice(request: pb.ModelInferRequest) -> None:
    request.inputs.append(request.inputs[0])
    request.raw_input_contents.append(request.raw_input_contents[0])


def _unknown_output(request: pb.ModelInferRequest) -> None:
    request.outputs.append(Requested(name="no-such-output"))


def _output_without_name(request: pb.ModelInferRequest) -> None:
    request.outputs.append(Requested())


def _unknown_datatype(request: pb.ModelInferRequest) -> None:
    request.inputs[0].datatype = "FP31"


def _no_datatype(request: pb.ModelInferRequest) -> None:
    request.inputs[0].datatype = ""


def _negative_size(request: pb.ModelInferRequest) -> None:
    request.inputs[0].shape[0] = -1


def _no_shape(request: pb.ModelInferRequest) -> None:
    del request.inputs[0].shape[:]


def _too_many_dims(request: pb.ModelInferRequest) -> None:
    request.inputs[0].shape.extend([1, 1])


def _larger_shape(request: pb.ModelInferRequest) -> None:
    request.inputs[0].shape[0] += 1


def _raw_too_short(request: pb.ModelInferRequest) -> None:
    request.raw_input_contents[0] = request.raw_input_contents[0][:-1]


def _raw_too_long(request: pb.ModelInferRequest) -> None:
    request.raw_input_contents[0] += b"\x00"


def _raw_missing(request: pb.ModelInferRequest) -> None:
    del request.raw_input_contents[-1]


def _raw_surplus(request: pb.ModelInferRequest) -> None:
    request.raw_input_contents.append(request.raw_input_contents[0])


def _as_it_is(_: pb.ModelInferRequest) -> None:
    """The form is the mistake."""


def _no_contents(request: pb.ModelInferRequest) -> None:
    for tensor in request.inputs:
        tensor.ClearField("contents")


def _too_few_values(request: pb.ModelInferRequest) -> None:
    ((_, values),) = request.inputs[0].contents.ListFields()
    del values[-1]


def _too_many_values(request: pb.ModelInferRequest) -> None:
    ((_, values),) = request.inputs[0].contents.ListFields()
    values.append(values[0])


def _other_field(request: pb.ModelInferRequest) -> None:
    contents = request.inputs[0].contents
    ((field, values),) = contents.ListFields()
    count = len(values)
    contents.Clear()
    if field.name == "bytes_contents":
        contents.fp64_contents.extend([1.0] * count)
    else:
        contents.bytes_contents.extend([b"1"] * count)


MISTAKES = (
    Mistake("unknown_model", "A model that does not exist", at.GRPC_INFERENCE, _unknown_model),
    Mistake("no_inputs", "A call without inputs", at.GRPC_MODEL_METADATA, _no_inputs),
    Mistake("an_input_is_missing", "One input less than the model requires", at.GRPC_MODEL_METADATA,
            _without_the_first, inputs=2),
    Mistake("an_input_twice", "An input that is sent twice", at.GRPC_INFERENCE, _twice, level=Level.SHOULD),
    Mistake("unknown_input", "An input that the model does not have", at.GRPC_MODEL_METADATA, _unknown_input),
    Mistake("no_name", "An input without `name`", at.GRPC_INFERENCE, _no_name),
    Mistake("unknown_output", "A requested output that the model does not have", at.GRPC_INFERENCE, _unknown_output),
    Mistake("an_output_without_name", "A requested output without `name`", at.GRPC_INFERENCE, _output_without_name),
    Mistake("unknown_datatype", "A datatype that the protocol lacks", at.GRPC_DATATYPES, _unknown_datatype),
    Mistake("no_datatype", "An input without `datatype`", at.GRPC_INFERENCE, _no_datatype),
    Mistake("negative_size", "A shape with a negative size", at.GRPC_INFERENCE, _negative_size),
    Mistake("no_shape", "An input of several values without `shape`", at.GRPC_INFERENCE, _no_shape),
    Mistake("too_many_dims", "A shape with more dims than the model's", at.GRPC_MODEL_METADATA, _too_many_dims),
    Mistake("a_larger_shape", "A shape with more rows than the raw contents", at.GRPC_INFERENCE, _larger_shape),
    Mistake("a_larger_shape_typed", "A shape with more rows than the typed contents", at.GRPC_TENSOR_DATA,
            _larger_shape, form="typed"),
    Mistake("raw_too_short", "Raw contents with a byte less than shape and datatype take", at.GRPC_INFERENCE,
            _raw_too_short),
    Mistake("raw_too_long", "Raw contents with a byte more than shape and datatype take", at.GRPC_INFERENCE,
            _raw_too_long),
    Mistake("raw_missing", "Raw contents for all inputs but one", at.GRPC_INFERENCE, _raw_missing, inputs=2),
    Mistake("raw_surplus", "Raw contents for more tensors than the inputs", at.GRPC_INFERENCE, _raw_surplus),
    Mistake("raw_and_typed", "Raw and typed contents in the same call", at.GRPC_INFERENCE, _as_it_is, form="both"),
    Mistake("no_contents", "Inputs without raw or typed contents", at.GRPC_TENSOR_DATA, _no_contents, form="typed"),
    Mistake("too_few_values", "Typed contents with fewer values than the shape", at.GRPC_TENSOR_DATA,
            _too_few_values, form="typed"),
    Mistake("too_many_values", "Typed contents with more values than the shape", at.GRPC_TENSOR_DATA,
            _too_many_values, form="typed"),
    Mistake("other_field", "Typed contents in the field of another datatype", at.GRPC_TENSOR_DATA, _other_field,
            form="typed", level=Level.SHOULD),
)  # fmt: skip


def _send(mistake: Mistake, subject: Subject) -> Reply[pb.ModelInferResponse]:
    if len(subject.inputs) < mistake.inputs:
        raise Skipped("the model has one input")
    request = subject.grpc_request(raw=mistake.form == "raw")
    if mistake.form == "both":
        request.raw_input_contents.extend(tensor.raw() for tensor in subject.inputs)
    mistake.spoil(request)
    return subject.grpc.infer(request)


def _refused(mistake: Mistake, subject: Subject) -> None:
    _send(mistake, subject).require_refused(mistake.text)


for _mistake in MISTAKES:
    state(
        Statement(
            f"grpc_mistakes.{_mistake.name}",
            f"{_mistake.text}: the status is an error.",
            _mistake.section,
            _mistake.level,
            (GRPC,),
            partial(_refused, _mistake),
        )
    )


@statement(Level.MUST, at.GRPC_INFERENCE, [GRPC])
def unknown_version(subject: Subject) -> None:
    """A version that does not exist has an error status."""
    if not subject.grpc.model_metadata(subject.model).ok().versions:
        raise Skipped("the model lists no versions")
    subject.grpc.infer(subject.grpc_request(model_version=NO_VERSION)).require_refused("an unknown version")


@statement(Level.SHOULD, at.GRPC_INFERENCE, [GRPC])
def errors_are_the_clients(subject: Subject) -> None:
    """Wrong calls are the client's mistakes: their status is neither INTERNAL nor UNKNOWN."""
    found = []
    for mistake in MISTAKES:
        try:
            code = _send(mistake, subject).code
        except (Failed, Skipped):
            continue
        if code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN):
            found.append(f"{mistake.name} {code.name}")
    require(not found, f"{len(found)} mistakes are answered as the server's: {', '.join(found[:6])}")


@statement(Level.SHOULD, at.GRPC_INFERENCE, [GRPC])
def errors_say_what_is_wrong(subject: Subject) -> None:
    """The status of a wrong call has a message."""
    for mistake in MISTAKES:
        try:
            reply = _send(mistake, subject)
        except (Failed, Skipped):
            continue
        require(reply.code is grpc.StatusCode.OK or reply.details, f"{mistake.name} has no message")


@statement(Level.MUST, at.GRPC_INFERENCE, [GRPC])
def answers_after_mistakes(subject: Subject) -> None:
    """After wrong calls, a good one is still answered with OK."""
    for mistake in MISTAKES[:6]:
        try:
            _send(mistake, subject)
        except Skipped:
            continue
    subject.grpc.infer(subject.grpc_request()).ok()
