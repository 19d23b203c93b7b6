"""Triton's binary tensor data over REST: raw tensors after the JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from oip_conformance import sections as at
from oip_conformance.binary_form import OCTETS, Binary, binary_inputs, body_of, size_of
from oip_conformance.responses import outputs_of
from oip_conformance.rest_client import JSON_LENGTH, Answer
from oip_conformance.sections import BINARY_DATA
from oip_conformance.statement import REST, Check, Level, Section, Skipped, require, shown, statement
from oip_conformance.subject import Subject
from oip_conformance.tensors import BYTES, Tensor, require_same


def send(subject: Subject, inputs: Sequence[Tensor] | None = None, **fields: Any) -> Answer:
    """An inference whose inputs are binary."""
    tensors = subject.inputs if inputs is None else inputs
    body, headers = body_of({**fields, "inputs": binary_inputs(tensors)}, [tensor.raw() for tensor in tensors])
    return subject.rest_infer(body, **headers)


def binary(level: Level = Level.MUST, section: Section = at.BINARY_REQUEST) -> Callable[[Check], Check]:
    """A statement of this extension."""
    return statement(level, section, [REST], extension=BINARY_DATA)


@statement(Level.SHOULD, at.REST_SERVER_METADATA, [REST])
def listed(subject: Subject) -> None:
    """A server that takes binary inputs and answers them lists `binary_tensor_data` in its extensions."""
    if send(subject).status != 200:
        raise Skipped("the server takes no binary inputs")
    require(BINARY_DATA in subject.listed, f"binary inputs are answered, and `extensions` is {sorted(subject.listed)}")


@binary()
def inputs(subject: Subject) -> None:
    """Inputs may be bytes after the JSON, with `binary_data_size` in their parameters."""
    send(subject).require_status(200)


@binary()
def inputs_are_the_same(subject: Subject) -> None:
    """Binary inputs, little-endian and in row-major order, give the same outputs as JSON data."""
    require_same(subject.rest_outputs(subject.rest_request()), outputs_of(send(subject).object()), "JSON and binary")


@binary()
def inputs_in_the_order_of_the_json(subject: Subject) -> None:
    """The bytes of several inputs follow each other in the order of the JSON, whatever it is."""
    _needs_two(subject)
    turned = outputs_of(send(subject, list(reversed(subject.inputs))).object())
    require_same(subject.rest_outputs(subject.rest_request()), turned, "inputs in another order")


@binary()
def one_input_of_several(subject: Subject) -> None:
    """One input may be binary and the others JSON."""
    _needs_two(subject)
    first, *others = subject.inputs
    entries = [*(tensor.as_json() for tensor in others), *binary_inputs([first])]
    body, headers = body_of({"inputs": entries}, [first.raw()])
    got = outputs_of(subject.rest_infer(body, **headers).object())
    require_same(subject.rest_outputs(subject.rest_request()), got, "JSON, and one binary input")


@binary()
def json_outputs_by_default(subject: Subject) -> None:
    """Outputs are JSON unless they are requested as binary, also where the inputs are binary."""
    answer = send(subject)
    require(JSON_LENGTH.lower() not in answer.headers, f"the response has the header {JSON_LENGTH}")
    outputs_of(answer.object())


@binary()
def one_output(subject: Subject) -> None:
    """An output with the parameter `binary_data` true is returned as bytes, with `binary_data_size`."""
    name = _names(subject)[0]
    entries = _binary_outputs(subject, [name]).entries()
    require(size_of(entries[0]) is not None, f"output {name!r} has no `binary_data_size`: {shown(entries[0])}")


@binary()
def one_output_has_no_data(subject: Subject) -> None:
    """An output that is returned as bytes has no `data` in the JSON."""
    for entry in _binary_outputs(subject, _names(subject)).entries():
        require("data" not in entry, f"output {shown(entry.get('name'))} has `data` and bytes")


@binary()
def outputs_are_the_same(subject: Subject) -> None:
    """Binary outputs have the values of JSON outputs: little-endian, in row-major order, in the order of the JSON."""
    got = _binary_outputs(subject, _names(subject)).outputs()
    require_same(subject.rest_outputs(subject.rest_request()), got, "JSON and binary outputs")


@binary()
def length_of_the_json(subject: Subject) -> None:
    """The header Inference-Header-Content-Length of a response with binary data is the length of its JSON."""
    found = _binary_outputs(subject, _names(subject))
    sizes = [size_of(entry) or 0 for entry in found.entries()]
    require(len(found.raw) == sum(sizes), f"{len(found.raw)} bytes follow the JSON; the sizes are {sizes}")


@binary(Level.SHOULD)
def content_type(subject: Subject) -> None:
    """A response with binary data has the content type application/octet-stream, as in the examples."""
    kind = _binary_outputs(subject, _names(subject)).answer.headers.get("content-type")
    require(kind == OCTETS, f"the content type is {kind!r}")


@binary()
def all_outputs(subject: Subject) -> None:
    """The request's parameter `binary_data_output` returns all outputs as bytes."""
    request = subject.rest_request(parameters={"binary_data_output": True})
    found = Binary.of(subject.rest_infer(request))
    missing = [entry.get("name") for entry in found.entries() if size_of(entry) is None]
    require(not missing, f"outputs {missing} have no `binary_data_size`")
    require_same(subject.rest_outputs(subject.rest_request()), found.outputs(), "JSON and binary outputs")


