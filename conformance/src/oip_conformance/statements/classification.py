"""Triton's classification: the highest values of an output as text, over REST and gRPC."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from oip_conformance import sections as at
from oip_conformance.binary_form import Binary
from oip_conformance.proto import oip_pb2 as pb
from oip_conformance.rest_client import Answer
from oip_conformance.sections import CLASSIFICATION
from oip_conformance.statement import GRPC, REST, Level, Skipped, Statement, require, shown, state, statement
from oip_conformance.subject import Subject
from oip_conformance.tensors import BYTES, DTYPES, Tensor, from_raw

CLASS = re.compile(r"(?P<value>[^:]+):(?P<index>\d+)(?::(?P<label>.*))?", re.DOTALL)
STRINGS = (BYTES, "STRING")
"""The text says BYTES, its examples STRING."""


@dataclass(frozen=True)
class Classes:
    """An output that was asked for its classes, next to its values."""

    values: Tensor
    datatype: str
    shape: list[int]
    texts: list[str]
    count: int

    def rows(self) -> list[list[str]]:
        """The texts of each row of the batch."""
        return [self.texts[start : start + self.count] for start in range(0, len(self.texts), self.count)]


Holds = Callable[[Classes], None]
"""What is true of the classes over REST and over gRPC."""


def scores_of(subject: Subject, outputs: list[Tensor]) -> Tensor:
    """An output with a row of at least two numbers for each example.

    Raises:
        Skipped: there is none.
    """
    for tensor in outputs:
        numbers = DTYPES[tensor.datatype].kind in "fiu"
        if subject.batched and numbers and len(tensor.shape) == 2 and tensor.shape[1] > 1:
            return tensor
    raise Skipped("no output has a row of numbers for each example")


def over_rest(subject: Subject, count: int | None = None) -> Classes:
    """The classes of an output over REST."""
    scores = scores_of(subject, subject.rest_outputs(subject.rest_request()))
    wanted = min(2, scores.shape[1]) if count is None else count
    entries = _rest(subject, scores.name, wanted).object().get("outputs")
    require(isinstance(entries, list) and len(entries) == 1, f"`outputs` is {shown(entries)}, not one tensor")
    (entry,) = entries or [{}]
    require(isinstance(entry.get("data"), list), f"the output has no list `data`: {shown(entry)}")
    texts = entry["data"]
    require(all(isinstance(text, str) for text in texts), f"`data` is {shown(texts)}, not a list of strings")
    return Classes(scores, str(entry.get("datatype")), list(entry.get("shape") or []), texts, wanted)


def over_grpc(subject: Subject, count: int | None = None) -> Classes:
    """The classes of an output over gRPC."""
    scores = scores_of(subject, subject.grpc_outputs(subject.grpc_request()))
    wanted = min(2, scores.shape[1]) if count is None else count
    message = subject.grpc.infer(_message(subject, scores.name, wanted)).ok()
    require(len(message.outputs) == 1, f"there are {len(message.outputs)} outputs, not one")
    output = message.outputs[0]
    if message.raw_output_contents:
        found = from_raw(output.name, BYTES, list(output.shape), message.raw_output_contents[0])
        elements = [value.decode() for value in found.values.ravel()]
    else:
        elements = [value.decode() for value in output.contents.bytes_contents]
    return Classes(scores, output.datatype, list(output.shape), elements, wanted)


def is_text(classes: Classes) -> None:
    """{side}: an output with the parameter `classification` is returned as a tensor of strings."""
    require(classes.datatype in STRINGS, f"the datatype is {classes.datatype!r}")


def has_count_columns(classes: Classes) -> None:
    """{side}: the shape is the batch size and the number of classes that was asked."""
    wanted = [classes.values.shape[0], classes.count]
    require(classes.shape == wanted, f"the shape is {classes.shape}, not {wanted}")


def is_value_and_index(classes: Classes) -> None:
    """{side}: each string is value:index, or value:index:label."""
    require(classes.texts, "there are no strings")
    for text in classes.texts:
        require(CLASS.fullmatch(text), f"a string is {shown(text)}")


def highest_first(classes: Classes) -> None:
    """{side}: the classes of a row are those of its highest values, the highest first."""
    for row, texts in zip(classes.values.values, classes.rows(), strict=True):
        found = [float(row[_parts(text)[1]]) for text in texts]
        wanted = sorted((float(value) for value in row), reverse=True)[: classes.count]
        require(np.allclose(found, wanted), f"the values of {texts} are {found}; the highest are {wanted}")


def value_of_the_index(classes: Classes) -> None:
    """{side}: the value of a string is the value of the output at its index."""
    for row, texts in zip(classes.values.values, classes.rows(), strict=True):
        for value, index in map(_parts, texts):
            require(index < len(row), f"the index {index} is beyond the {len(row)} classes")
            close = np.isclose(value, float(row[index]), rtol=1e-3, atol=1e-5)
            require(close, f"the string says {value} at index {index}, and the output has {row[index]}")


def each_class_once(classes: Classes) -> None:
    """{side}: the strings of a row are of different classes."""
    for texts in classes.rows():
        indices = [_parts(text)[1] for text in texts]
        require(len(set(indices)) == len(indices), f"the indices of a row are {indices}")


def one_label_for_a_class(classes: Classes) -> None:
    """{side}: labels belong to classes: a model has one for each index, or none."""
    labels: dict[str, set[str | None]] = {}
    for text in classes.texts:
        found = CLASS.fullmatch(text)
        require(found, f"a string is {shown(text)}")
        if found:
            labels.setdefault(found["index"], set()).add(found["label"])
    require(all(len(each) == 1 for each in labels.values()), f"the labels are {shown(labels)}")


SHARED: tuple[Holds, ...] = (
    is_text,
    has_count_columns,
    is_value_and_index,
    highest_first,
    value_of_the_index,
    each_class_once,
    one_label_for_a_class,
)


def _check(holds: Holds, ask: Callable[[Subject], Classes], subject: Subject) -> None:
    holds(ask(subject))


for _side, _ask in ((REST, over_rest), (GRPC, over_grpc)):
    for _holds in SHARED:
        state(
            Statement(
                f"classification.{_side.lower()}_{_holds.__name__}",
                " ".join((_holds.__doc__ or "").format(side=_side).split()),
                at.CLASSES,
                Level.MUST,
                (_side,),
                partial(_check, _holds, _ask),
                CLASSIFICATION,
            )
        )


@statement(Level.MUST, at.CLASSES_REST, [REST], extension=CLASSIFICATION)
def rest_one_class(subject: Subject) -> None:
    """REST: `classification` 1 returns the highest class alone."""
    highest_first(over_rest(subject, 1))
    has_count_columns(over_rest(subject, 1))


@statement(Level.MUST, at.CLASSES_GRPC, [GRPC], extension=CLASSIFICATION)
def grpc_one_class(subject: Subject) -> None:
    """gRPC: `classification` 1 returns the highest class alone."""
    highest_first(over_grpc(subject, 1))
    has_count_columns(over_grpc(subject, 1))


@statement(Level.MUST, at.CLASSES, [REST, GRPC], extension=CLASSIFICATION)
def the_same_over_both(subject: Subject) -> None:
    """REST and gRPC name the same classes, with the same labels."""
    one, two = (
        [(found["index"], found["label"]) for text in classes.texts if (found := CLASS.fullmatch(text))]
        for classes in (over_rest(subject), over_grpc(subject))
    )
    require(one == two, f"REST names {shown(one)}, and gRPC {shown(two)}")


@statement(Level.MUST, at.CLASSES, [REST], extension=CLASSIFICATION)
def other_outputs_stay(subject: Subject) -> None:
    """An output that is requested without `classification` keeps its own datatype and shape."""
    outputs = subject.rest_outputs(subject.rest_request())
    scores = scores_of(subject, outputs)
    others = [tensor for tensor in outputs if tensor.name != scores.name]
    if not others:
        raise Skipped("the model has one output")
    wanted = [{"name": scores.name, "parameters": {"classification": 1}}, {"name": others[0].name}]
    content = subject.rest_infer(subject.rest_request(outputs=wanted)).object()
    for entry in content.get("outputs") or []:
        if entry.get("name") == others[0].name:
            got = (entry.get("datatype"), entry.get("shape"))
            require(got == (others[0].datatype, others[0].shape), f"output {others[0].name!r} is {shown(got)}")
            return
    require(False, f"output {others[0].name!r} is missing")


@statement(Level.MUST, at.BINARY_REQUEST, [REST], extension=CLASSIFICATION)
def as_binary_data(subject: Subject) -> None:
    """Classes that are requested as binary data are a BYTES tensor: each string after its length."""
    if at.BINARY_DATA not in subject.extensions:
        raise Skipped(f"the server does not list the extension {at.BINARY_DATA}")
    scores = scores_of(subject, subject.rest_outputs(subject.rest_request()))
    wanted = [{"name": scores.name, "parameters": {"classification": 1, "binary_data": True}}]
    (got,) = Binary.of(subject.rest_infer(subject.rest_request(outputs=wanted))).outputs()
    wanted_texts = over_rest(subject, 1).texts
    require(got.flat() == wanted_texts, f"the bytes say {shown(got.flat())}, and the JSON {shown(wanted_texts)}")


@statement(Level.SHOULD, at.CLASSES_REST, [REST], extension=CLASSIFICATION)
def rest_no_number_of_classes(subject: Subject) -> None:
    """REST: `classification` is a number of classes: text, or less than one, has an HTTP error status."""
    scores = scores_of(subject, subject.rest_outputs(subject.rest_request()))
    for wrong in ("two", 0, -1):
        _rest(subject, scores.name, wrong).require_refused(f"classification {wrong!r}")


@statement(Level.SHOULD, at.CLASSES_GRPC, [GRPC], extension=CLASSIFICATION)
def grpc_no_number_of_classes(subject: Subject) -> None:
    """gRPC: `classification` is a number of classes: less than one has an error status."""
    scores = scores_of(subject, subject.grpc_outputs(subject.grpc_request()))
    for wrong in (0, -1):
        subject.grpc.infer(_message(subject, scores.name, wrong)).require_refused(f"classification {wrong}")


@statement(Level.SHOULD, at.REST_SERVER_METADATA, [REST])
def listed(subject: Subject) -> None:
    """A server that returns classes lists `classification` in its extensions."""
    scores = scores_of(subject, subject.rest_outputs(subject.rest_request()))
    answer = _rest(subject, scores.name, 1)
    outputs = answer.object().get("outputs") if answer.status == 200 else None
    datatypes = [entry.get("datatype") for entry in outputs or [] if isinstance(entry, dict)]
    if not any(datatype in STRINGS for datatype in datatypes):
        raise Skipped("the server returns no classes")
    require(CLASSIFICATION in subject.listed, f"classes are returned, and `extensions` is {sorted(subject.listed)}")


def _parts(text: str) -> tuple[float, int]:
    found = CLASS.fullmatch(text)
    require(found, f"a string is {shown(text)}")
    assert found is not None
    return float(found["value"]), int(found["index"])


def _rest(subject: Subject, name: str, count: object) -> Answer:
    wanted = [{"name": name, "parameters": {"classification": count}}]
    return subject.rest_infer(subject.rest_request(outputs=wanted))


def _message(subject: Subject, name: str, count: int) -> pb.ModelInferRequest:
    output = pb.ModelInferRequest.InferRequestedOutputTensor(name=name)
    output.parameters["classification"].int64_param = count
    return subject.grpc_request(outputs=[output])
