"""Plain HTTP bodies: JSON, a form or a file for ``/predict``, one encoded file for ``/classify``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import orjson

from lading.answers import AnswerKind, answer_kinds
from lading.answers.mask import mask_png
from lading.artifact import Artifact
from lading.artifact.manifest import ModelInfo
from lading.budget import Budget
from lading.content import ContentType, content_of, decode_file, decode_rows
from lading.errors import ContentError, ContentTypeError, InputShapeError, UnknownModelError
from lading.protocol.base64_files import unfolded_base64
from lading.protocol.codec import JSON, Encoded, media_type
from lading.protocol.datatypes import PART, as_json
from lading.protocol.form import file_in_form
from lading.protocol.form_inputs import form_hint, read_form
from lading.protocol.json_body import WANTED, parse
from lading.protocol.json_values import not_finite, read_inputs, refuse_not_finite, with_optional
from lading.protocol.photo_places import PhotoPlaces, Views
from lading.protocol.table import columns_of
from lading.spec import Array, TensorSpec


def decode_json(model: ModelInfo, body: bytes, budget: Budget, views: Views | None = None) -> dict[str, Array]:
    """Turn a request's body into the model's inputs, batch dim included.

    Args:
        model: takes them.
        body: JSON.
        budget: what reading it may cost.
        views: gets what of each encoded file the inputs show.

    Raises:
        RequestError: see :func:`lading.protocol.json_values.read_inputs` and :func:`lading.protocol.table.columns_of`.
    """
    content = columns_of(model.inputs, parse(body, WANTED, budget), WANTED, model.max_batch)
    return read_inputs(model.inputs, content, max_batch=model.max_batch, budget=budget, views=views)


def encode_json(model: PlainModel, outputs: Mapping[str, Array], views: Views | None = None) -> bytes:
    """The answer's body: nested lists by output name, the best label of each row, then the model's :func:`answer_end`.

    Boxes and masks are in the coordinates of the photo of which the views are.

    Raises:
        UnanswerableError: a value is not finite.
    """
    placed: Mapping[str, Array | list[Array]] = outputs
    if views and model.places is not None:
        placed = model.places.in_photo(outputs, views)
    lists = {
        name: [as_json(np.ascontiguousarray(row)) for row in array]
        if isinstance(array, list)
        else np.ascontiguousarray(array)
        if array.size <= PART and array.dtype.kind not in "OU"
        else as_json(np.ascontiguousarray(array))
        for name, array in placed.items()
    }
    content: dict[str, Any] = {"outputs": lists}
    if model.labelled:
        content["labels"] = {spec.name: _best_labels(spec, outputs[spec.name]) for spec in model.labelled}
    if model.shown:
        content["found"] = {
            spec.name: [kind.shown(spec, row) for row in placed[spec.name]] for spec, kind in model.shown
        }
    written = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    if b"null" in written:  # what is not finite is written so; looking at each array first costs more than writing
        refuse_not_finite(outputs)
    return written[:-1] + model.answer_end


def labelled(outputs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """The outputs of which ``/predict`` names the best label of each row: those with one score per label."""
    return tuple(spec for spec in outputs if spec.scores_labels and len(spec.shape) == 2)


def _best_labels(spec: TensorSpec, scores: Array) -> list[str]:
    labels = spec.labels
    assert labels is not None
    if len(scores) == 1:
        return [labels[scores.argmax()]]
    return [labels[place] for place in scores.argmax(axis=1).tolist()]


def answer_end(outputs: Sequence[TensorSpec], model: str, variant: str) -> bytes:
    """What every answer of a model ends with: units, the model, the variant."""
    units = {spec.name: spec.unit for spec in outputs if spec.unit}
    rest = ({"units": units} if units else {}) | {"model": model, "variant": variant}
    return b"," + orjson.dumps(rest)[1:]


RESERVED = ("confidence", "probabilities", "scores", "model", "variant")
_PLACES = 6  # more than a float32 softmax is good for, and they keep the answer short


@dataclass(frozen=True)
class Classifier:
    """How one encoded file becomes labels; there is none for a model that takes no such file or has no labels."""

    model: str
    variant: str
    content: ContentType
    input: TensorSpec
    inputs: tuple[TensorSpec, ...]
    """All of them: that one, and those that the server fills in."""
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
    required = [spec for spec in manifest.inputs if not spec.optional]
    content = content_of(required[0]) if len(required) == 1 else None
    if len(required) != 1 and any(content_of(spec) is not None for spec in required):
        names = ", ".join(spec.name for spec in required)
        return f"the model {manifest.name!r} takes {names}: send them to /predict (curl {form_hint(manifest.inputs)})"
    elsewhere = "send its inputs to /predict as JSON"
    if content is None:
        return f"the model {manifest.name!r} does not take one encoded file, such as a picture: {elsewhere}"
    elsewhere = f"send the {content.noun} to /predict"
    outputs = tuple(spec for spec in manifest.outputs if spec.labels and spec.batched and len(spec.shape) == 2)
    if not outputs:
        return f"the model {manifest.name!r} has no output with labels: {elsewhere}"
    taken = [spec.name for spec in outputs if spec.name in RESERVED]
    if taken:
        return (
            f"the model {manifest.name!r} has an output named {taken[0]!r}, which the answer of /classify uses "
            f"itself: {elsewhere}"
        )
    packed = artifact.variant(variant)
    return Classifier(
        model=manifest.name,
        variant=packed.variant.name,
        content=content,
        input=required[0],
        inputs=manifest.inputs,
        outputs=outputs,
        probabilistic=are_probabilities(outputs, artifact.golden_outputs(packed.variant.name)),
    )


def are_probabilities(outputs: Sequence[TensorSpec], golden: Mapping[str, Array]) -> bool:
    """Whether every row of these outputs is not negative and sums to one, as far as the recorded answers show."""
    # An int8 softmax is off by up to 1/256 a label, so sums near one will do.
    rows = [golden[spec.name].astype(np.float64) for spec in outputs]
    return all((row > -1e-3).all() and (np.abs(row.sum(axis=1) - 1.0) < 0.1).all() for row in rows)


@dataclass(frozen=True)
class PlainModel(ModelInfo):
    """A model, and what is worked out once for all of its plain answers."""

    classifier: Classifier | str
    """How ``/classify`` answers, or the sentence that says why it does not."""
    answer_end: bytes
    labelled: tuple[TensorSpec, ...] = ()
    """Outputs of which ``/predict`` names the best labels."""

    @cached_property
    def shown(self) -> tuple[tuple[TensorSpec, AnswerKind], ...]:
        """Outputs that ``/predict`` also answers in a form for people, such as boxes."""
        return tuple((spec, answer_kinds()[spec.content]) for spec in self.outputs if spec.content == "boxes")

    @cached_property
    def places(self) -> PhotoPlaces | None:
        """Outputs that ``/predict`` answers in the coordinates of the photo that was sent."""
        return PhotoPlaces.of(self.inputs, self.outputs)


_MAY_BE_JSON = (
    *("application/json", "", "application/x-www-form-urlencoded", "text/plain", "text/json"),
    *("application/octet-stream", "binary/octet-stream"),
)
"""Content types whose bodies the parser of JSON decides about: no type, what ``curl -d`` says of everything, and what
a browser's ``fetch`` says of a string."""


