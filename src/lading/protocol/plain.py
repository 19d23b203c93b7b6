"""Plain HTTP bodies: JSON for ``/predict``, one encoded file for ``/classify``, texts for an operator's function."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from lading.artifact import Artifact
from lading.content import ContentType, content_of
from lading.errors import ContentTypeError, RequestError, SettingsError, SpecError, UnknownModelError
from lading.import_string import load_function
from lading.manifest import ModelInfo
from lading.protocol.codec import JSON, Encoded, media_type
from lading.protocol.form import file_in_form
from lading.protocol.json_values import not_finite, parse_object, read_inputs, refuse_not_finite
from lading.protocol.oip import with_owners
from lading.spec import Array, TensorSpec
from lading.tensors.checks import check_inputs


def decode_json(model: ModelInfo, body: bytes, max_pixels: int) -> dict[str, Array]:
    """Turn a request's body into the model's inputs, batch dim included.

    Raises:
        RequestError: see :func:`lading.protocol.json_values.read_inputs`.
    """
    content = parse_object(body)
    return read_inputs(model.inputs, content, max_batch=model.max_batch, max_pixels=max_pixels)


def encode_json(outputs: Mapping[str, Array], end: bytes) -> bytes:
    """The answer's body: nested lists by output name, then the model's :func:`answer_end`.

    Raises:
        UnanswerableError: a value is not finite.
    """
    lists = {name: np.ascontiguousarray(array) for name, array in outputs.items()}
    written = orjson.dumps(lists, option=orjson.OPT_SERIALIZE_NUMPY)
    if b"null" in written:  # what is not finite is written so; looking at each array first costs more than writing
        refuse_not_finite(outputs)
    return b'{"outputs":' + written + end


def answer_end(outputs: Sequence[TensorSpec], model: str, variant: str) -> bytes:
    """What every answer of a model ends with: units, the model, the variant."""
    units = {spec.name: spec.unit for spec in outputs if spec.unit}
    rest = ({"units": units} if units else {}) | {"model": model, "variant": variant}
    return b"," + orjson.dumps(rest)[1:]


LONGEST = 10_000
"""Characters of a text."""


@dataclass(frozen=True)
class TextForm:
    """One way to write a request as text."""

    name: str
    """As in ``/predict/NAME``."""
    label: str
    """For people: the first line of the function's docstring."""
    example: str
    function: Callable[[str], Mapping[str, Array]]

    def read(self, model: ModelInfo, body: bytes) -> dict[str, Array]:
        """Turn a request's body into a model's inputs, batch dim included.

        Raises:
            RequestError: not UTF-8, too long, or refused by the function (a ValueError, whose sentence is shown).
        """
        try:
            text = body.decode().strip()
        except UnicodeDecodeError:
            raise RequestError("the body is not UTF-8 text") from None
        if not 0 < len(text) <= LONGEST:
            raise RequestError(f"the body has {len(text)} characters; send 1 to {LONGEST}, such as {self.example}")
        try:
            given = self.function(text)
        except ValueError as error:
            raise RequestError(f"{self.name}: {error}") from None
        batched = {spec.name for spec in model.inputs if spec.batched}
        arrays = {name: array[None] if name in batched else array for name, array in given.items()}
        check_inputs([spec for spec in model.inputs if not spec.owner_of], arrays)
        return with_owners(model.inputs, arrays, model.max_batch)


def text_forms(settings: Mapping[str, str], model: ModelInfo) -> tuple[TextForm, ...]:
    """Import the functions that the settings name, and try each on its own example.

    Args:
        settings: import strings by name.
        model: what ``/predict`` answers with; a function whose example it would refuse is left out.

    Raises:
        SettingsError: a function cannot be imported, or has no ``example``.
    """
    found = []
    for name, target in settings.items():
        try:
            function = load_function(target)
        except SpecError as error:
            raise SettingsError(f"LADING_TEXT_FORMS: {error}") from None
        example = getattr(function, "example", None)
        if not isinstance(example, str):
            raise SettingsError(f"LADING_TEXT_FORMS: {target} has no attribute 'example', a text that it reads")
        label = (function.__doc__ or name).strip().splitlines()[0]
        form = TextForm(name, label, example, function)
        try:
            form.read(model, example.encode())
        except RequestError:
            continue
        found.append(form)
    return tuple(found)


