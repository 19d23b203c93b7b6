"""Drift in a payload log: the scores that a running server computes, for a scheduled job or a review."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from rich.table import Table

from lading.artifact import Artifact
from lading.drift.reference import Reference
from lading.drift.report import drift_report
from lading.drift.window import Block, Score, Window, merged, scores_of
from lading.errors import DataError
from lading.record.drift_monitor import ALARMS
from lading.record.feedback import is_label
from lading.record.payload_reader import output_of, read_rows, read_truths, row_examples
from lading.spec import Array


@dataclass(frozen=True)
class DriftCheck:
    """The result of a check."""

    model: str
    reference: Reference
    block: Block
    scores: tuple[Score, ...]
    accuracy: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By output: number of right answers, and number of answers with a known truth."""

    @property
    def drifted(self) -> bool:
        return any(score.drifted for score in self.scores)

    def table(self) -> Table:
        """Return the scores as a table, drifted ones first."""
        shown = Table("feature", "test", title=f"{self.model}: {self.block.requests} examples")
        for column in ("distance", "threshold", "p-value"):
            shown.add_column(column, justify="right")
        for score in sorted(self.scores, key=lambda score: (not score.drifted, score.p_value)):
            style = "bold red" if score.drifted else ""
            numbers = (f"{score.value:.4f}", f"{score.threshold:.4f}", f"{score.p_value:.2g}")
            shown.add_row(score.feature, score.test, *numbers, style=style)
        return shown

    def report(self, window: int) -> str:
        """Return the result as an HTML page."""
        return drift_report(
            self.model, self.reference, self.block, self.scores, window=window, source="From a payload log."
        )


def check_log(log: Path, artifact: Artifact, *, newest: int) -> DriftCheck:
    """Compare the newest examples of a log with an artifact's reference.

    Args:
        log: the folder of the payload log.
        artifact: the served artifact. Answers of variants other than the chosen one are ignored.
        newest: number of examples.

    Raises:
        DataError: the log holds no answer of the artifact's model, or the artifact has no thresholds.
    """
    manifest = artifact.manifest
    reference = Reference.from_json(artifact.reference_json())
    if not any(feature.null for feature in reference.features.values()):
        raise DataError(f"{artifact.path} has no reference with thresholds: pack it with a data set")
    truths = read_truths(log)
    right: dict[str, tuple[int, int]] = {}
    examples: deque[dict[str, Array]] = deque(maxlen=newest)
    for row in read_rows(log, manifest.name):
        if row["code"] != 200 or row["variant"] != manifest.chosen:
            continue
        examples.extend(row_examples(manifest, row))
        for output, truth in truths.get(row["request_id"], {}).items():
            spec = next((spec for spec in manifest.outputs if spec.name == output), None)
            answered = output_of(manifest, row, output) if spec is not None and is_label(spec) else None
            if spec is not None and spec.labels is not None and answered is not None:
                hit = spec.labels[int(answered.argmax())] == json.loads(truth)
                was, of = right.get(output, (0, 0))
                right[output] = (was + hit, of + 1)
    if not examples:
        raise DataError(f"{log} holds no answer of {manifest.name}'s variant {manifest.chosen}")
    window = Window(reference, len(examples))
    for example in examples:
        window.add(example)
    blocks = window.blocks()
    scores = tuple(scores_of(reference, blocks, ALARMS))
    return DriftCheck(manifest.name, reference, merged(reference, blocks), scores, right)
