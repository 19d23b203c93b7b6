"""Content types: what the bytes of one example stand for.

A client may send a tensor with ``content="image"`` as encoded files instead of numbers. One object answers everything
that Lading needs to know about such a tensor: how to decode a file, its drift features, random files for a load test,
corruptions, and what the API's docs say.

A content type is found by its name, when a spec or an artifact is loaded:

- A built-in type is a file of this folder. ``image.py`` registers the type ``image`` when it is imported.
- An installed package adds a type by an entry point in the group ``lading.content``. So servers find it too.
- :func:`register` adds a type to this process only.
"""

from __future__ import annotations

import logging
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lading.answers import answer_kind, answer_kinds, check_answers
from lading.budget import Budget
from lading.errors import ContentError, InputShapeError, LadingError, RequestError, SpecError
from lading.spec import Array, TensorSpec

log = logging.getLogger(__name__)
ENTRY_POINTS = "lading.content"
"""Entry point group of content types from other packages: the name, and the import string of an object."""

Corrupt = Callable[[Array, int, np.random.Generator], Array]
"""Takes one example, a severity from 1 to 5 and a generator; returns an example of the same shape and dtype."""


class ContentType(ABC):
    """A kind of encoded file, and the tensor that it becomes. Stateless and thread-safe."""

    name: ClassVar[str]
    """The value of ``TensorSpec.content``. A built-in type is defined in the file of this name."""
    noun: ClassVar[str]
    """The word for one file in messages and docs, singular: ``picture``."""
    formats: ClassVar[str]
    """The file formats that can be decoded, as words: ``JPEG, PNG or WebP``."""
    media_types: ClassVar[tuple[str, ...]]
    """Media types of those formats. The first is that of :meth:`encode`."""
    suffixes: ClassVar[tuple[str, ...]]
    """File name suffixes of those formats, lower case. The first is that of :meth:`encode`."""
    sample: ClassVar[str]
    """A file name for the examples in docs and messages: ``photo.jpg``."""
    note: ClassVar[str] = ""
    """A sentence about decoding for the API's docs."""
    feature_names: ClassVar[tuple[str, ...]]
    """Names of the values of :meth:`features`, in the same order."""
    corruptions: ClassVar[Mapping[str, Corrupt]]
    """Corruptions that ``lading verify --shift`` applies to examples, by name."""
    error: ClassVar[type[ContentError]] = ContentError
    """Raised for bytes that cannot be decoded. Its ``kind`` is the label of the metric that counts them."""
    decode_ms: ClassVar[float] = 0.0
    """CPU milliseconds to decode a typical file."""
    decode_bytes: ClassVar[int] = 0
    """Bytes of memory per pixel (or other element) during decoding, for a type that does not call
    :meth:`Budget.hold <lading.budget.Budget.hold>`. 0 for one that does: ``LADING_MAX_DECODE_MB`` is its limit."""

    @abstractmethod
    def problem(self, spec: TensorSpec) -> str | None:
        """The reason why this tensor cannot hold the content, as a clause; ``None`` when it can."""

    @abstractmethod
    def sniff(self, data: bytes) -> bool:
        """Whether the first bytes look like one of the formats."""

    @abstractmethod
    def decode(self, data: bytes, spec: TensorSpec, budget: Budget) -> Array:
        """Decode one file.

        Args:
            data: the encoded file.
            spec: the tensor that it becomes.
            budget: what the request may still cost. Spend the file's elements and bytes before you decode them.

        Returns:
            An array of the spec's dtype and shape, without the batch dim.

        Raises:
            ContentError: the bytes are in none of the formats, or incomplete.
            BodyTooLargeError: the file does not fit the budget.
            ExpiredError: its deadline passed.
        """

    @abstractmethod
    def encode(self, example: Array, spec: TensorSpec) -> bytes:
        """Encode an example as a file, for load tests and the payload log. The format may lose some detail.

        Args:
            example: an array as :meth:`decode` returns it.
            spec: its tensor.
        """

    @abstractmethod
    def draw(self, spec: TensorSpec, rng: np.random.Generator) -> bytes:
        """A random file for this tensor. A load test sends it when it has no recorded example."""

    @abstractmethod
    def features(self, example: Array) -> NDArray[np.float64]:
        """Compute the drift features of one example: float64, shape (len(feature_names),)."""

    def accepts(self, media_type: str) -> bool:
        """Whether a body with this media type may hold the content."""
        return media_type in self.media_types

    def claims(self, spec: TensorSpec) -> bool:
        """Whether an input of an ONNX file without a spec likely holds this content, from its dtype and shape alone."""
        del spec
        return False

    def json_schema(self) -> dict[str, Any]:
        """JSON Schema of one encoded file in a JSON body."""
        return {"type": "string", "format": "byte", "contentEncoding": "base64", "description": self.formats}

    def describe(self) -> dict[str, Any]:
        """The part of ``GET /model`` about the files that ``/classify`` accepts."""
        return {
            "noun": self.noun,
            "formats": self.formats,
            "media_types": list(self.media_types),
            "suffixes": list(self.suffixes),
            "sample": self.sample,
        }


