"""Kinds of answers: what the numbers of an output stand for, such as a normalised embedding.

An output names its kind by ``TensorSpec.content``. One object then answers what Lading needs to know about it: what the
numbers promise, how alike two answers are, and which of their features drift. A kind is a file of this folder.
"""

from __future__ import annotations

import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lading.errors import SpecError
from lading.spec import Array, Frozen, TensorSpec

Floats = NDArray[np.float64]


class Directions(Frozen):
    """Directions in the space of an output, fitted to reference data."""

    mean: tuple[float, ...]
    """(dims,)"""
    axes: tuple[tuple[float, ...], ...]
    """(directions, dims), orthonormal."""


class View(NamedTuple):
    """Where the edges of the model's frame are, in shares of the width and height of the photo in it.

    All of a photo is in (0, 0, 1, 1). A crop begins above 0, and a letterbox below.
    """

    left: float
    top: float
    right: float
    bottom: float


WHOLE = View(0.0, 0.0, 1.0, 1.0)


class AnswerKind(ABC):
    """What the numbers of one output stand for. Stateless and thread-safe."""

    name: ClassVar[str]
    """The value of ``TensorSpec.content``: the name of the file."""
    measure: ClassVar[str]
    """What :meth:`similarity` is called in tables and reports."""
    least: ClassVar[float]
    """Similarity from which on two answers agree."""

    @abstractmethod
    def problem(self, spec: TensorSpec) -> str | None:
        """The reason why this output cannot be of the kind, as a clause; ``None`` when it can."""

    @abstractmethod
    def broken(self, spec: TensorSpec, array: Array) -> tuple[int, str] | None:
        """The first row that is not what the kind promises, and the clause that says why; ``None``: all rows are.

        Args:
            spec: the output.
            array: a batch of it, all values finite.
        """

    @abstractmethod
    def similarity(self, spec: TensorSpec, expected: Array, got: Array) -> Floats:
        """How alike two batches are, row by row: float64 (rows,), 1 where a row is the same."""

    @abstractmethod
    def features(self, spec: TensorSpec, row: Array, directions: Directions | None = None) -> dict[str, Array]:
        """Drift features of one answer, float64 (k,) or int64 (k,) each; the names follow the output's.

        Args:
            spec: the output.
            row: without the batch dim.
            directions: what :meth:`directions` found in the reference data.
        """

    def aligned(self, spec: TensorSpec, expected: Array, got: Array) -> Array:
        """Another batch of answers, with what is a tie brought into the form of the expected ones.

        Two machines, and torch and ONNX Runtime, add in another order. So equal scores may change places.
        """
        del spec, expected
        return got

    def labels(self, spec: TensorSpec) -> dict[str, tuple[str, ...]]:
        """Labels of the features that are categories."""
        del spec
        return {}

    def directions(self, rows: Floats) -> Directions | None:
        """What features need to know about the reference data (rows, ...); ``None``: nothing."""
        del rows
        return None

    def of_photo(self, spec: TensorSpec, row: Array, view: View) -> Array:
        """One answer in the coordinates of the photo that was sent; the default has none.

        Args:
            spec: the output.
            row: without the batch dim, in the coordinates of the model's frame.
            view: what of the photo the frame shows; all of it is no reason to ask.
        """
        del spec, view
        return row

    def shown(self, spec: TensorSpec, row: Array) -> Any:
        """One answer as people read it, for JSON; ``None``: its numbers alone."""
        del spec, row
        return None


OF_PLACES = ("boxes", "mask")
"""Kinds that say where something is, and have classes."""


@cache
def answer_kinds() -> Mapping[str, AnswerKind]:
    """All kinds by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {name: import_module(f"{__name__}.{name}").KIND for name in names}


def answer_kind(spec: TensorSpec) -> AnswerKind | None:
    """The kind of an output; ``None`` for plain numbers and labels."""
    return None if spec.content is None else answer_kinds().get(spec.content)


def check_answers(outputs: Sequence[TensorSpec]) -> None:
    """Check that each output with a kind has a dtype and shape for it.

    Raises:
        SpecError: the first problem found; the sentence names the tensor.
    """
    for spec in outputs:
        kind = answer_kind(spec)
        problem = None if kind is None else kind.problem(spec)
        if problem is None and spec.classes is not None and spec.content not in OF_PLACES:
            problem = "classes name the values of boxes and masks: for one score a class, give labels"
        if problem is not None:
            raise SpecError(f"tensor {spec.name!r}: {problem}")


def aligned(spec: TensorSpec, expected: Array, got: Array) -> Array:
    """The answers ``got``, with ties in the form of the expected ones where the output has a kind."""
    kind = answer_kind(spec)
    return got if kind is None or expected.shape != got.shape else kind.aligned(spec, expected, got)


def broken_promise(outputs: Sequence[TensorSpec], answered: Mapping[str, Array]) -> str | None:
    """The clause about the first output that is not what its kind promises; ``None``: all are."""
    for spec in outputs:
        kind = answer_kind(spec)
        found = None if kind is None else kind.broken(spec, answered[spec.name])
        if found is not None:
            row, why = found
            return f"output {spec.name!r} is no {spec.content} in row {row}: {why}"
    return None