def encode_with_inputs(
    model: ModelInfo, inputs: Mapping[str, Array], outputs: Mapping[str, Array], end: bytes
) -> bytes:
    """The answer of ``/predict``, and in front of it the inputs that the text stands for: a body for ``/predict``."""
    shown = {
        spec.name: np.ascontiguousarray(inputs[spec.name])
        for spec in model.inputs
        if not spec.owner_of and spec.content is None
    }
    written = orjson.dumps({"inputs": shown}, option=orjson.OPT_SERIALIZE_NUMPY)
    return written[:-1] + b"," + encode_json(outputs, end)[1:]


RESERVED = ("confidence", "probabilities", "scores", "model", "variant")
_PLACES = 6  # more than a float32 softmax is good for, and they keep the answer short


@dataclass(frozen=True)
class Classifier:
    """How one encoded file becomes labels; there is none for a model that takes no such file or has no labels."""

    model: str
    variant: str
    content: ContentType
    input: TensorSpec
    outputs: tuple[TensorSpec, ...]
    probabilistic: bool
    """The outputs are probabilities: not negative, and they sum to one. Otherwise they are called scores."""

    def answer(self, outputs: Mapping[str, Array]) -> dict[str, Any]:
        """One row of outputs as the client sees it.

        ``confidence`` is the product of the labels' probabilities: how likely all of them are right together, taking
        the outputs as independent. It is left out when the outputs are scores.

        Raises:
            UnanswerableError: a value is not finite.
        """
        answer: dict[str, Any] = {}
        values: dict[str, dict[str, float]] = {}
        joint = 1.0
        for spec in self.outputs:
            row = outputs[spec.name][0].astype(np.float64)
            places = row.round(_PLACES).tolist()
            top = float(row[best := int(row.argmax())])
            if not math.isfinite(sum(places)):
                raise not_finite(spec.name)
            assert spec.labels is not None
            answer[spec.name] = spec.labels[best]
            joint *= top
            values[spec.name] = dict(zip(spec.labels, places, strict=True))
        if self.probabilistic:
            answer["confidence"] = round(min(1.0, joint), _PLACES)
            answer["probabilities"] = values
        else:
            answer["scores"] = values
        return answer | {"model": self.model, "variant": self.variant}


def classifier(artifact: Artifact, variant: str | None = None) -> Classifier | str:
    """Return how to classify encoded files with an artifact, or the sentence that says why that cannot be done."""
    manifest = artifact.manifest
    content = content_of(manifest.inputs[0])
    if content is None or len(manifest.inputs) != 1:
        return f"the model {manifest.name!r} does not take one encoded file, such as a picture"
    outputs = tuple(spec for spec in manifest.outputs if spec.labels and spec.batched and len(spec.shape) == 2)
    if not outputs:
        return f"the model {manifest.name!r} has no output with labels"
    taken = [spec.name for spec in outputs if spec.name in RESERVED]
    if taken:
        return (
            f"the model {manifest.name!r} has an output named {taken[0]!r}, which the answer of /classify uses itself"
        )
    packed = artifact.variant(variant)
    return Classifier(
        model=manifest.name,
        variant=packed.variant.name,
        content=content,
        input=manifest.inputs[0],
        outputs=outputs,
        probabilistic=_are_probabilities(outputs, artifact.golden_outputs(packed.variant.name)),
    )


def _are_probabilities(outputs: tuple[TensorSpec, ...], golden: Mapping[str, Array]) -> bool:
    # An int8 softmax is off by up to 1/256 a label, so sums near one will do.
    rows = [golden[spec.name].astype(np.float64) for spec in outputs]
    return all((row > -1e-3).all() and (np.abs(row.sum(axis=1) - 1.0) < 0.1).all() for row in rows)


