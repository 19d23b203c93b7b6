"""Requests over REST that are wrong, and their errors."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from oip_conformance import sections as at
from oip_conformance.rest_client import Answer, model_path
from oip_conformance.statement import REST, Failed, Level, Section, Skipped, Statement, require, state, statement
from oip_conformance.subject import NO_MODEL, NO_VERSION, Subject
from oip_conformance.tensors import BYTES, DTYPES

Spoil = Callable[[dict[str, Any]], Any]
"""Changes a good request, or returns another body."""


@dataclass(frozen=True)
class Mistake:
    """A wrong request."""

    name: str
    text: str
    section: Section
    spoil: Spoil
    level: Level = Level.MUST
    applies: Callable[[Subject], str] = lambda _: ""
    """Why it does not apply to the model; empty if it does."""


def _set(name: str, value: Any) -> Spoil:
    """Set a member of the request."""

    def spoil(request: dict[str, Any]) -> None:
        request[name] = value

    return spoil


def _set_input(name: str, value: Any) -> Spoil:
    """Set a member of the first input."""

    def spoil(request: dict[str, Any]) -> None:
        request["inputs"][0][name] = value

    return spoil


def _drop(name: str) -> Spoil:
    def spoil(request: dict[str, Any]) -> None:
        del request[name]

    return spoil


def _drop_input(name: str) -> Spoil:
    def spoil(request: dict[str, Any]) -> None:
        del request["inputs"][0][name]

    return spoil


def _body(body: bytes) -> Spoil:
    return lambda _: body


def _data(change: Callable[[list[Any]], list[Any]]) -> Spoil:
    def spoil(request: dict[str, Any]) -> None:
        request["inputs"][0]["data"] = change(request["inputs"][0]["data"])

    return spoil


def _shape(change: Callable[[list[int]], list[Any]]) -> Spoil:
    def spoil(request: dict[str, Any]) -> None:
        request["inputs"][0]["shape"] = change(request["inputs"][0]["shape"])

    return spoil


def _ragged(request: dict[str, Any]) -> None:
    first = request["inputs"][0]
    first["data"] = [first["data"][:-1], first["data"][-1:]]


def _half_of_it(request: dict[str, Any]) -> bytes:
    text = json.dumps(request).encode()
    return text[: len(text) // 2]


def _twice(request: dict[str, Any]) -> None:
    request["inputs"].append(request["inputs"][0])


def _without_the_first(request: dict[str, Any]) -> None:
    request["inputs"].pop(0)  # a server may have optional inputs, which come last


def _one_dim_more(request: dict[str, Any]) -> None:
    request["inputs"][0]["shape"] = [*request["inputs"][0]["shape"], 1, 1]


def _needs_two(subject: Subject) -> str:
    return "" if len(subject.inputs) > 1 else "the model has one input"


def _needs_dims(subject: Subject) -> str:
    sizes = subject.inputs[0].shape
    return "" if len(sizes) > 1 and sizes[0] > 1 and sizes[1] > 1 else "the first input has no two dims"


def _needs_numbers(subject: Subject) -> str:
    return "the first input is of BYTES" if subject.inputs[0].datatype == BYTES else ""


NONSENSE = "not a number"
MISTAKES = (
    Mistake("empty_body", "A request without a body", at.REST_REQUEST, _body(b"")),
    Mistake("not_json", "A body that is not JSON", at.REST_REQUEST, _body(b"inputs=1")),
    Mistake("half_of_the_json", "A body that ends within the JSON", at.REST_REQUEST, _half_of_it),
    Mistake("a_list", "A body that is a JSON list", at.REST_REQUEST, lambda request: [request]),
    Mistake("no_inputs", "A request without `inputs`", at.REST_REQUEST, _drop("inputs")),
    Mistake("inputs_is_null", "`inputs` that is null", at.REST_REQUEST, _set("inputs", None)),
    Mistake("inputs_is_text", "`inputs` that is a string", at.REST_REQUEST, _set("inputs", "x")),
    Mistake("inputs_is_an_object", "`inputs` that is an object", at.REST_REQUEST, _set("inputs", {"x": [1]})),
    Mistake("inputs_is_empty", "An empty list `inputs`", at.REST_MODEL_METADATA, _set("inputs", [])),
    Mistake("an_input_is_a_number", "An input that is a number", at.REST_REQUEST_INPUT, _set("inputs", [7])),
    Mistake("an_input_is_missing", "One input less than the model requires", at.REST_MODEL_METADATA,
            _without_the_first, applies=_needs_two),
    Mistake("an_input_twice", "An input that is sent twice", at.REST_REQUEST_INPUT, _twice, Level.SHOULD),
    Mistake("no_name", "An input without `name`", at.REST_REQUEST_INPUT, _drop_input("name")),
    Mistake("name_is_a_number", "An input whose `name` is a number", at.REST_REQUEST_INPUT, _set_input("name", 7)),
    Mistake("unknown_input", "An input that the model does not have", at.REST_MODEL_METADATA,
            _set_input("name", "no-such-input")),
    Mistake("no_shape", "An input without `shape`", at.REST_REQUEST_INPUT, _drop_input("shape")),
    Mistake("shape_is_text", "An input whose `shape` is a string", at.REST_REQUEST_INPUT, _set_input("shape", "2,2")),
    Mistake("negative_size", "A shape with a negative size: sizes of a request are not variable",
            at.REST_REQUEST_INPUT, _shape(lambda shape: [-1, *shape[1:]])),
    Mistake("a_size_with_a_fraction", "A shape with a size that is no integer", at.REST_REQUEST_INPUT,
            _shape(lambda shape: [shape[0] + 0.5, *shape[1:]])),
    Mistake("too_many_dims", "A shape with more dims than the model's", at.REST_MODEL_METADATA, _one_dim_more),
    Mistake("no_datatype", "An input without `datatype`", at.REST_REQUEST_INPUT, _drop_input("datatype")),
    Mistake("unknown_datatype", "A datatype that the protocol lacks", at.REST_DATATYPES,
            _set_input("datatype", "FP31")),
    Mistake("no_data", "An input without `data`", at.REST_REQUEST_INPUT, _drop_input("data")),
    Mistake("data_is_null", "An input whose `data` is null", at.REST_TENSOR_DATA, _set_input("data", None)),
    Mistake("data_is_an_object", "An input whose `data` is an object", at.REST_TENSOR_DATA,
            _set_input("data", {"0": 1})),
    Mistake("too_few_values", "Fewer values than the shape has", at.REST_REQUEST_INPUT, _data(lambda data: data[:-1])),
    Mistake("too_many_values", "More values than the shape has", at.REST_REQUEST_INPUT,
            _data(lambda data: [*data, data[0]])),
    Mistake("a_larger_shape", "A shape with more rows than the data", at.REST_REQUEST_INPUT,
            _shape(lambda shape: [shape[0] + 1, *shape[1:]])),
    Mistake("ragged_data", "Nested data whose rows differ in length", at.REST_TENSOR_DATA, _ragged,
            applies=_needs_dims),
    Mistake("a_value_is_null", "A value that is null", at.REST_TENSOR_DATA, _data(lambda data: [None, *data[1:]]),
            Level.SHOULD),
    Mistake("a_value_is_an_object", "A value that is an object", at.REST_TENSOR_DATA,
            _data(lambda data: [{"x": 1}, *data[1:]])),
    Mistake("a_value_is_text", "A number that is written as text without digits", at.REST_TENSOR_DATA,
            _data(lambda data: [NONSENSE, *data[1:]]), applies=_needs_numbers),
    Mistake("unknown_output", "A requested output that the model does not have", at.REST_REQUEST_OUTPUT,
            _set("outputs", [{"name": "no-such-output"}])),
    Mistake("an_output_without_name", "A requested output without `name`", at.REST_REQUEST_OUTPUT,
            _set("outputs", [{}])),
    Mistake("outputs_is_an_object", "`outputs` that is an object", at.REST_REQUEST, _set("outputs", {"name": "x"})),
    Mistake("parameters_is_a_list", "`parameters` that is a list", at.REST_PARAMETERS, _set("parameters", [1]),
            Level.SHOULD),
    Mistake("id_is_an_object", "An `id` that is an object", at.REST_REQUEST, _set("id", {"x": 1}), Level.SHOULD),
)  # fmt: skip


def _send(mistake: Mistake, subject: Subject) -> Answer:
    reason = mistake.applies(subject)
    if reason:
        raise Skipped(reason)
    request = copy.deepcopy(subject.rest_request())
    body = mistake.spoil(request)
    return subject.rest_infer(request if body is None else body)


def _refused(mistake: Mistake, subject: Subject) -> None:
    _send(mistake, subject).require_refused(mistake.text)


for _mistake in MISTAKES:
    state(
        Statement(
            f"rest_mistakes.{_mistake.name}",
            f"{_mistake.text}: the status is one of HTTP's errors.",
            _mistake.section,
            _mistake.level,
            (REST,),
            partial(_refused, _mistake),
        )
    )


@statement(Level.MUST, at.REST_RESPONSE_ERROR, [REST])
def unknown_model(subject: Subject) -> None:
    """An inference of a model that does not exist has an HTTP error status."""
    _unknown_model(subject).require_refused("an unknown model")


@statement(Level.MUST, at.REST_RESPONSE_ERROR, [REST])
def unknown_model_error(subject: Subject) -> None:
    """The error of an inference of an unknown model is an object with the string `error`."""
    _unknown_model(subject).require_error_object("an unknown model")


@statement(Level.MUST, at.REST_RESPONSE_ERROR, [REST])
def unknown_version(subject: Subject) -> None:
    """An inference of a version that does not exist has an HTTP error status."""
    _ = subject.version
    subject.rest_infer(subject.rest_request(), NO_VERSION).require_refused("an unknown version")


@statement(Level.MUST, at.REST_RESPONSE_ERROR, [REST])
def error_about_the_json(subject: Subject) -> None:
    """The error about a body that is not JSON is an object with the string `error`."""
    _send(_named("not_json"), subject).require_error_object("a body that is not JSON")


@statement(Level.MUST, at.REST_RESPONSE_ERROR, [REST])
def error_about_a_field(subject: Subject) -> None:
    """The errors about a missing `inputs`, `name`, `shape` or `datatype` are objects with the string `error`."""
    for name in ("no_inputs", "no_name", "no_shape", "no_datatype"):
        _send(_named(name), subject).require_error_object(_named(name).text)


@statement(Level.MUST, at.REST_RESPONSE_ERROR, [REST])
def error_about_the_data(subject: Subject) -> None:
    """The error about data that do not fit the shape is an object with the string `error`."""
    _send(_named("too_few_values"), subject).require_error_object(_named("too_few_values").text)


@statement(Level.SHOULD, at.REST_RESPONSE_ERROR, [REST])
def errors_are_the_clients(subject: Subject) -> None:
    """Wrong requests are the client's mistakes, so that their status is 4xx (typically 400)."""
    found = []
    for mistake in MISTAKES:
        try:
            answer = _send(mistake, subject)
        except (Failed, Skipped):
            continue
        if answer.status >= 500:
            found.append(f"{mistake.name} {answer.status}")
    require(not found, f"{len(found)} mistakes are answered as the server's: {', '.join(found[:6])}")


