"""Content types: what the bytes of one example stand for.

A tensor with ``content="image"`` may be sent as encoded files instead of numbers. What Lading does with such a tensor
is asked of one object: decoding, drift features, load-test bodies, corruptions, the payload log and the API's docs.

The type ``image`` is the file ``image.py`` of this folder, which registers its object when it is imported. The first
lookup imports it: when a spec or an artifact is loaded. To add a type, add such a file.
"""

from __future__ import annotations

import base64
import binascii
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lading.errors import ContentError, InputShapeError, RequestError, SpecError
from lading.spec import Array, TensorSpec

MAX_PIXELS = 50_000_000
"""Default limit on what one encoded file decodes to; checked before anything is decoded."""

Corrupt = Callable[[Array, int, np.random.Generator], Array]
"""One example, a severity from 1 to 5 and a generator to the corrupted example, of the same shape and dtype."""


class ContentType(ABC):
    """How encoded files become a tensor, and what else depends on what they hold. Stateless and thread-safe."""

    name: ClassVar[str]
    """The value of ``TensorSpec.content``, and the name of the file that defines the type."""
    noun: ClassVar[str]
    """What messages and docs call one file, in the singular: ``picture``."""
    formats: ClassVar[str]
    """The file formats that are read, in words: ``JPEG, PNG or WebP``."""
    media_types: ClassVar[tuple[str, ...]]
    """Media types of those formats; first the one that :meth:`encode` writes."""
    suffixes: ClassVar[tuple[str, ...]]
    """File name suffixes of those formats, lower case; first the one that :meth:`encode` writes."""
    sample: ClassVar[str]
    """A file name for the examples in docs and messages: ``photo.jpg``."""
    note: ClassVar[str] = ""
    """A sentence on decoding for the API's docs."""
    feature_names: ClassVar[tuple[str, ...]]
    """Names of what :meth:`features` returns, in the same order."""
    corruptions: ClassVar[Mapping[str, Corrupt]]
    """What ``lading verify --shift`` does to examples, by name."""
    error: ClassVar[type[ContentError]] = ContentError
    """Raised for bytes that cannot be decoded; its ``kind`` is the label that counts them."""
    decode_ms: ClassVar[float] = 0.0
    """CPU milliseconds that it takes to decode a typical file."""
    decode_bytes: ClassVar[int] = 0
    """Memory per pixel while a file is decoded; 0 when ``LADING_MAX_PIXELS`` does not apply."""

    @abstractmethod
    def problem(self, spec: TensorSpec) -> str | None:
        """Why this tensor cannot hold the content, as a clause without the tensor's name; ``None`` when it can."""

    @abstractmethod
    def sniff(self, data: bytes) -> bool:
        """Whether bytes look like one of the formats, judged by their first few."""

    @abstractmethod
    def decode(self, data: bytes, spec: TensorSpec, max_pixels: int = MAX_PIXELS) -> Array:
        """Decode one file.

        Args:
            data: the encoded file.
            spec: the tensor that it becomes.
            max_pixels: refuse a file that decodes to more elements than this, before it is decoded.

        Returns:
            The spec's dtype and shape, without the batch dim.

        Raises:
            ContentError: the bytes are not of the formats, or torn.
            BodyTooLargeError: more than ``max_pixels``.
        """

    @abstractmethod
    def encode(self, example: Array) -> bytes:
        """A file that decodes to this example or close to it: for load tests and the payload log.

        Args:
            example: as :meth:`decode` returns it.
        """

    @abstractmethod
    def draw(self, spec: TensorSpec, rng: np.random.Generator) -> bytes:
        """A random file for this tensor: what a load test sends when it has no recorded example."""

    @abstractmethod
    def features(self, example: Array) -> NDArray[np.float64]:
        """The example's drift features, float64 (len(feature_names),)."""

    def accepts(self, media_type: str) -> bool:
        """Whether a body of this media type may hold the content."""
        return media_type in self.media_types

    def claims(self, spec: TensorSpec) -> bool:
        """Whether an input of a bare ONNX file most likely holds this content, judged by its dtype and shape alone."""
        del spec
        return False

    def json_schema(self) -> dict[str, Any]:
        """JSON Schema of one encoded file inside a JSON body."""
        return {"type": "string", "format": "byte", "contentEncoding": "base64", "description": self.formats}

    def describe(self) -> dict[str, Any]:
        """What ``GET /model`` says about the files that ``/classify`` takes."""
        return {
            "noun": self.noun,
            "formats": self.formats,
            "media_types": list(self.media_types),
            "sample": self.sample,
        }


_TYPES: dict[str, ContentType] = {}


def register(content: ContentType) -> None:
    """Make a content type known under its name.

    Raises:
        ValueError: another type has that name.
    """
    if type(_TYPES.setdefault(content.name, content)) is not type(content):
        raise ValueError(f"there are two content types named {content.name!r}")


def content_of(spec: TensorSpec) -> ContentType | None:
    """The content type of a tensor; ``None`` for one that holds plain numbers.

    Raises:
        SpecError: its content has no type of that name; the sentence lists the names.
    """
    return None if spec.content is None else content_type(spec.content)


def content_type(name: str) -> ContentType:
    """The content type of a name.

    Raises:
        SpecError: no type has that name; the sentence lists the names.
    """
    if name not in _TYPES and name in built_in():
        import_module(f"{__name__}.{name}")
    if name not in _TYPES:
        raise SpecError(f"the content type {name!r} is unknown; known are: {', '.join(sorted({*_TYPES, *built_in()}))}")
    return _TYPES[name]


def content_types() -> list[ContentType]:
    """Every content type, in the order of the names."""
    return [content_type(name) for name in sorted({*_TYPES, *built_in()})]


def built_in() -> list[str]:
    """Names of the types that are files of this folder."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def check_contents(specs: Iterable[TensorSpec]) -> None:
    """Refuse tensors whose content type is unknown, or whose dtype or shape the type cannot fill.

    Raises:
        SpecError: the first problem; the sentence names the tensor.
    """
    for spec in specs:
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


def decode_rows(spec: TensorSpec, files: Iterable[bytes], max_pixels: int = MAX_PIXELS) -> Array:
    """Decode one file per row.

    Returns:
        The spec's dtype and shape, the files along the first dim.

    Raises:
        RequestError: there are no files, or one of them cannot be decoded; the sentence says which.
        BodyTooLargeError: a file decodes to more than ``max_pixels`` elements.
    """
    content = content_of(spec)
    assert content is not None
    rows = []
    for row, data in enumerate(files):
        try:
            rows.append(content.decode(data, spec, max_pixels))
        except RequestError as error:
            raise type(error)(f"input {spec.name!r}, {content.noun} {row}: {error}") from None
    if not rows:
        raise InputShapeError(f"input {spec.name!r} has no {content.noun}")
    return rows[0][None] if len(rows) == 1 else np.stack(rows)


def from_base64(spec: TensorSpec, row: int, text: Any) -> bytes:
    """The file in a base64 string, or in a data URL as a browser's FileReader makes them.

    Raises:
        ContentError: it is something else.
    """
    try:
        if text.startswith("data:"):
            text = text.partition(",")[2]
        return base64.b64decode(text, validate=True)
    except (AttributeError, binascii.Error, ValueError):
        content = content_of(spec)
        assert content is not None
        raise content.error(f"input {spec.name!r}, {content.noun} {row}: the string is not base64") from None
