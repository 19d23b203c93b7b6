"""The result of a look at a payload log: scores, and how the answers compare with the truths."""

from __future__ import annotations

from dataclasses import dataclass, field

from rich.table import Table

from lading.drift.reference import Reference
from lading.drift.report import drift_report
from lading.drift.window import Block, Score


@dataclass(frozen=True)
class DriftCheck:
    """The newest examples of a log next to the reference."""

    model: str
    reference: Reference
    block: Block
    scores: tuple[Score, ...]
    accuracy: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By output with labels: number of right answers, and number of answers with a known truth, of the newest 1000."""
    errors: dict[str, float] = field(default_factory=dict)
    """By numeric output: mean absolute error of the newest 1000 answers with a known truth, in the output's unit."""

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