class PredictCodec:
    """``/predict``: inputs by name as JSON or as the fields of a form, or one file; outputs by name back.

    Raises:
        ContentTypeError: the headers say that the body is something else.
    """

    message_id: str | None = None

    def __init__(self, model: PlainModel, headers: Mapping[bytes, bytes], budget: Budget) -> None:
        kind = media_type(headers)
        self._model, self._budget = model, budget
        self._views: Views | None = None if model.places is None else {}
        self.brief = kind in _MAY_BE_JSON or kind.endswith("+json")
        self._mask = _wanted_mask(model.outputs) if headers.get(b"accept") == PNG else None
        self._form = headers[b"content-type"].decode("latin-1") if kind == "multipart/form-data" else None
        if not self.brief and self._form is None and not _takes_file(model.inputs, kind):
            files = any(spec.content for spec in model.inputs)
            form = f"; files go into a form (curl {form_hint(model.inputs)}), or into the JSON as base64"
            raise ContentTypeError(f"/predict reads application/json, not {kind}{form if files else ''}")

    def read(self, body: bytes) -> dict[str, Array]:
        if self._form is not None:
            return read_form(self._model, self._form, body, self._budget, self._views)
        if not self.brief:
            spec = self._model.inputs[0]
            views = None if self._views is None else self._views.setdefault(spec.name, [])
            return {spec.name: decode_rows(spec, [body], self._budget, views)}
        return decode_json(self._model, body, self._budget, self._views)

    def write(self, outputs: Mapping[str, Array]) -> Encoded:
        if self._mask is None:
            return Encoded(JSON, encode_json(self._model, outputs, self._views))
        count = len(outputs[self._mask.name])
        if count != 1:
            raise InputShapeError(f"{count} masks do not fit one PNG: send one example, or accept JSON")
        placed: Mapping[str, Array | list[Array]] = outputs
        if self._views and self._model.places is not None:
            placed = self._model.places.in_photo(outputs, self._views)
        return Encoded([(b"content-type", PNG)], mask_png(placed[self._mask.name][0]))


