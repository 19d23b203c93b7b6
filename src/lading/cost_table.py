"""T(b): the time of one run with b examples, measured by verify. Batching and admission follow from it."""

from __future__ import annotations

from collections.abc import Mapping

PAYS = 0.05
"""Share of the cost per example that a larger batch must save to be preferred over a smaller one."""
AROUND_S = 0.0002
"""CPU seconds that each run takes in addition to the model: waking a lane, returning the outputs, cold caches.
The cards model costs the same per example in any batch. With batches of 2 it had 1.09 times the throughput of 1."""
UNKNOWN_SECONDS = 0.005
"""Assumed for a model that was not measured, until its first runs."""


class CostTable:
    """Seconds of one run by number of examples, on one thread.

    Args:
        cost: measured milliseconds by batch size; may be empty.
    """

    def __init__(self, cost: Mapping[int, float]) -> None:
        self._points = sorted((size, ms / 1e3) for size, ms in cost.items())
        self.best_batch = self._best()
        self.cheapest_batch = min(self._points, key=lambda point: point[1] / point[0])[0] if self._points else 1
        """The measured batch size with the lowest cost per example, for batch scoring."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Measured batch sizes, ascending."""
        return tuple(size for size, _ in self._points)

    def seconds(self, rows: int) -> float:
        """T(rows) in seconds: linear between measured sizes, proportional beyond the largest."""
        if not self._points:
            return UNKNOWN_SECONDS * rows
        low_size, low = 0, 0.0
        for size, seconds in self._points:
            if rows <= size:
                return low + (seconds - low) * (rows - low_size) / (size - low_size)
            low_size, low = size, seconds
        return low * rows / low_size

    def _best(self) -> int:
        """The smallest batch with a cost per example, :data:`AROUND_S` included, close to the lowest one."""
        if not self._points:
            return 1
        cost = {size: (seconds + AROUND_S) / size for size, seconds in self._points}
        return next(size for size in cost if cost[size] <= min(cost.values()) / (1 - PAYS))