_TYPES: dict[str, ContentType] = {}


def register(content: ContentType) -> None:
    """Add a content type to this process.

    Raises:
        ValueError: another class is registered under the same name.
    """
    if type(_TYPES.setdefault(content.name, content)) is not type(content):
        raise ValueError(f"two content types are named {content.name!r}; rename one of them")


def content_of(spec: TensorSpec) -> ContentType | None:
    """The content type of a tensor; ``None`` for a tensor of plain numbers and for a kind of answer.

    Raises:
        SpecError: see :func:`content_type`.
    """
    return None if spec.content is None or answer_kind(spec) is not None else content_type(spec.content)


def content_type(name: str) -> ContentType:
    """Find a content type by its name: registered, built in, or from an installed package.

    Raises:
        SpecError: there is no such type, or its package cannot be imported; the sentence lists the known names.
    """
    if name not in _TYPES:
        if name in _built_in():
            import_module(f"{__name__}.{name}")
        elif name in (installed := _installed()):
            register(_loaded(installed[name]))
        else:
            raise SpecError(
                f"the content type {name!r} is unknown; known types: {', '.join(_names())}, and for outputs "
                f"{', '.join(answer_kinds())}. "
                f"Correct the name, or install the package that has this type"
            )
    return _TYPES[name]


def content_types() -> list[ContentType]:
    """All content types, sorted by name.

    Raises:
        SpecError: the package of a type cannot be imported.
    """
    return [content_type(name) for name in _names()]


def _names() -> list[str]:
    return sorted({*_TYPES, *_built_in(), *_installed()})


def _built_in() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(__path__)]


def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def _loaded(point: EntryPoint) -> ContentType:
    try:
        content = point.load()
    except (ImportError, AttributeError) as error:
        raise SpecError(f"the content type {point.name!r} cannot be imported from {point.value}: {error}") from error
    if not isinstance(content, ContentType) or content.name != point.name:
        raise SpecError(f"{point.value} is not a ContentType object with the name {point.name!r}")
    return content


def check_contents(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec] = ()) -> None:
    """Check that each content type and kind of answer exists, and that its tensor has a dtype and shape for it.

    Raises:
        SpecError: the first problem found; the sentence names the tensor.
    """
    check_answers(outputs)
    for spec in inputs:
        if spec.classes is not None or answer_kind(spec) is not None:
            what = f"content {spec.content!r}" if answer_kind(spec) is not None else "classes"
            raise SpecError(f"tensor {spec.name!r}: {what} describes an output, and it is an input")
    for spec in (*inputs, *outputs):
        try:
            content = content_of(spec)
        except SpecError as error:
            raise SpecError(f"tensor {spec.name!r}: {error}") from None
        if content is None:
            continue
        problem = content.problem(spec)
        if problem is None and not all(isinstance(dim, int) for dim in spec.shape[1:]):
            problem = f"encoded files need a fixed shape after the first dim, not {spec.shape}"
        if problem is not None:
            raise SpecError(f"tensor {spec.name!r}: {problem}")


def decode_file(content: ContentType, data: bytes, spec: TensorSpec, budget: Budget) -> Array:
    """Decode one file by its content type. Bytes from a client never cause any other error than these.

    Returns:
        An array of the spec's dtype and shape, without the batch dim.

    Raises:
        RequestError: the file cannot be decoded, or does not fit the budget.
        ExpiredError: the deadline passed.
    """
    budget.check_time()
    try:
        return content.decode(data, spec, budget)
    except LadingError:
        raise
    except Exception as error:
        log.exception("decoding a file failed unexpectedly: %s: %.300r", content.name, error)
        raise content.error(f"the {content.noun} cannot be decoded: send {content.formats}") from None


def decode_rows(spec: TensorSpec, files: Iterable[bytes], budget: Budget | None = None) -> Array:
    """Decode one file per row.

    Args:
        spec: the tensor.
        files: one per row.
        budget: of the request; default: a new one for each file.

    Returns:
        An array of the spec's dtype and shape, one file per entry of the first dim.

    Raises:
        RequestError: there are no files, or one cannot be decoded; the sentence gives its row.
        BodyTooLargeError: a file does not fit the budget.
        ExpiredError: its deadline passed.
    """
    content = content_of(spec)
    assert content is not None
    rows = []
    for row, data in enumerate(files):
        try:
            rows.append(decode_file(content, data, spec, budget or Budget()))
        except RequestError as error:
            raise type(error)(f"input {spec.name!r}, {content.noun} {row}: {error}") from None
    if not rows:
        raise InputShapeError(f"input {spec.name!r} has no {content.noun}; send at least one")
    return rows[0][None] if len(rows) == 1 else np.stack(rows)
