"""How often is drift found, and how often is it a false alarm? Decision 12: resample whole groups of examples.

    python -m benchmarks.studies.0012_drift_power cards build/cards/variants/fp32.onnx

References are fitted on one half of the decks and requests come from the other half, so that no live request is of a
deck in the reference. Molecules are halved one by one. The server's own code decides what has drifted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal
from unittest.mock import patch

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.studies.drift.pools import Pool, Pools, card_pools, molecule_pools
from benchmarks.studies.drift.traffic import Counts, Traffic
from lading.build.examples import spread_indices
from lading.build.pack import REFERENCE_EXAMPLES
from lading.drift.reference import Reference
from lading.drift.window import BLOCKS, merged, scores_of
from lading.import_string import load_spec
from lading.record.drift_monitor import ALARMS
from lading.spec import Example, ModelSpec

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
console = Console(width=150)
SIZE = {"cards": 240, "molecules": 40_000}
"""Decks, or molecules, to draw from."""
SIZES = (100, 200, 300, 500)
WINDOW = 500
DAY = 1440
"""Evaluations: one a minute at most."""
PENDING = 16
"""Evaluations in a row that the alert waits for: 15 minutes."""
TRAFFIC = (Traffic(1), Traffic(5), Traffic(20))
"""Behaviour of clients: each request from its own group, or 5 or 20 requests from one."""
USUAL = TRAFFIC[1]
SHARES = (0.25, 1.0)
"""Of the requests that a shift concerns."""
Method = Literal["single", "unknown", "group"]
METHODS: dict[Method, str] = {
    "single": "single examples resampled (before)",
    "unknown": "no group known: clustering seen in the window",
    "group": "groups resampled",
}
MODELS: dict[str, tuple[str, Callable[[ModelSpec, Path, int], Pools]]] = {
    "cards": ("models/cards.py:Cards", card_pools),
    "molecules": ("models/molecules.py:Molecules", molecule_pools),
}


@dataclass(frozen=True)
class Trial:
    """A reference of one half of the groups, and the examples of the other half."""

    references: dict[Method, Reference]
    live: Pool


def trials(spec: ModelSpec, pools: Pools, count: int) -> list[Trial]:
    """Halve the groups or the examples at random, that many times."""
    found = []
    plain = pools.plain
    units: list[Hashable] = plain.groups if pools.halved == "groups" else list(range(len(plain.examples)))
    names = list(dict.fromkeys(units))
    for seed in track(range(count), "references", console=console, transient=True):
        rng = np.random.default_rng(seed)
        halved = {names[index] for index in rng.permutation(len(names))[: len(names) // 2]}
        known = first_of_each(plain.groups, [i for i, unit in enumerate(units) if unit in halved], pools.of_a_group)
        live = [index for index, unit in enumerate(units) if unit not in halved]
        known = [known[index] for index in spread_indices(len(known), REFERENCE_EXAMPLES)]
        single = fit(spec, plain, known, by_group=False)
        references: dict[Method, Reference] = {
            "single": single,
            "unknown": single,
            "group": fit(spec, plain, known, by_group=True),
        }
        found.append(Trial(references, Pool([plain.examples[i] for i in live], [plain.groups[i] for i in live])))
    return found


def first_of_each(groups: Sequence[Hashable], indexes: Sequence[int], most: int) -> list[int]:
    """Of the indexes at most that many of each group."""
    taken: Counter[Hashable] = Counter()
    kept = []
    for index in indexes:
        taken[groups[index]] += 1
        if taken[groups[index]] <= most:
            kept.append(index)
    return kept


def fit(spec: ModelSpec, pool: Pool, indexes: Sequence[int], *, by_group: bool) -> Reference:
    """A reference of examples whose features are computed already."""
    with patch("lading.drift.reference.example_features", lambda _inputs, _outputs, given, _answered: given):
        examples: list[Example] = [(pool.examples[index], {}) for index in indexes]
        groups = [pool.groups[index] for index in indexes] if by_group else None
        return Reference.fit(spec.inputs, spec.outputs, examples, groups)


def drifted(reference: Reference, counts: Counts, window: NDArray[np.intp], method: Method, alarms: float) -> list[str]:
    """The features whose distance is above its threshold."""
    blocks = [counts.block(part) for part in np.array_split(window, BLOCKS)]
    if method == "single":
        blocks = [merged(reference, blocks)]
    return [score.feature for score in scores_of(reference, blocks, alarms) if score.drifted]


def false_alarms(tried: Sequence[Trial], method: Method, traffic: Traffic, evaluations: int) -> tuple[float, float]:
    """Evaluations that found drift, and alerts that would have been sent, each a day, though nothing shifted."""
    found, alerts = 0, 0
    for seed, trial in enumerate(tried):
        counts = Counts(trial.references[method], trial.live.examples)
        stream = traffic.draw(trial.live.groups, evaluations * WINDOW, np.random.default_rng(seed))
        run = 0
        for window in stream.reshape(evaluations, WINDOW):
            alarm = bool(drifted(trial.references[method], counts, window, method, ALARMS))
            run = run + 1 if alarm else 0
            found += alarm
            alerts += run == PENDING
    days = evaluations * len(tried) / DAY
    return found / days, alerts / days


def power(tried: Sequence[Trial], pool: Pool, windows: int) -> dict[tuple[float, int], list[list[str]]]:
    """The features that find a shift in each window, by the share of requests that it concerns and window size."""
    found: dict[tuple[float, int], list[list[str]]] = {}
    for seed, trial in enumerate(tried):
        plain = trial.live.examples
        counts = Counts(trial.references["group"], plain + pool.examples)
        rng = np.random.default_rng(seed)
        for share in SHARES:
            for size in SIZES:
                usual = USUAL.draw(trial.live.groups, windows * size, rng)
                other = USUAL.draw(pool.groups, windows * size, rng) + len(plain)
                stream = np.where(rng.random(windows * size) < share, other, usual)
                found.setdefault((share, size), []).extend(
                    drifted(trial.references["group"], counts, window, "group", ALARMS)
                    for window in stream.reshape(windows, size)
                )
    return found


@app.command()
def main(
    model: Annotated[Literal["cards", "molecules"], typer.Argument()],
    graph: Annotated[Path, typer.Argument(help="the variant's ONNX file")],
    *,
    size: Annotated[
        int | None, typer.Option(help="decks (default: 240) or molecules (default: 40000) to draw from")
    ] = None,
    references: Annotated[int, typer.Option(help="halvings of the groups")] = 4,
    evaluations: Annotated[int, typer.Option(help="a reference, for false alarms")] = DAY,
    windows: Annotated[int, typer.Option(help="a reference, shift and size")] = 25,
    out: Annotated[Path | None, typer.Option(help="JSON file to write")] = None,
) -> None:
    """Print false alarms a day by traffic and method, and the share of windows in which each shift is found."""
    target, make = MODELS[model]
    spec = load_spec(target)
    pools = make(spec, graph, size or SIZE[model])
    tried = trials(spec, pools, references)
    effects = ", ".join(f"{trial.references['group'].design_effect:.2f}" for trial in tried)
    console.print(f"{len(set(pools.plain.groups))} groups, {len(pools.plain.examples)} examples, effects {effects}")
    imagined = Table("evaluations that alarm (alerts sent), a day", *map(str, TRAFFIC))
    rates = {}
    for method, title in METHODS.items():
        rates[title] = [false_alarms(tried, method, traffic, evaluations) for traffic in TRAFFIC]
        imagined.add_row(title, *(f"{found:.2f} ({alerts:.2f})" for found, alerts in rates[title]))
    console.print(imagined)
    shown = Table("shift", "requests", *map(str, SIZES), "found by")
    rows = {}
    for name, pool in track(pools.shifted.items(), "power", console=console, transient=True):
        by = power(tried, pool, windows)
        for share in SHARES:
            cells = [np.mean([bool(found) for found in by[share, size]]) for size in SIZES]
            best = Counter(feature for found in by[share, WINDOW] for feature in set(found)).most_common(3)
            rows[f"{name}, {share:.0%}"] = [float(cell) for cell in cells]
            shown.add_row(name, f"{share:.0%}", *(f"{cell:.2f}" for cell in cells), ", ".join(one for one, _ in best))
    console.print(shown)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        record = {"model": model, "alarms": ALARMS, "false_alarms_a_day": rates, "sizes": SIZES, "power": rows}
        out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    app()