@dataclass(frozen=True)
class PlainModel(ModelInfo):
    """A model, and what is worked out once for all of its plain answers."""

    classifier: Classifier | str
    """How ``/classify`` answers, or the sentence that says why it does not."""
    answer_end: bytes


class JsonCodec:
    """``/predict``: inputs by name as JSON, outputs by name back.

    Raises:
        ContentTypeError: the headers say that the body is something else.
    """

    brief = True
    message_id: str | None = None

    def __init__(self, model: PlainModel, headers: Mapping[bytes, bytes], max_pixels: int) -> None:
        kind = media_type(headers)
        # A missing type, and the one that curl -d sends by default, are taken for JSON: its parser decides.
        if kind not in ("application/json", "", "application/x-www-form-urlencoded"):
            raise ContentTypeError(f"/predict reads application/json, not {kind}")
        self._model, self._max_pixels = model, max_pixels

    def read(self, body: bytes) -> dict[str, Array]:
        return decode_json(self._model, body, self._max_pixels)

    def write(self, outputs: Mapping[str, Array]) -> Encoded:
        return Encoded(JSON, encode_json(outputs, self._model.answer_end))


class TextCodec:
    """``/predict/NAME``: a text that an operator's function reads; the inputs it stands for and their outputs back."""

    brief = False
    message_id: str | None = None

    def __init__(self, model: PlainModel, _headers: Mapping[bytes, bytes], _pixels: int, *, form: TextForm) -> None:
        self._model, self._form = model, form
        self._inputs: Mapping[str, Array] = {}

    def read(self, body: bytes) -> Mapping[str, Array]:
        self._inputs = self._form.read(self._model, body)
        return self._inputs

    def write(self, outputs: Mapping[str, Array]) -> Encoded:
        return Encoded(JSON, encode_with_inputs(self._model, self._inputs, outputs, self._model.answer_end))


class ClassifyCodec:
    """``/classify``: one encoded file, a label for each labelled output back.

    Raises:
        UnknownModelError: the model does not classify.
    """

    brief = False
    message_id: str | None = None

    def __init__(self, model: PlainModel, headers: Mapping[bytes, bytes], max_pixels: int) -> None:
        if isinstance(model.classifier, str):
            raise UnknownModelError(f"{model.classifier}: send its inputs to /predict as JSON")
        self._how, self._headers, self._max_pixels = model.classifier, headers, max_pixels

    def read(self, body: bytes) -> dict[str, Array]:
        how = self._how
        # The bytes count for more than the header: curl's --data-binary says x-www-form-urlencoded of everything.
        file = body if how.content.sniff(body) else encoded_file(self._headers, body, how.content)
        return {how.input.name: how.content.decode(file, how.input, self._max_pixels)[None]}

    def write(self, outputs: Mapping[str, Array]) -> Encoded:
        return Encoded(JSON, orjson.dumps(self._how.answer(outputs)))


_RAW = ("", "application/octet-stream", "binary/octet-stream")


def encoded_file(headers: Mapping[bytes, bytes], body: bytes, content: ContentType) -> bytes:
    """Take an encoded file from a body that does not look like one: the raw body, or the one file of a form.

    Raises:
        ContentTypeError: neither such a file nor a media type that may hold one.
        RequestError: see :func:`lading.protocol.form.file_in_form`.
    """
    kind = media_type(headers)
    if kind == "multipart/form-data":
        return file_in_form(headers[b"content-type"].decode("latin-1"), body)
    if kind in _RAW or content.accepts(kind):
        return body
    hint = (
        f"send a {content.formats} file as the body (curl --data-binary @{content.sample}) "
        f"or as a form's file (curl -F file=@{content.sample})"
    )
    if kind == "application/json":
        raise ContentTypeError(f"/classify does not read JSON: {hint}; JSON goes to /predict")
    raise ContentTypeError(f"/classify does not read {kind}: {hint}")
