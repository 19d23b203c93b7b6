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
import math
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lading.answers import View, answer_kind, answer_kinds, check_answers
from lading.budget import Budget
from lading.errors import BodyTooLargeError, ContentError, InputShapeError, LadingError, RequestError, SpecError
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
    textual: ClassVar[bool] = False
    """A file is text: JSON carries it as it is, and not as base64."""
    decode_ms: ClassVar[float] = 0.0
    """CPU milliseconds to decode a typical file."""
    decode_bytes: ClassVar[int] = 0
    """Bytes of memory per pixel (or other element) during decoding, for a type that does not call
    :meth:`Budget.hold <lading.budget.Budget.hold>`. 0 for one that does: ``LADING_MAX_DECODE_MB`` is its limit."""

    @property
    def one_of_bytes(self) -> str:
        """One file in a tensor of bytes, as words: ``an encoded picture``."""
        return f"a {self.noun}" if self.textual else f"an encoded {self.noun}"

    @abstractmethod
    def problem(self, spec: TensorSpec) -> str | None:
        """The reason why this tensor cannot hold the content, as a clause; ``None`` when it can."""

    def of(self, spec: TensorSpec) -> ContentType:
        """The object that answers for one tensor, such as with its tokenizer. The default needs no spec."""
        del spec
        return self

    def with_file(self, spec: TensorSpec, folder: Path) -> TensorSpec:
        """Name the tensor's file by its hash, so that it is found wherever the spec goes. The default has none.

        Args:
            spec: the tensor; a path in it is relative to the folder.
            folder: of the model's source.

        Raises:
            SpecError: there is no such file.
        """
        del folder
        return spec

    def files(self, spec: TensorSpec) -> Mapping[str, bytes]:
        """The files that an artifact carries for this tensor, by name, once they are named by their hash."""
        del spec
        return {}

    def open_file(self, spec: TensorSpec, files: Mapping[str, Path]) -> None:
        """Find the tensor's file among those of an artifact, whose checksums were verified.

        Args:
            spec: the tensor.
            files: by ``sha256:`` and their hash.

        Raises:
            SpecError: it is not among them.
        """
        del spec, files

    def prepare(self, spec: TensorSpec) -> None:
        """Make ready what the first request would otherwise wait for. The default needs nothing.

        Raises:
            SpecError: a package or a file that decoding needs is missing.
        """
        del spec

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

    def decode_placed(self, data: bytes, spec: TensorSpec, budget: Budget) -> tuple[Array, View | None]:
        """The same, and what of the file the array shows, for answers that say where something is; ``None``: all."""
        return self.decode(data, spec, budget), None

    @abstractmethod
    def encode(self, example: Array) -> bytes:
        """Encode an example as a file, for load tests and the payload log. The format may lose some detail.

        Args:
            example: an array as :meth:`decode` returns it.
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
            "textual": self.textual,
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
    return None if spec.content is None or answer_kind(spec) is not None else content_type(spec.content).of(spec)


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
            known = spec.content is None or answer_kind(spec) is not None
            content = None if known else content_type(str(spec.content))
        except SpecError as error:
            raise SpecError(f"tensor {spec.name!r}: {error}") from None
        if content is None:
            if spec.tokenizer is not None:
                raise SpecError(f'tensor {spec.name!r}: a tokenizer is for content="text"')
            continue
        problem = content.problem(spec)
        free = (spec.padded_dim, *(spec.picture_dims or ()))
        if problem is None and not all(isinstance(dim, int) or dim in free for dim in spec.shape[1:]):
            problem = f"encoded files need a fixed shape after the first dim, not {spec.shape}"
        if problem is not None:
            raise SpecError(f"tensor {spec.name!r}: {problem}")


def with_files(specs: Iterable[TensorSpec], folder: Path) -> tuple[TensorSpec, ...]:
    """The specs with the files of their contents named by hash; see :meth:`ContentType.with_file`.

    Raises:
        SpecError: a file is missing.
    """
    return tuple(content_type(spec.content).with_file(spec, folder) if spec.content else spec for spec in specs)


def decode_file(
    content: ContentType, data: bytes, spec: TensorSpec, budget: Budget, views: list[View | None] | None = None
) -> Array:
    """Decode one file by its content type. Bytes from a client never cause any other error than these.

    Args:
        content: of the tensor.
        data: the encoded file.
        spec: the tensor.
        budget: of the request.
        views: gets what of the file the array shows.

    Returns:
        An array of the spec's dtype and shape, without the batch dim.

    Raises:
        RequestError: the file cannot be decoded, or does not fit the budget.
        ExpiredError: the deadline passed.
    """
    budget.check_time()
    try:
        if views is None:
            return content.decode(data, spec, budget)
        array, view = content.decode_placed(data, spec, budget)
        views.append(view)
        return array
    except LadingError:
        raise
    except Exception as error:
        log.exception("decoding a file failed unexpectedly: %s: %.300r", content.name, error)
        raise content.error(f"the {content.noun} cannot be decoded: send {content.formats}") from None


def decode_rows(
    spec: TensorSpec,
    files: Iterable[bytes],
    budget: Budget | None = None,
    views: list[View | None] | None = None,
) -> Array:
    """Decode one file per row.

    Args:
        spec: the tensor.
        files: one per row.
        budget: of the request; default: a new one for each file.
        views: gets what of each file its row shows.

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
            rows.append(decode_file(content, data, spec, budget or Budget(), views))
            _check_together(spec, rows)
        except RequestError as error:
            raise type(error)(f"input {spec.name!r}, {content.noun} {row}: {error}") from None
    if not rows:
        raise InputShapeError(f"input {spec.name!r} has no {content.noun}; send at least one")
    return stack_rows(spec, rows)


