"""What a request over REST may look like: outputs, data, parameters and the JSON itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from oip_conformance import sections as at
from oip_conformance.statement import REST, Level, Skipped, require, shown, statement
from oip_conformance.subject import Subject
from oip_conformance.tensors import BYTES, DTYPES, Tensor, require_same

PARAMETERS = {"conformance_text": "text", "conformance_number": 7, "conformance_half": 0.5, "conformance_flag": True}


@statement(Level.MUST, at.REST_EXAMPLES, [REST])
def one_output(subject: Subject) -> None:
    """A request that names one output gets this one and no other, for each output of the model."""
    for name in _output_names(subject):
        got = [tensor.name for tensor in subject.rest_outputs(subject.rest_request(outputs=[{"name": name}]))]
        require(got == [name], f"output {name!r} was requested, and {got} came")


@statement(Level.MUST, at.REST_REQUEST_OUTPUT, [REST])
def one_output_has_the_same_values(subject: Subject) -> None:
    """An output that was requested by name has the values that it has among all outputs."""
    every = {tensor.name: tensor for tensor in subject.rest_outputs(subject.rest_request())}
    for name in _output_names(subject):
        got = subject.rest_outputs(subject.rest_request(outputs=[{"name": name}]))
        require_same([tensor for tensor in got if tensor.name == name], [every[name]], "by name, and among all")


@statement(Level.MUST, at.REST_REQUEST_OUTPUT, [REST])
def all_outputs_by_name(subject: Subject) -> None:
    """A request that names all outputs, in any order, gets all of them."""
    names = _output_names(subject)
    for order in (names, names[::-1]):
        request = subject.rest_request(outputs=[{"name": name} for name in order])
        got = sorted(tensor.name for tensor in subject.rest_outputs(request))
        require(got == sorted(names), f"outputs {order} were requested, and {got} came")


@statement(Level.MUST, at.REST_TENSOR_DATA, [REST])
def nested_data(subject: Subject) -> None:
    """`data` may be nested as the shape is."""
    subject.rest_infer(_nested(subject)).require_status(200)


@statement(Level.MUST, at.REST_TENSOR_DATA, [REST])
def nested_and_flat_data_are_the_same(subject: Subject) -> None:
    """Nested and flat data of the same tensor, in row-major order, give the same outputs."""
    flat, nested = subject.rest_outputs(subject.rest_request()), subject.rest_outputs(_nested(subject))
    require_same(flat, nested, "flat and nested data")


@statement(Level.MAY, at.REST_TENSOR_DATA, [REST])
def whole_numbers_for_floats(subject: Subject) -> None:
    """A server may take an integer for an element of a floating-point tensor; then 2 is 2.0."""
    if not any(DTYPES[tensor.datatype].kind == "f" for tensor in subject.inputs):
        raise Skipped("no input is of floating-point numbers")
    rounded = [
        replace(tensor, values=np.ceil(tensor.values)) if DTYPES[tensor.datatype].kind == "f" else tensor
        for tensor in subject.inputs
    ]
    request = subject.rest_request(rounded)
    whole = {"inputs": [{**entry, "data": [_whole(value) for value in entry["data"]]} for entry in request["inputs"]]}
    if subject.rest_infer(whole).status != 200:
        raise Skipped("the server takes no integers for floating-point numbers")
    require_same(subject.rest_outputs(request), subject.rest_outputs(whole), "2.0 and 2")


@statement(Level.SHOULD, at.REST_MODEL_METADATA, [REST])
def any_size_of_a_variable_dim(subject: Subject) -> None:
    """A first dim of -1 in the metadata takes 1, 2, 3 and 5 rows."""
    for size in (1, 2, 3, 5):
        answer = subject.rest_infer(subject.rest_request(subject.of_batch(size)))
        if answer.status == 413:
            raise Skipped(f"{size} rows are more than the server takes in one request")
        answer.require_status(200)


@statement(Level.MUST, at.REST_TENSOR_DATA, [REST])
def the_limits_of_integers(subject: Subject) -> None:
    """The smallest and the largest value of an integer datatype come back from a model that returns its input."""
    name = _echoed(subject, "iu")
    limits = np.iinfo(DTYPES[_input(subject, name).datatype])
    _require_returned(subject, name, [limits.min, limits.max, limits.max - 1])


@statement(Level.MUST, at.REST_TENSOR_DATA, [REST])
def floats_keep_their_digits(subject: Subject) -> None:
    """Floating-point values come back from a model that returns its input with all digits of the datatype."""
    name = _echoed(subject, "f")
    dtype = DTYPES[_input(subject, name).datatype]
    _require_returned(subject, name, [dtype.type(1) / dtype.type(3), np.finfo(dtype).max, np.finfo(dtype).tiny])


@statement(Level.MUST, at.REST_TENSOR_DATA, [REST])
def booleans_come_back(subject: Subject) -> None:
    """Booleans come back from a model that returns its input."""
    _require_returned(subject, _echoed(subject, "b"), [False, True, True])


@statement(Level.MUST, at.REST_TENSOR_DATA, [REST])
def texts_come_back(subject: Subject) -> None:
    """Strings of a BYTES tensor, empty or beyond ASCII, come back from a model that returns its input."""
    _require_returned(subject, _echoed(subject, "O"), [b"", "Grüße, 世界".encode(), b"a\nb"])


@statement(Level.SHOULD, at.REST_PARAMETERS, [REST])
def parameters_of_the_request(subject: Subject) -> None:
    """A request may have `parameters`: strings, numbers and booleans, also those that the server does not know."""
    subject.rest_infer(subject.rest_request(parameters=PARAMETERS)).require_status(200)


@statement(Level.SHOULD, at.REST_PARAMETERS, [REST])
def parameters_of_an_input(subject: Subject) -> None:
    """An input may have `parameters`."""
    request = subject.rest_request()
    inputs = [{**entry, "parameters": PARAMETERS} for entry in request["inputs"]]
    subject.rest_infer({**request, "inputs": inputs}).require_status(200)


@statement(Level.SHOULD, at.REST_PARAMETERS, [REST])
def parameters_of_an_output(subject: Subject) -> None:
    """A requested output may have `parameters`."""
    outputs = [{"name": name, "parameters": PARAMETERS} for name in _output_names(subject)]
    subject.rest_infer(subject.rest_request(outputs=outputs)).require_status(200)


@statement(Level.MUST, at.REST_PARAMETERS, [REST])
def parameters_may_be_empty(subject: Subject) -> None:
    """`parameters` has zero or more entries: an empty object is one."""
    subject.rest_infer(subject.rest_request(parameters={})).require_status(200)


@statement(Level.MUST, at.REST_REQUEST, [REST])
def members_in_any_order(subject: Subject) -> None:
    """The members of the request's JSON objects have no order."""
    request = subject.rest_request(outputs=[{"name": name} for name in _output_names(subject)], id="42")
    turned = json.dumps(_turned(request)).encode()
    require_same(subject.rest_outputs(request), subject.rest_outputs(json.loads(turned)), "members in another order")
    subject.rest_infer(turned).require_status(200)