@statement(Level.MUST, at.REST_TENSOR_DATA, [REST])
def other_values_are_coerced_or_refused(subject: Subject) -> None:
    """A value of another JSON type, or beyond the datatype, is coerced or refused; it does not break the server."""
    for value in (True, 1.5, "1", 1e300, 2**70, -1):
        request = subject.rest_request()
        request["inputs"][0]["data"][0] = value
        status = subject.rest_infer(request).status
        require(status == 200 or 400 <= status < 500, f"the value {value!r} is answered with {status}")


@statement(Level.SHOULD, at.REST_TENSOR_DATA, [REST])
def not_a_number(subject: Subject) -> None:
    """NaN and Infinity are no JSON: a body with them has an HTTP error status."""
    numbers = [tensor.name for tensor in subject.inputs if DTYPES[tensor.datatype].kind == "f"]
    if not numbers:
        raise Skipped("no input is of floating-point numbers")
    for value in (float("nan"), float("inf")):
        request = subject.rest_request()
        for entry in request["inputs"]:
            if entry["name"] in numbers:
                entry["data"][0] = value
        subject.rest_infer(request).require_refused(f"{value} in the JSON")


@statement(Level.SHOULD, at.REST_INFERENCE, [REST])
def by_post_only(subject: Subject) -> None:
    """An inference is made with POST: a GET of its path has an HTTP error status."""
    subject.rest.get(f"{subject.path}/infer").require_refused("a GET")


@statement(Level.MUST, at.REST_INFERENCE, [REST])
def answers_after_mistakes(subject: Subject) -> None:
    """After wrong requests, a good one is still answered with 200."""
    for name in ("not_json", "too_few_values", "unknown_datatype"):
        _send(_named(name), subject)
    subject.rest_infer(subject.rest_request()).require_status(200)


def _unknown_model(subject: Subject) -> Answer:
    return subject.rest.post(f"{model_path(NO_MODEL)}/infer", subject.rest_request())


def _named(name: str) -> Mistake:
    return next(mistake for mistake in MISTAKES if mistake.name == name)
