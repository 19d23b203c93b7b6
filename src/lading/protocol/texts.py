"""Texts as requests: ``/predict/NAME`` reads one with a function that the operator names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import orjson

from lading.artifact.manifest import ModelInfo
from lading.budget import Budget
from lading.errors import RequestError, SettingsError, SpecError
from lading.import_string import load_function
from lading.protocol.codec import JSON, Encoded
from lading.protocol.datatypes import as_json
from lading.protocol.json_values import with_optional
from lading.protocol.plain import PlainModel, encode_json
from lading.spec import Array
from lading.tensors.checks import check_inputs

LONGEST = 10_000
"""Maximum characters of a text, unless its function has an attribute ``longest``."""


_BLANKS = 1_000  # that may surround a text


@dataclass(frozen=True)
class TextForm:
    """One way to write a request as text."""

    name: str
    """As in ``/predict/NAME``."""
    label: str
    """For people: the first line of the function's docstring."""
    example: str
    function: Callable[[str], Mapping[str, Array]]
    longest: int = LONGEST
    """Maximum characters of a text."""

    def fits(self, model: ModelInfo) -> bool:
        """Whether a model takes what the function makes of its example."""
        try:
            self.read(model, self.example.encode())
        except RequestError:
            return False
        return True

    def read(self, model: ModelInfo, body: bytes) -> dict[str, Array]:
        """Turn a request's body into a model's inputs, batch dim included.

        Raises:
            RequestError: not UTF-8, too long, or refused by the function (a ValueError, whose sentence is shown).
        """
        if len(body) > 4 * self.longest + _BLANKS:
            raise RequestError(f"the body has {len(body)} bytes; send a text of at most {self.longest} characters")
        try:
            text = body.decode().strip()
        except UnicodeDecodeError:
            raise RequestError("the body is not UTF-8 text") from None
        if not 0 < len(text) <= self.longest:
            raise RequestError(f"the body has {len(text)} characters; send 1 to {self.longest}, such as {self.example}")
        try:
            given = self.function(text)
        except ValueError as error:
            raise RequestError(f"{self.name}: {error}") from None
        batched = {spec.name for spec in model.inputs if spec.batched}
        arrays = {name: array[None] if name in batched else array for name, array in given.items()}
        check_inputs([spec for spec in model.inputs if not spec.optional], arrays)
        return with_optional(model.inputs, arrays, model.max_batch)


def text_forms(settings: Mapping[str, str], model: ModelInfo) -> tuple[TextForm, ...]:
    """Import the functions that the settings name, and try each on its own example.

    Args:
        settings: import strings by name.
        model: what ``/predict`` answers with; a function whose example it would refuse is left out.

    Raises:
        SettingsError: a function cannot be imported, has no ``example``, or a ``longest`` that is no number.
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
        longest = getattr(function, "longest", LONGEST)
        if not isinstance(longest, int) or longest < len(example):
            raise SettingsError(f"LADING_TEXT_FORMS: {target} has {longest!r} as 'longest'; its example is longer")
        label = (function.__doc__ or name).strip().splitlines()[0]
        found.append(TextForm(name, label, example, function, longest))
    return tuple(form for form in found if form.fits(model))


def encode_with_inputs(model: PlainModel, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> bytes:
    """The answer of ``/predict``, and in front of it the inputs that the text stands for: a body for ``/predict``."""
    shown = {
        spec.name: as_json(np.ascontiguousarray(inputs[spec.name]))
        for spec in model.inputs
        if not spec.optional and spec.content is None
    }
    written = orjson.dumps({"inputs": shown}, option=orjson.OPT_SERIALIZE_NUMPY)
    return written[:-1] + b"," + encode_json(model, outputs)[1:]


class TextCodec:
    """``/predict/NAME``: a text that an operator's function reads; the inputs it stands for and their outputs back."""

    brief = False
    message_id: str | None = None

    def __init__(self, model: PlainModel, _headers: Mapping[bytes, bytes], _budget: Budget, *, form: TextForm) -> None:
        self._model, self._form = model, form
        self._inputs: Mapping[str, Array] = {}

    def read(self, body: bytes) -> Mapping[str, Array]:
        self._inputs = self._form.read(self._model, body)
        return self._inputs

    def write(self, outputs: Mapping[str, Array]) -> Encoded:
        return Encoded(JSON, encode_with_inputs(self._model, self._inputs, outputs))