@statement(Level.MUST, at.REST_PATHS, [REST])
def white_space(subject: Subject) -> None:
    """The request is JSON, so that it may have white space between its tokens."""
    spaced = json.dumps(subject.rest_request(), indent=2, separators=(" ,\r\n", "\t: ")).encode()
    subject.rest_infer(b"\r\n " + spaced + b"\n").require_status(200)


@statement(Level.MUST, at.REST_PATHS, [REST])
def escaped_names(subject: Subject) -> None:
    r"""The request is JSON, so that characters of a name may be written as \u escapes."""
    request = subject.rest_request()
    name = request["inputs"][0]["name"]
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in name)
    subject.rest_infer(json.dumps(request).replace(json.dumps(name), f'"{escaped}"').encode()).require_status(200)


@statement(Level.SHOULD, at.REST_EXAMPLES, [REST])
def content_type_with_charset(subject: Subject) -> None:
    """The content type may name UTF-8: application/json; charset=utf-8."""
    kind = {"Content-Type": "application/json; charset=utf-8"}
    subject.rest_infer(subject.rest_request(), **kind).require_status(200)


def _nested(subject: Subject) -> dict[str, Any]:
    inputs = [{**tensor.as_json(), "data": tensor.nested()} for tensor in subject.inputs]
    return subject.rest_request() | {"inputs": inputs}


def _output_names(subject: Subject) -> list[str]:
    """Names of the outputs of a response."""
    return [tensor.name for tensor in subject.rest_outputs(subject.rest_request())]


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) else value


def _turned(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _turned(value[name]) for name in reversed(list(value))}
    return [_turned(part) for part in value] if isinstance(value, list) else value


def _input(subject: Subject, name: str) -> Tensor:
    return next(tensor for tensor in subject.inputs if tensor.name == name)


def echoes(subject: Subject, outputs: list[Tensor], kinds: str) -> list[tuple[str, str]]:
    """Inputs of numpy's kinds that come back as an output, with the output's name."""
    return [
        (sent.name, got.name)
        for sent in subject.inputs
        for got in outputs
        if DTYPES[sent.datatype].kind in kinds
        and (sent.datatype, sent.shape) == (got.datatype, got.shape)
        and np.array_equal(sent.values, got.values)
    ]


def _echoed(subject: Subject, kinds: str) -> str:
    found = echoes(subject, subject.rest_outputs(subject.rest_request()), kinds)
    if not found:
        raise Skipped("the model returns no input of such a datatype")
    return found[0][0]


def changed(subject: Subject, name: str, values: list[Any]) -> list[Tensor]:
    """The inputs, where the values of one are these, over and over."""
    inputs = []
    for tensor in subject.inputs:
        if tensor.name != name:
            inputs.append(tensor)
            continue
        repeated = [values[at % len(values)] for at in range(tensor.values.size)]
        array = np.empty(tensor.values.size, dtype=DTYPES[tensor.datatype])
        array[:] = repeated
        inputs.append(replace(tensor, values=array.reshape(tensor.values.shape)))
    return inputs


def _require_returned(subject: Subject, name: str, values: list[Any]) -> None:
    sent = changed(subject, name, values)
    wanted = next(tensor for tensor in sent if tensor.name == name)
    outputs = subject.rest_outputs(subject.rest_request(sent))
    same = [got for got in outputs if (got.datatype, got.shape) == (wanted.datatype, wanted.shape)]
    exact = [got for got in same if np.array_equal(got.values, wanted.values)]
    kind = "strings" if wanted.datatype == BYTES else wanted.datatype
    ends = [got.flat()[:3] for got in same]
    require(exact, f"{kind} {shown(wanted.flat()[:3])} were sent, and {shown(ends)} came back")