PNG = b"image/png"


def _wanted_mask(outputs: Sequence[TensorSpec]) -> TensorSpec:
    masks = [spec for spec in outputs if spec.content == "mask"]
    if len(masks) != 1:
        raise ContentTypeError(
            f"the model has {len(masks) or 'no'} outputs of content mask, and image/png is the answer of one: accept "
            "application/json"
        )
    return masks[0]


def _takes_file(inputs: Sequence[TensorSpec], kind: str) -> bool:
    content = content_of(inputs[0]) if len(inputs) == 1 else None
    return content is not None and content.accepts(kind)


class ClassifyCodec:
    """``/classify``: one encoded file, a label for each labelled output back.

    Raises:
        UnknownModelError: the model does not classify.
    """

    brief = False
    message_id: str | None = None

    def __init__(self, model: PlainModel, headers: Mapping[bytes, bytes], budget: Budget) -> None:
        if isinstance(model.classifier, str):
            raise UnknownModelError(model.classifier)
        self._how, self._headers, self._budget = model.classifier, headers, budget

    def read(self, body: bytes) -> dict[str, Array]:
        how = self._how
        # The bytes count for more than the header: curl's --data-binary says x-www-form-urlencoded of everything.
        file = body if how.content.sniff(body) else encoded_file(self._headers, body, how.content)
        try:
            array = decode_file(how.content, file, how.input, self._budget)[None]
        except ContentError:
            _refuse_stripped(self._headers, body, how.content)
            raise
        return with_optional(how.inputs, {how.input.name: array}, 1)

    def write(self, outputs: Mapping[str, Array]) -> Encoded:
        return Encoded(JSON, orjson.dumps(self._how.answer(outputs)))


_RAW = ("", "application/octet-stream", "binary/octet-stream")
_FORM = "application/x-www-form-urlencoded"
_HEAD = 200  # bytes that say whether a body is text
_LEAST_STRIPPED = 64  # bytes; a shorter body may well be without line breaks
_BASE64_HEAD = re.compile(rb"\s*(data:[\w/+.;=-]+,)?([\w+/=\r\n-]{32,})")
_BEGIN = 64  # characters of base64 that are looked at first


def encoded_file(headers: Mapping[bytes, bytes], body: bytes, content: ContentType) -> bytes:
    """Take an encoded file from a body that does not look like one: a raw body, base64, or the one file of a form.

    Raises:
        ContentTypeError: neither such a file nor a media type that may hold one.
        RequestError: see :func:`lading.protocol.form.file_in_form`.
    """
    kind = media_type(headers)
    if kind == "multipart/form-data":
        return file_in_form(headers[b"content-type"].decode("latin-1"), body)
    text = _file_in_text(body, content)
    if text is not None:
        return text
    if kind in _RAW or content.accepts(kind):
        return body
    _refuse_stripped(headers, body, content)
    hint = (
        f"send a {content.formats} file as the body (curl --data-binary @{content.sample}) "
        f"or as a form's file (curl -F file=@{content.sample})"
    )
    if kind == "application/json":
        raise ContentTypeError(f"/classify does not read JSON: {hint}; JSON goes to /predict")
    raise ContentTypeError(f"/classify does not read {kind}: {hint}")


def _file_in_text(body: bytes, content: ContentType) -> bytes | None:
    """The file that a body holds as base64 or as a data URL. All of it is decoded only if it begins as such a file."""
    found = _BASE64_HEAD.match(body[:_HEAD])
    if found is None:
        return None
    try:
        begins = unfolded_base64(found[2].translate(None, b"\r\n")[:_BEGIN])
        return unfolded_base64(body[found.start(2) :].strip()) if content.sniff(begins) else None
    except ValueError:
        return None


def _refuse_stripped(headers: Mapping[bytes, bytes], body: bytes, content: ContentType) -> None:
    """Say what ``curl -d @FILE`` does to a file: it removes the line breaks.

    Raises:
        ContentTypeError: the body is such a file.
    """
    stripped = len(body) >= _LEAST_STRIPPED and b"\n" not in body and b"\r" not in body and not body.isascii()
    if stripped and not content.textual and media_type(headers) == _FORM:
        raise ContentTypeError(
            f"the {content.noun} has no line breaks, which `curl -d @{content.sample}` removes: send it with "
            f"`curl --data-binary @{content.sample}`"
        )