@binary()
def an_output_overrides_the_request(subject: Subject) -> None:
    """`binary_data` false on an output overrides `binary_data_output` true of the request."""
    name = _names(subject)[0]
    wanted = [{"name": name, "parameters": {"binary_data": False}}]
    request = subject.rest_request(outputs=wanted, parameters={"binary_data_output": True})
    outputs_of(subject.rest_infer(request).object())


@binary()
def false_is_json(subject: Subject) -> None:
    """An output with the parameter `binary_data` false is returned as JSON."""
    wanted = [{"name": name, "parameters": {"binary_data": False}} for name in _names(subject)]
    outputs_of(subject.rest_infer(subject.rest_request(outputs=wanted)).object())


@binary()
def some_outputs_of_several(subject: Subject) -> None:
    """One output may be binary and another one JSON."""
    names = _names(subject)
    if len(names) < 2:
        raise Skipped("the model has one output")
    wanted = [{"name": name, "parameters": {"binary_data": bool(place % 2)}} for place, name in enumerate(names)]
    found = Binary.of(subject.rest_infer(subject.rest_request(outputs=wanted)))
    sent = {entry.get("name"): size_of(entry) is not None for entry in found.entries()}
    asked = {name: bool(place % 2) for place, name in enumerate(names)}
    require(sent == asked, f"binary outputs are {shown(sent)}; {shown(asked)} was asked")
    require_same(subject.rest_outputs(subject.rest_request()), found.outputs(), "JSON, and some binary outputs")


@binary()
def returns_the_id(subject: Subject) -> None:
    """The JSON of a response with binary data has the id of the request."""
    found = Binary.of(send(subject, id="binary-42", parameters={"binary_data_output": True}))
    require(found.content.get("id") == "binary-42", f"`id` is {shown(found.content.get('id'))}")


@binary()
def needs_the_header(subject: Subject) -> None:
    """Binary data without the header Inference-Header-Content-Length has an HTTP error status."""
    body, headers = body_of({"inputs": binary_inputs(subject.inputs)}, [tensor.raw() for tensor in subject.inputs])
    subject.rest_infer(body, **{"Content-Type": headers["Content-Type"]}).require_refused("no header")


@binary()
def the_header_is_within_the_body(subject: Subject) -> None:
    """An Inference-Header-Content-Length beyond the body has an HTTP error status."""
    body, headers = body_of({"inputs": binary_inputs(subject.inputs)}, [tensor.raw() for tensor in subject.inputs])
    subject.rest_infer(body, **{**headers, JSON_LENGTH: str(len(body) + 1)}).require_refused("a header beyond the body")


@binary()
def the_header_is_a_number(subject: Subject) -> None:
    """An Inference-Header-Content-Length that is no number has an HTTP error status."""
    body, headers = body_of({"inputs": binary_inputs(subject.inputs)}, [tensor.raw() for tensor in subject.inputs])
    for wrong in ("x", "-1"):
        subject.rest_infer(body, **{**headers, JSON_LENGTH: wrong}).require_refused(f"{JSON_LENGTH}: {wrong}")


@binary()
def size_beyond_the_body(subject: Subject) -> None:
    """A `binary_data_size` beyond the end of the body has an HTTP error status."""
    _spoiled(subject, 0, add=4).require_refused("a size beyond the body")


