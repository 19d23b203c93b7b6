"""``POST /predict/NAME``: text in, read by a function that the operator named; for example SMILES for molecules.

An artifact never names code. Whoever starts the server may: ``LADING_TEXT_FORMS`` lists functions that turn a text into
a model's inputs, and only those are imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import orjson

from lading.artifact import ModelInfo
from lading.errors import RequestError, SettingsError, SpecError
from lading.import_string import load_function
from lading.serve.predict import encode_json
from lading.serve.v2_tensor import with_owners
from lading.spec import Array
from lading.tensors import check_inputs

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
