"""All samples of one verification, by cell and runner, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lading.measure import Samples, ratio, timing
from lading.measurement import Ratio, Timing
from lading.serve.cost_table import PAYS
from lading.torch_baseline import COMPILED, EAGER

ALONE = " alone"
"""Ends the name of a runner that is measured beside another, as in :data:`FIRST`: how fast the machine is just then."""
FIRST = (1, 1)
"""Batch and threads of the cell that speed is judged by: one request alone on one core."""


@dataclass(frozen=True)
class Speed:
    """One variant's timings and speed-ups."""

    timings: tuple[Timing, ...]
    speedup: Ratio
    speedup_torch: Ratio | None
    round_ms: tuple[float, ...]
    """Median of each round of :data:`FIRST`."""


class Timings:
    """Samples by batch and threads, then by runner."""

    def __init__(self) -> None:
        self.samples: dict[tuple[int, int], dict[str, Samples]] = {}

    def add(self, cell: tuple[int, int], samples: Mapping[str, Samples]) -> None:
        """Take a cell's samples, each round as if the machine had been as fast as it was for :data:`FIRST`.

        A batch is worth its wait when an example in it is cheaper. That compares cells, which are measured one after
        another, and a shared machine may be half as fast a second later. Runners that are measured ``ALONE`` beside the
        others say how fast it was; without them nothing is changed.
        """
        beside = {name.removesuffix(ALONE): turns for name, turns in samples.items() if name.endswith(ALONE)}
        own = {name: turns for name, turns in samples.items() if not name.endswith(ALONE)}
        judged = {name: _median(self.samples[FIRST][name]) for name in beside}
        for number in range(len(next(iter(beside.values()), []))):
            slower = float(np.median([np.median(turns[number]) / judged[name] for name, turns in beside.items()]))
            for turns in own.values():
                turns[number] = turns[number] / slower
        self.samples[cell] = own

    def of(self, name: str) -> tuple[Timing, ...]:
        return tuple(
            timing(runners[name], batch=batch, threads=threads)
            for (batch, threads), runners in self.samples.items()
            if name in runners
        )

    def pays(self, batch: int) -> bool:
        """Whether this batch makes an example cheaper for some variant than half of it does."""
        if batch < 2 or (batch // 2, 1) not in self.samples:
            return False
        half, whole = self.samples[batch // 2, 1], self.samples[batch, 1]
        names = (half.keys() & whole.keys()) - {EAGER, COMPILED}
        cost = [(_median(half[name]) * 2, _median(whole[name])) for name in names]
        return any(larger < (1 - PAYS) * smaller for smaller, larger in cost)

    def against(self, reference: str, name: str) -> Speed:
        judged = self.samples[FIRST]
        same = Ratio(value=1.0, low=1.0, high=1.0)
        return Speed(
            self.of(name),
            same if name == reference else ratio(judged[reference], judged[name]),
            ratio(judged[EAGER], judged[name]) if EAGER in judged else None,
            tuple(float(np.median(turn)) for turn in judged[name]),
        )


def _median(samples: Samples) -> float:
    return float(np.median(np.concatenate(samples)))
