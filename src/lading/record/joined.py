"""What all pods of a service recorded, put together."""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Iterable, Iterator
from datetime import datetime
from sys import getsizeof
from typing import Any, Generic, TypeVar

import numpy as np

from lading.artifact import Artifact
from lading.drift.reference import Reference
from lading.drift.window import Window, merged, scores_of
from lading.errors import DataError, RequestError
from lading.record.drift_check import DriftCheck
from lading.record.drift_monitor import ALARMS
from lading.record.payload_reader import Row, row_examples, row_predictions
from lading.record.truth import NEWEST, Value, checked_truth, errors_by_series
from lading.spec import Array

MOST_ANSWERS, MOST_ANSWER_BYTES = 100_000, 128e6
"""Maximum number and size of the newest answers that truths are joined with."""
MOST_TRUTHS = 200_000
"""Maximum number of the newest truths."""
CLOCK_S = 60.0
"""Allowed difference between the clocks of a pod and of the bucket."""
_ANSWER_BYTES = 400
K = TypeVar("K", bound=tuple[Any, ...])
V = TypeVar("V")


class Newest(Generic[K, V]):
    """The entries with the largest keys. Which ones are kept depends on what was added, and not on the order.

    Args:
        most: maximum number of entries.
        max_bytes: maximum of the sum of their sizes.
    """

    def __init__(self, most: int, max_bytes: float = math.inf) -> None:
        self._most, self._max_bytes = most, max_bytes
        self._heap: list[K] = []
        self._kept: dict[K, tuple[V, int]] = {}
        self._bytes = 0
        self._floor: K | None = None
        """The largest key that was dropped. No key below it is taken again, or the order of arrival would matter."""

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, key: K, value: V, nbytes: int = 0) -> None:
        """Keep an entry if it is one of the newest. A key that is kept already is ignored."""
        if key in self._kept or (self._floor is not None and key <= self._floor):
            return
        heapq.heappush(self._heap, key)
        self._kept[key] = value, nbytes
        self._bytes += nbytes
        while len(self._kept) > self._most or self._bytes > self._max_bytes:
            self._floor = heapq.heappop(self._heap)
            self._bytes -= self._kept.pop(self._floor)[1]

    def full_from(self, time: float) -> bool:
        """Whether no entry from before this time would be kept."""
        if len(self._kept) < self._most and self._floor is None:
            return False
        oldest: datetime = self._heap[0][0]
        return oldest.timestamp() > time

    def __iter__(self) -> Iterator[tuple[K, V]]:
        """Oldest first."""
        for key in sorted(self._kept):
            yield key, self._kept[key][0]


class Joined:
    """The newest examples of one model, and the newest answers with the truths about them.

    The result depends only on the rows that were added: not on their order, nor on the pod that wrote them.

    Args:
        artifact: the served artifact.
        newest: number of examples that scores are computed over.
        digest: use answers of this very artifact only. Otherwise those of its chosen variant, whichever release gave
            them.

    Raises:
        ArtifactError: the reference cannot be read.
    """

    def __init__(self, artifact: Artifact, newest: int, *, digest: bool = False) -> None:
        self.reference = Reference.of(artifact)
        self.manifest = artifact.manifest
        self.newest = newest
        self._path = artifact.path
        self._digest = artifact.digest if digest else None
        self._examples: Newest[tuple[datetime, str, int], dict[str, Array]] = Newest(newest)
        self._answers: Newest[tuple[datetime, str], dict[str, Value]] = Newest(MOST_ANSWERS, MOST_ANSWER_BYTES)
        self._truths: Newest[tuple[datetime, str, str, str], None] = Newest(MOST_TRUTHS)

    def require_thresholds(self) -> None:
        """Refuse an artifact that nothing can be compared with.

        Raises:
            DataError: the artifact has no thresholds.
        """
        if not any(feature.null for feature in self.reference.features.values()):
            raise DataError(f"{self._path} has no reference with thresholds: pack it with a data set")

    def newest_examples(self) -> list[dict[str, Array]]:
        """The features of each example, oldest first."""
        return [example for _, example in self._examples]

    def add_rows(self, rows: Iterable[Row]) -> None:
        """Add rows of the log. Those of other models and variants, and errors, are ignored."""
        for row in rows:
            # Where a file system ignores case, two models may share a folder.
            if row["model"] != self.manifest.name or row["code"] != 200 or row["variant"] != self.manifest.chosen:
                continue
            if self._digest is not None and row["digest"] != self._digest:
                continue
            time, request_id = row["time"], row["request_id"]
            try:
                examples = list(row_examples(self.manifest, row, self.reference))
                predicted = row_predictions(self.manifest, row)
            except (ValueError, IndexError):
                continue  # of another version, whose tensors have other shapes
            for index, example in enumerate(examples):
                self._examples.add((time, request_id, index), example)
            size = _ANSWER_BYTES + sum(getsizeof(value) for value in predicted.values())
            self._answers.add((time, request_id), dict(predicted), size)

    def add_truths(self, rows: Iterable[Row]) -> None:
        """Add rows of feedback."""
        for row in rows:
            self._truths.add((row["time"], row["request_id"], row["output"], row["truth"]), None)

    def full_from(self, time: float) -> bool:
        """Whether no row from before this time, in seconds since the epoch, would change the result."""
        answers = not len(self._truths) or self._answers.full_from(time - CLOCK_S)
        return answers and self._examples.full_from(time - CLOCK_S)

    def check(self) -> DriftCheck:
        """Compare what was added with the reference, and the predictions with the truths.

        Raises:
            DataError: there is no example, or the artifact has no thresholds.
        """
        self.require_thresholds()
        examples = self.newest_examples()
        if not examples:
            raise DataError(f"the log holds no answer of {self.manifest.name}'s variant {self.manifest.chosen}")
        window = Window(self.reference, len(examples))
        for example in examples:
            window.add(example)
        blocks = window.blocks()
        scores = tuple(scores_of(self.reference, blocks, ALARMS))
        found = DriftCheck(self.manifest.name, self.reference, merged(self.reference, blocks), scores)
        self._compare(found)
        return found

    def _compare(self, found: DriftCheck) -> None:
        truths: dict[str, dict[str, str]] = {}
        for (_, request_id, output, text), _ in self._truths:  # the newest truth counts
            truths.setdefault(request_id, {})[output] = text
        answers = {request_id: predicted for (_, request_id), predicted in self._answers}  # of the newest answer
        specs = {spec.name: spec for spec in self.manifest.outputs}
        rights: dict[str, list[bool]] = {}
        errors: dict[str, list[float]] = {}
        for request_id, predicted in answers.items():
            for output, text in truths.get(request_id, {}).items():
                if output not in predicted:
                    continue
                spec, was = specs[output], predicted[output]
                try:
                    truth = checked_truth(spec, was, json.loads(text))
                except (RequestError, ValueError):
                    continue  # a pod that does not know the answer could not refuse it
                if isinstance(was, str):
                    rights.setdefault(output, []).append(was == truth)
                    continue
                for series, error in errors_by_series(spec, np.abs(was - np.asarray(truth))):
                    errors.setdefault(series, []).append(error)
        for output, hits in rights.items():
            found.accuracy[output] = sum(hits[-NEWEST:]), len(hits[-NEWEST:])
        for series, values in errors.items():
            found.errors[series] = float(np.mean(values[-NEWEST:]))
