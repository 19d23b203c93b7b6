"""What a split of a data set holds, in a few bytes: enough to see that it has changed, without walking it."""

from __future__ import annotations

import hashlib
import time

import numpy as np
from pydantic import Field

from lading.build.examples import spread_indices
from lading.errors import DataError
from lading.spec import Dataset, Evaluated, Frozen

SECONDS = 1.0
"""Time after which no more examples of a split are read. At least :data:`FIRST` are."""
FIRST = 8


class Fingerprint(Frozen):
    """The contents of one split.

    A data set's own ``fingerprint`` decides, where it has one. Otherwise 8, 16, 32 ... evenly spaced examples are
    hashed (names, dtypes, shapes and bytes of inputs and targets), up to all of them, for :data:`SECONDS`. Two
    fingerprints are compared at the largest number that both have, so a slower machine does not make data look
    changed. A change of one example between the sampled ones of a large data set is missed: give it a ``fingerprint``.
    """

    examples: int | None = None
    own: str | None = None
    """The data set's own ``fingerprint``."""
    digests: dict[int, str] = Field(default_factory=dict)
    """SHA-256 over evenly spaced examples, by their number."""
    problem: str | None = None
    """Why there is none."""

    @property
    def text(self) -> str | None:
        """One digest, for the record of a run."""
        return self.own or (self.digests[max(self.digests)] if self.digests else None)

    def change_from(self, before: Fingerprint) -> str | None:
        """What has changed, in words; ``None`` if nothing has. What cannot be compared counts as changed."""
        problem = self.problem or before.problem
        if problem:
            return f"cannot be compared ({problem})"
        if self.examples is not None and before.examples is not None and self.examples != before.examples:
            return f"has {self.examples} examples, not {before.examples}"
        if self.own is not None or before.own is not None:
            return None if self.own == before.own else "has changed (its own fingerprint differs)"
        common = max(self.digests.keys() & before.digests.keys(), default=None)
        if common is None:
            return None if self.examples == before.examples == 0 else "cannot be compared (no examples in common)"
        return None if self.digests[common] == before.digests[common] else "has changed"


class Fingerprints:
    """The fingerprints of a model's splits, each taken once.

    Args:
        spec: the model, with the options that its data sets are made with.
    """

    def __init__(self, spec: Evaluated) -> None:
        self._spec = spec
        self._taken: dict[str, Fingerprint] = {}

    def of(self, split: str) -> Fingerprint:
        """Fingerprint of a split; one that cannot be read has a ``problem`` and raises nothing."""
        if split not in self._taken:
            try:
                dataset = self._spec.dataset(split)
            except Exception as error:  # the user's code
                self._taken[split] = Fingerprint(problem=f"it cannot be opened: {_first_line(error)}")
            else:
                self._taken[split] = fingerprint_of(dataset)
        return self._taken[split]


def fingerprint_of(dataset: Dataset, seconds: float = SECONDS) -> Fingerprint:
    """Take the fingerprint of an open data set.

    Args:
        dataset: its ``fingerprint`` attribute, if any, is trusted.
        seconds: for reading examples.
    """
    try:
        size, own = len(dataset), getattr(dataset, "fingerprint", None)
    except Exception as error:  # the user's code
        return Fingerprint(problem=f"it has no length: {_first_line(error)}")
    if own is not None:
        return Fingerprint(examples=size, own=str(own))
    try:
        if size and _digest(dataset, 0) != _digest(dataset, 0):
            return Fingerprint(examples=size, problem=f"its first example differs each time it is read; {ADVICE}")
        return Fingerprint(examples=size, digests=_digests(dataset, size, seconds))
    except DataError as error:
        return Fingerprint(examples=size, problem=str(error))


ADVICE = "give the data set a `fingerprint`, a text that changes when the data does"


def _digests(dataset: Dataset, size: int, seconds: float) -> dict[int, str]:
    read: dict[int, bytes] = {}
    digests: dict[int, str] = {}
    end, count = time.monotonic() + seconds, FIRST
    while size:
        whole = hashlib.sha256()
        for index in spread_indices(size, count):
            if digests and time.monotonic() > end:
                return digests
            if index not in read:
                read[index] = _digest(dataset, index)
            whole.update(read[index])
        digests[min(count, size)] = whole.hexdigest()
        if count >= size:
            break
        count *= 2
    return digests


def _digest(dataset: Dataset, index: int) -> bytes:
    """SHA-256 of one example.

    Raises:
        DataError: it cannot be read.
    """
    try:
        tensors = [(name, np.asarray(part[name])) for part in dataset[index] for name in sorted(part)]
    except Exception as error:  # the user's code
        raise DataError(f"example {index} cannot be read: {_first_line(error)}") from error
    whole = hashlib.sha256()
    for name, array in tensors:
        whole.update(f"{name} {array.dtype} {array.shape} ".encode())
        whole.update(repr(array.tolist()).encode() if array.dtype.hasobject else array.tobytes())
    return whole.digest()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
