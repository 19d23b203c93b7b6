"""A step of the load and what an autoscaler made of it; ``python -m tests.e2e.cluster.step OUT.svg RUN.json...``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.server.plots import INK, OTHERS, OWN, svg
from tests.e2e.cluster.replicas import Replicas, turns
from tests.e2e.cluster.report import Second

BEFORE_S, STEP_S, AFTER_S = 15, 90, 75
LOW, HIGH = 0.3, 3.0
"""Of one pod's capacity."""


@dataclass
class Run:
    """What was seen; times are seconds since the load began."""

    name: str
    capacity: float
    seconds: list[Second]
    replicas: list[Replicas]

    @property
    def profile(self) -> str:
        """As ``tests.e2e.cluster.load`` takes it."""
        return profile(self.capacity)

    def first_new_ready_s(self) -> float:
        """From the step to the first pod that was not there before."""
        return next(row.at for row in self.replicas if row.at > BEFORE_S and row.ready > 1) - BEFORE_S

    def recovered_s(self) -> int:
        """From the step to the first of five seconds in which 99 % were answered, and never again fewer than 95 %."""
        step = self.seconds[BEFORE_S : BEFORE_S + STEP_S]
        good = [row["answered"] >= 0.99 * row["sent"] for row in step]
        never_again = max((place for place, row in enumerate(step) if row["answered"] < 0.95 * row["sent"]), default=-1)
        return next((s for s in range(never_again + 1, STEP_S - 5) if all(good[s : s + 5])), STEP_S)

    def share(self, what: str) -> float:
        """Of the requests of the step that were ``shed`` or ``lost``."""
        step = self.seconds[BEFORE_S : BEFORE_S + STEP_S]
        return sum(row[what] for row in step) / sum(row["sent"] for row in step)  # type: ignore[literal-required]

    def lost_after(self) -> int:
        """Requests that were not answered after the step, while pods go."""
        return sum(row["shed"] + row["lost"] for row in self.seconds[BEFORE_S + STEP_S :])

    def summary(self) -> str:
        most = max(row.wanted for row in self.replicas)
        return (
            f"{self.name}: one pod {self.capacity:.0f}/s; first new pod ready after {self.first_new_ready_s():.0f} s, "
            f"recovered after {self.recovered_s()} s; of the step's requests {100 * self.share('shed'):.1f} % shed, "
            f"{100 * self.share('lost'):.2f} % lost; most pods {most}, turns {turns(self.replicas)}, "
            f"at the end {self.replicas[-1].wanted}; not answered while scaling in: {self.lost_after()}"
        )

    def write(self, file: Path) -> None:
        """As JSON."""
        file.write_text(json.dumps(asdict(self) | {"replicas": [list(row) for row in self.replicas]}))

    @classmethod
    def read(cls, file: Path) -> Run:
        found = json.loads(file.read_text())
        return cls(**found | {"replicas": [Replicas(*row) for row in found["replicas"]]})


def profile(capacity: float) -> str:
    """The load: low, high, low again."""
    return f"{LOW * capacity}x{BEFORE_S},{HIGH * capacity}x{STEP_S},{LOW * capacity}x{AFTER_S}"


def draw(runs: Sequence[Run]) -> str:
    """Offered, answered and refused requests a second; pods wanted and ready; the 99th percentile; all by second."""
    import matplotlib.pyplot as plt

    figure, rows = plt.subplots(3, len(runs), figsize=(4.2 * len(runs), 6), sharex=True, sharey="row", squeeze=False)
    figure.set_layout_engine("constrained")
    for column, run in enumerate(runs):
        load, pods, times = (row[column] for row in rows)
        seconds = range(len(run.seconds))
        load.plot(seconds, [row["sent"] for row in run.seconds], color=INK, linewidth=1, label="offered/s")
        load.plot(seconds, [row["answered"] for row in run.seconds], color=OWN, linewidth=1, label="answered/s")
        load.plot(seconds, [row["shed"] for row in run.seconds], color=OTHERS[1], linewidth=1, label="refused (429)/s")
        load.set_title(run.name, color=INK, fontsize=9)
        end = len(run.seconds)
        changes = [row for row in run.replicas if row.at < end]
        for values, style, label in (
            ([row.wanted for row in changes], "--", "pods wanted"),
            ([row.ready for row in changes], "-", "pods ready"),
        ):
            at = [max(row.at, 0.0) for row in changes]
            pods.step([*at, end], [*values, values[-1]], style, where="post", color=OTHERS[0], linewidth=1, label=label)
        times.plot(seconds, [row["p99_ms"] for row in run.seconds], color=OTHERS[2], linewidth=1, label="p99, ms")
        times.set_xlabel("s", color=INK)
    for axes in rows.flat:
        axes.axvspan(BEFORE_S, BEFORE_S + STEP_S, color=INK, alpha=0.12, linewidth=0)
        axes.set_ylim(bottom=0)
        axes.tick_params(colors=INK, labelsize=8)
        axes.legend(fontsize=7, labelcolor=INK, frameon=False, loc="upper right")
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(INK)
    return svg(figure)


def main() -> None:
    out, *files = map(Path, sys.argv[1:])
    runs = [Run.read(file) for file in files]
    out.write_text(draw(runs))
    print("\n".join(run.summary() for run in runs))


if __name__ == "__main__":
    main()
