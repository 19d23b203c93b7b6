"""T(b): how long one run of b examples takes, as verify measured it; what batching and admission reckon with."""

from __future__ import annotations

from collections.abc import Mapping

PAYS = 0.05
"""Share of the cost of an example that a larger batch must save, or the smaller one is kept."""
AROUND_S = 0.0002
"""Seconds of a core that each run takes beside the model's: a lane's turn, the way back, and caches that have cooled.
With batches of 2 the cards model, whose run costs the same an example, was answered 1.09 times as often."""
UNKNOWN_SECONDS = 0.005
"""Taken for a model that nobody measured, until its first runs are seen."""


class CostTable:
    """Seconds of a run by number of examples, on one thread.

    Args:
        cost: measured milliseconds by batch size; may be empty.
    """

    def __init__(self, cost: Mapping[int, float]) -> None:
        self._points = sorted((size, ms / 1e3) for size, ms in cost.items())
        self.best_batch = self._best()
        self.cheapest_batch = min(self._points, key=lambda point: point[1] / point[0])[0] if self._points else 1
        """The measured batch whose cost an example is lowest, for work that nobody waits for."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """The batch sizes that were measured, ascending."""
        return tuple(size for size, _ in self._points)

    def seconds(self, rows: int) -> float:
        """T(rows), linear between the measured sizes and proportional beyond them."""
        if not self._points:
            return UNKNOWN_SECONDS * rows
        low_size, low = 0, 0.0
        for size, seconds in self._points:
            if rows <= size:
                return low + (seconds - low) * (rows - low_size) / (size - low_size)
            low_size, low = size, seconds
        return low * rows / low_size

    def _best(self) -> int:
        """The smallest batch whose cost an example, with its share of :data:`AROUND_S`, is near the lowest."""
        if not self._points:
            return 1
        cost = {size: (seconds + AROUND_S) / size for size, seconds in self._points}
        return next(size for size in cost if cost[size] <= min(cost.values()) / (1 - PAYS))