def _check_together(spec: TensorSpec, rows: Sequence[Array]) -> None:
    """Refuse pictures of several sizes in one request, or more of them than one run takes.

    Raises:
        InputShapeError: they have several sizes.
        BodyTooLargeError: they are too many for one run.
    """
    if spec.preprocess is None or not spec.preprocess.kept or len(rows) == 1:
        return
    height, width = (rows[0].shape[axis - 1] for axis in spec.preprocess.axes())
    if rows[-1].shape != rows[0].shape:
        raise InputShapeError("it has another size than those before: send pictures of several sizes one by one")
    most = max(1, spec.preprocess.most_pixels // (height * width))
    if len(rows) > most:
        raise BodyTooLargeError(f"one request may have {most} of {width} x {height} pixels: send several requests")


def hole(spec: TensorSpec) -> float | int:
    """What stands where an example has ended: the least integer of the dtype (the largest without a sign), or NaN."""
    if spec.numpy_dtype.kind == "f":
        return math.nan
    limits = np.iinfo(spec.dtype)
    return int(limits.min if limits.min < 0 else limits.max)


def stack_rows(spec: TensorSpec, rows: Sequence[Array]) -> Array:
    """Stack examples. Shorter ones of a tensor with padding end in holes.

    Args:
        spec: the tensor.
        rows: one array per example, without the batch dim.

    Returns:
        The batch dim first, and a copy unless there is one row.

    Raises:
        ValueError: the rows differ in another dim than the padded one.
    """
    if len(rows) == 1:
        return rows[0][None]
    if spec.padding is None:
        return np.stack(rows)
    axis = spec.shape.index(str(spec.padded_dim)) - 1
    longest = max(row.shape[axis] for row in rows)
    return np.stack([lengthened(row, axis, longest, hole(spec)) for row in rows])


def lengthened(array: Array, axis: int, length: int, value: float) -> Array:
    """The array with a value behind the others of one axis."""
    if array.shape[axis] == length:
        return array
    more = [(0, length - size if at == axis else 0) for at, size in enumerate(array.shape)]
    return np.pad(array, more, constant_values=value)
