"""Inference over gRPC: the request's forms, and the response."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from oip_conformance import sections as at
from oip_conformance.proto import oip_pb2 as pb
from oip_conformance.responses import outputs_of_message
from oip_conformance.statement import GRPC, REST, Failed, Level, Skipped, require, shown, statement
from oip_conformance.statements.rest_request import changed, echoes
from oip_conformance.statements.rest_response import AT_ONCE, IDS, require_fits
from oip_conformance.subject import Subject
from oip_conformance.tensors import CONTENTS, DTYPES, require_same


@statement(Level.MUST, at.GRPC_INFERENCE, [GRPC])
def answers(subject: Subject) -> None:
    """ModelInfer with the inputs that the metadata name answers OK."""
    try:
        request = subject.grpc_request()
    except Skipped as skip:
        raise Failed(str(skip)) from None
    subject.grpc.infer(request).ok()


@statement(Level.MUST, at.GRPC_TENSOR_DATA, [GRPC])
def typed_contents(subject: Subject) -> None:
    """Inputs may be sent in the typed `contents` of each tensor."""
    subject.grpc.infer(subject.grpc_request(raw=False)).ok()


@statement(Level.MUST, at.GRPC_TENSOR_DATA, [GRPC])
def raw_contents(subject: Subject) -> None:
    """Inputs may be sent in `raw_input_contents`, in the order of the inputs."""
    subject.grpc.infer(subject.grpc_request(raw=True)).ok()


@statement(Level.MUST, at.GRPC_TENSOR_DATA, [GRPC])
def typed_and_raw_contents_are_the_same(subject: Subject) -> None:
    """Typed and raw contents of the same tensors give the same outputs."""
    typed, raw = (subject.grpc_outputs(subject.grpc_request(raw=raw)) for raw in (False, True))
    require_same(typed, raw, "typed and raw contents")


@statement(Level.MUST, at.GRPC_TENSOR_DATA, [GRPC])
def inputs_in_any_order(subject: Subject) -> None:
    """Raw contents belong to the inputs in the order of the request, whatever it is."""
    if len(subject.inputs) < 2:
        raise Skipped("the model has one input")
    turned = subject.grpc_request(list(reversed(subject.inputs)))
    require_same(subject.grpc_outputs(subject.grpc_request()), subject.grpc_outputs(turned), "inputs in another order")


@statement(Level.MUST, at.GRPC_INFERENCE, [GRPC])
def model_name(subject: Subject) -> None:
    """The response has the `model_name` of the model."""
    name = _response(subject).model_name
    require(name == subject.model, f"`model_name` is {name!r}, not {subject.model!r}")


@statement(Level.MUST, at.GRPC_INFERENCE, [GRPC])
def model_version(subject: Subject) -> None:
    """`model_version`, if the response has it, is one of the versions that the metadata list."""
    version = _response(subject).model_version
    versions = list(subject.grpc.model_metadata(subject.model).ok().versions)
    if not version or not versions:
        raise Skipped("the response has no `model_version`, or the metadata list no versions")
    require(version in versions, f"`model_version` is {version!r}; the metadata list {versions}")


@statement(Level.MUST, at.GRPC_INFERENCE, [GRPC])
def by_version(subject: Subject) -> None:
    """ModelInfer takes each version that the metadata list, and says which version it used."""
    versions = list(subject.grpc.model_metadata(subject.model).ok().versions)
    if not versions:
        raise Skipped("the model lists no versions")
    for version in versions:
        got = _response(subject, model_version=version).model_version
        require(got in ("", version), f"version {version!r} was asked, and `model_version` is {got!r}")


@statement(Level.MUST, at.GRPC_INFERENCE, [GRPC])
def returns_the_id(subject: Subject) -> None:
    """The `id` of the request is returned in the response, whatever string it is."""
    for sent in IDS:
        reply = subject.grpc.infer(subject.grpc_request(id=sent))
        require(reply.message, f"the id {sent!r} is answered with {reply.code.name}: {shown(reply.details)}")
        got = reply.ok().id
        require(got == sent, f"the id {sent!r} comes back as {got!r}")


@statement(Level.MUST, at.GRPC_INFERENCE, [GRPC])
def returns_each_its_own_id(subject: Subject) -> None:
    """Calls that are made at the same time get their own ids back."""
    sent = [f"at-once-{number}" for number in range(AT_ONCE)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        got = list(pool.map(lambda one: _response(subject, id=one).id, sent))
    require(got == sent, f"the ids {sent} come back as {shown(got)}")


@statement(Level.SHOULD, at.GRPC_INFERENCE, [GRPC])
def makes_up_no_id(subject: Subject) -> None:
    """The response's `id` is the request's if one was specified: a request without one gets none."""
    got = _response(subject).id
    require(not got, f"the request has no id, and the response has {got!r}")


@statement(Level.MUST, at.GRPC_INFERENCE, [GRPC])
def all_outputs_by_default(subject: Subject) -> None:
    """A request that names no outputs gets all that the metadata name, and no other."""
    wanted = _known(subject)
    got = [output.name for output in _response(subject).outputs]
    require(sorted(got) == sorted(wanted), f"the outputs are {got}, not {list(wanted)}")


@statement(Level.MUST, at.GRPC_INFERENCE, [GRPC])
def one_output(subject: Subject) -> None:
    """A request that names one output gets this one and no other, with the same values."""
    for tensor in subject.grpc_outputs(subject.grpc_request()):
        wanted = [pb.ModelInferRequest.InferRequestedOutputTensor(name=tensor.name)]
        got = subject.grpc_outputs(subject.grpc_request(outputs=wanted))
        names = [each.name for each in got]
        require(names == [tensor.name], f"output {tensor.name!r} was requested, and {names} came")
        require_same(got, [tensor], "by name, and among all")


@statement(Level.MUST, at.GRPC_DATATYPES, [GRPC])
def output_datatypes(subject: Subject) -> None:
    """The `datatype` of each output is the one that the metadata name."""
    known = _known(subject)
    for output in _response(subject).outputs:
        if output.name in known:
            wanted = known[output.name].datatype
            require(output.datatype == wanted, f"output {output.name!r} is {output.datatype!r}, not {wanted}")


@statement(Level.MUST, at.GRPC_MODEL_METADATA, [GRPC])
def output_shapes_fit_the_metadata(subject: Subject) -> None:
    """The shape of each output has the dims that the metadata say, with any size where they say -1."""
    known = _known(subject)
    for output in _response(subject).outputs:
        if output.name in known:
            require_fits(output.name, list(output.shape), tuple(known[output.name].shape))


@statement(Level.MUST, at.GRPC_TENSOR_DATA, [GRPC])
def as_many_values_as_the_shape(subject: Subject) -> None:
    """The contents of each output, raw or typed, have as many elements as its shape, of its datatype."""
    outputs_of_message(_response(subject))


@statement(Level.MUST, at.GRPC_INFERENCE, [GRPC])
def raw_or_typed(subject: Subject) -> None:
    """A response has raw contents for each of its outputs, or typed contents, and not both."""
    for raw in (True, False):
        try:
            message = subject.grpc.infer(subject.grpc_request(raw=raw)).ok()
        except Skipped:
            continue
        count = len(message.raw_output_contents)
        require(count in (0, len(message.outputs)), f"{count} raw contents for {len(message.outputs)} outputs")
        typed = [
            output.name for output in message.outputs if output.HasField("contents") and output.contents.ListFields()
        ]
        require(not (count and typed), f"there are raw contents, and typed ones of {typed}")


@statement(Level.SHOULD, at.GRPC_INFERENCE, [GRPC])
def whole_batches(subject: Subject) -> None:
    """Shape and data of an output are those of the whole batch: 1, 2 and 3 rows in, as many out."""
    for size in (1, 2, 3):
        for output in subject.grpc_outputs(subject.grpc_request(subject.of_batch(size))):
            require(output.shape[:1] == [size], f"{size} rows in, and {output.name!r} has the shape {output.shape}")


@statement(Level.SHOULD, at.GRPC_PARAMETERS, [GRPC])
def parameters(subject: Subject) -> None:
    """A request and its inputs may have parameters: booleans, integers and strings, also unknown ones."""
    values = {
        "conformance_flag": pb.InferParameter(bool_param=True),
        "conformance_number": pb.InferParameter(int64_param=7),
        "conformance_text": pb.InferParameter(string_param="text"),
    }
    request = subject.grpc_request()
    for name, value in values.items():
        request.parameters[name].CopyFrom(value)
        request.inputs[0].parameters[name].CopyFrom(value)
    subject.grpc.infer(request).ok()


@statement(Level.MUST, at.GRPC_TENSOR_DATA, [GRPC])
def the_limits_of_integers(subject: Subject) -> None:
    """The smallest and the largest value of an integer datatype come back from a model that returns its input."""
    name = _echoed(subject, "iu")
    limits = np.iinfo(DTYPES[_datatype(subject, name)])
    _require_returned(subject, name, [limits.min, limits.max, limits.max - 1])


@statement(Level.MUST, at.GRPC_TENSOR_DATA, [GRPC])
def floats_keep_their_digits(subject: Subject) -> None:
    """Floating-point values come back from a model that returns its input with all digits of the datatype."""
    name = _echoed(subject, "f")
    dtype = DTYPES[_datatype(subject, name)]
    _require_returned(subject, name, [dtype.type(1) / dtype.type(3), np.finfo(dtype).max, np.finfo(dtype).tiny])


@statement(Level.MUST, at.GRPC_TENSOR_DATA, [GRPC])
def bytes_come_back(subject: Subject) -> None:
    """Elements of a BYTES tensor come back from a model that returns its input: any bytes, and none."""
    _require_returned(subject, _echoed(subject, "O"), [b"", b"\x00\xff\xfe", "Grüße".encode()])


@statement(Level.MUST, at.GRPC_OVERVIEW, [REST, GRPC])
def as_over_rest(subject: Subject) -> None:
    """gRPC follows REST: the same inputs give the same outputs over both."""
    over_rest = subject.rest_outputs(subject.rest_request())
    require_same(over_rest, subject.grpc_outputs(subject.grpc_request()), "REST and gRPC")


@statement(Level.MUST, at.GRPC_INFERENCE, [GRPC])
def each_its_own_outputs(subject: Subject) -> None:
    """Calls with different inputs that are made at the same time get the outputs of their own inputs."""
    requests = [subject.grpc_request(inputs) for inputs in subject.variations(AT_ONCE)]
    alone = [subject.grpc_outputs(request) for request in requests]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        together = list(pool.map(subject.grpc_outputs, requests))
    for one, two in zip(alone, together, strict=True):
        require_same(one, two, "a call alone, and with others at the same time")


def _response(subject: Subject, **fields: Any) -> pb.ModelInferResponse:
    return subject.grpc.infer(subject.grpc_request(**fields)).ok()


def _known(subject: Subject) -> dict[str, pb.ModelMetadataResponse.TensorMetadata]:
    outputs = subject.grpc.model_metadata(subject.model).ok().outputs
    if not outputs:
        raise Skipped("the model's metadata name no output")
    return {tensor.name: tensor for tensor in outputs}


def _echoed(subject: Subject, kinds: str) -> str:
    found = echoes(subject, subject.grpc_outputs(subject.grpc_request()), kinds)
    if not found:
        raise Skipped("the model returns no input of such a datatype")
    return found[0][0]


def _datatype(subject: Subject, name: str) -> str:
    return next(tensor.datatype for tensor in subject.inputs if tensor.name == name)


def _require_returned(subject: Subject, name: str, values: list[Any]) -> None:
    sent = changed(subject, name, values)
    wanted = next(tensor for tensor in sent if tensor.name == name)
    for raw in (True, False) if wanted.datatype in CONTENTS else (True,):
        outputs = subject.grpc_outputs(subject.grpc_request(sent, raw=raw))
        same = [got for got in outputs if (got.datatype, got.shape) == (wanted.datatype, wanted.shape)]
        exact = [got for got in same if np.array_equal(got.values, wanted.values)]
        ends = [got.values.ravel()[:3].tolist() for got in same]
        form = "raw" if raw else "typed"
        require(exact, f"{form} {shown(wanted.values.ravel()[:3].tolist())} were sent, and {shown(ends)} came back")