@binary()
def size_that_is_not_the_shapes(subject: Subject) -> None:
    """Fewer bytes than shape and datatype take have an HTTP error status."""
    _spoiled(subject, 1, add=-1).require_refused("a byte less")


@binary(Level.SHOULD)
def bytes_of_no_input(subject: Subject) -> None:
    """Bytes at the end that belong to no input have an HTTP error status."""
    raw = [*(tensor.raw() for tensor in subject.inputs), b"\x00" * 4]
    body, headers = body_of({"inputs": binary_inputs(subject.inputs)}, raw)
    subject.rest_infer(body, **headers).require_refused("bytes of no input")


@binary(Level.SHOULD)
def data_and_bytes(subject: Subject) -> None:
    """An input with `data` and `binary_data_size` has an HTTP error status: one of them would be ignored."""
    entries = binary_inputs(subject.inputs)
    entries[0]["data"] = subject.inputs[0].flat()
    body, headers = body_of({"inputs": entries}, [tensor.raw() for tensor in subject.inputs])
    subject.rest_infer(body, **headers).require_refused("data and bytes")


@binary(section=at.BINARY_RAW)
def raw_request(subject: Subject) -> None:
    """With the header 0, the body is the bytes of the one input, as a batch of one."""
    body = _one_input(subject)
    _raw(subject, body).require_status(200)


@binary(section=at.BINARY_RAW)
def raw_request_has_binary_outputs(subject: Subject) -> None:
    """All outputs of a raw request are binary."""
    found = Binary.of(_raw(subject, _one_input(subject)))
    missing = [entry.get("name") for entry in found.entries() if size_of(entry) is None]
    require(not missing, f"outputs {missing} have no `binary_data_size`")


@binary(section=at.BINARY_RAW)
def raw_request_is_the_same(subject: Subject) -> None:
    """A raw request has the outputs of the same input in JSON."""
    found = Binary.of(_raw(subject, _one_input(subject)))
    wanted = subject.rest_outputs(subject.rest_request(subject.of_batch(1)))
    require_same(wanted, found.outputs(), "JSON, and a raw request")


@binary(section=at.BINARY_RAW)
def raw_request_of_another_size(subject: Subject) -> None:
    """A raw request with a byte too many has an HTTP error status."""
    body = _one_input(subject)
    if len(body) < 2:
        raise Skipped("a row of the input is one byte, so that any number of bytes is valid")
    _raw(subject, body + b"\x00").require_refused("a byte too many")


@binary(section=at.BINARY_RAW)
def raw_request_for_several_inputs(subject: Subject) -> None:
    """A raw request to a model with several inputs has an HTTP error status."""
    _needs_two(subject)
    raw = b"".join(tensor.raw() for tensor in subject.inputs)
    _raw(subject, raw).require_refused("a raw request to a model with several inputs")


def _raw(subject: Subject, body: bytes) -> Answer:
    return subject.rest_infer(body, **{JSON_LENGTH: "0", "Content-Type": OCTETS})


def _one_input(subject: Subject) -> bytes:
    """The bytes of a batch of one for a model with one input whose shape follows from their number."""
    if len(subject.inputs) > 1:
        raise Skipped("the model has several inputs")
    (metadata,) = subject.metadata.inputs
    if metadata.datatype == BYTES or sum(size < 0 for size in metadata.shape) > 1:
        raise Skipped("the shape of the input does not follow from the number of bytes")
    return subject.of_batch(1)[0].raw()


def _needs_two(subject: Subject) -> None:
    if len(subject.inputs) < 2:
        raise Skipped("the model has one input")


def _names(subject: Subject) -> list[str]:
    return [tensor.name for tensor in subject.rest_outputs(subject.rest_request())]


def _binary_outputs(subject: Subject, names: Sequence[str]) -> Binary:
    wanted = [{"name": name, "parameters": {"binary_data": True}} for name in names]
    return Binary.of(subject.rest_infer(subject.rest_request(outputs=wanted)))


def _spoiled(subject: Subject, cut: int, *, add: int) -> Answer:
    """The last input announces another number of bytes than its shape has; the body is cut as much."""
    raw = [tensor.raw() for tensor in subject.inputs]
    entries = binary_inputs(subject.inputs)
    entries[-1]["parameters"]["binary_data_size"] += add
    raw[-1] = raw[-1][: len(raw[-1]) - cut]
    body, headers = body_of({"inputs": entries}, raw)
    return subject.rest_infer(body, **headers)
