"""The results as one table of goals, one of peers, and plots."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.server import plots
from benchmarks.server.closed_loop import steady_ones
from benchmarks.server.open_loop import DEADLINE_MS
from benchmarks.server.peer_list import FRAMEWORKS

Rounds = list[dict[str, Any]]


@dataclass(frozen=True)
class Row:
    """One line of the table of goals."""

    measure: str
    goal: float
    found: float
    unit: str = ""
    least: bool = True
    """The goal is a least value; else a largest."""
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        return self.found >= self.goal if self.least else self.found <= self.goal

    def line(self) -> str:
        """In Markdown."""
        goal = f"{'>=' if self.least else '<='} {self.goal:g}{self.unit}"
        verdict = "met" if self.met else "missed"
        return f"| {self.measure} | {goal} | {self.found:.3g}{self.unit} | {verdict} | {self.note} |"


@dataclass(frozen=True)
class Results:
    """The rounds of every measurement; an empty list where there is none yet."""

    peers: dict[str, Rounds]
    shares: Rounds
    loads: dict[str, Rounds]
    start: Rounds

    @classmethod
    def read(cls, folder: Path) -> Results:
        """Read the files that :func:`benchmarks.server.bench.add_round` wrote."""
        rounds = {file.stem: json.loads(file.read_text())["rounds"] for file in sorted(folder.glob("*.json"))}
        return cls(
            {name.removeprefix("peers-"): found for name, found in rounds.items() if name.startswith("peers-")},
            rounds.get("shares", []),
            {name.removeprefix("loads-cards-"): found for name, found in rounds.items() if name.startswith("loads-")},
            rounds.get("start", []),
        )


def write(results: Path, out: Path) -> None:
    """Write ``table.md`` and the plots."""
    found = Results.read(results)
    out.mkdir(parents=True, exist_ok=True)
    parts = [goals_table(goal_rows(found))]
    for model, rounds in found.peers.items():
        parts.append(peers_table(model, rounds))
        rates = {name: median_rate(rounds, name) for name in names_in(rounds)}
        limit = _middle(turn["limit"] for one in rounds for entry in one["peers"].values() for turn in entry["turns"])
        (out / f"throughput-{model}.svg").write_text(plots.throughput(rates, limit, model))
    if found.loads:
        points = {name: load_points(rounds) for name, rounds in found.loads.items()}
        (out / "latency.svg").write_text(plots.latency(points))
        (out / "goodput.svg").write_text(plots.goodput(points, DEADLINE_MS))
        parts.append(loads_table(points))
    (out / "table.md").write_text("\n\n".join(parts) + "\n")


def goal_rows(results: Results) -> list[Row]:
    """Every goal that something was measured for."""
    rows: list[Row] = []
    for name, goal in (("REST", 0.92), ("REST, OIP with binary tensors", 0.92), ("gRPC", 0.88)):
        if results.shares:
            rows.append(Row(f"cards, JPEG in, {name}: share of L_pipe", goal, share_of_limit(results.shares, name)))
    for model, frameworks, tuned in (("cards", 1.7, 1.5), ("tiny", 8.0, 4.0), ("molecules", 8.0, 4.0)):
        rounds = results.peers.get(model, [])
        there = names_in(rounds)
        rivals = [name for name in FRAMEWORKS if name in there]
        if rivals and "lading" in there:
            best = max(rivals, key=lambda name: median_rate(rounds, name))
            rows.append(Row(f"{model}: times the best framework", frameworks, times(rounds, best), "x", note=f"{best}"))
        if "fastapi_onnxruntime" in there and "lading" in there:
            rows.append(
                Row(
                    f"{model}: times hand-tuned FastAPI + ONNX Runtime",
                    tuned,
                    times(rounds, "fastapi_onnxruntime"),
                    "x",
                )
            )
        if "fastapi_torch" in there and "lading" in there:
            rows.append(
                Row(f"{model}: times FastAPI + torch eager, core for core", 12.0, times(rounds, "fastapi_torch"), "x")
            )
    if results.shares:
        ratio = share_of_limit(results.shares, "port 3000") / share_of_limit(results.shares, "port 8080 beside it")
        rows.append(Row("BentoML's port 3000: share of port 8080", 0.9, ratio))
    if "lading" in results.loads:
        rows += _load_rows(load_points(results.loads["lading"]))
    if results.start:
        rows.append(Row("process start to ready", 0.7, median(results.start, "start_s"), " s", least=False))
        rows.append(Row("resident memory after load", 160.0, median(results.start, "loaded_mb"), " MB", least=False))
    return rows


def _load_rows(points: Sequence[dict[str, float]]) -> list[Row]:
    at = {point["share"]: point for point in points}
    most = max(point["within"] for point in points)
    return [
        Row(f"goodput within {DEADLINE_MS:g} ms at 3x capacity: share of peak", 0.95, at[3.0]["within"]),
        Row(f"the same as a share of the highest goodput in open loop ({most:.3f})", 0.95, at[3.0]["within"] / most),
        Row("p99 of what is served at 3x capacity", DEADLINE_MS, at[3.0]["p99"], " ms", least=False),
        Row("p99 / p50 at 70 % load", 2.5, at[0.7]["p99"] / at[0.7]["p50"], "x", least=False),
    ]


def goals_table(rows: Iterable[Row]) -> str:
    """Markdown."""
    head = ["| measure | goal | found | | |", "|---|---|---|---|---|"]
    return "\n".join([*head, *(row.line() for row in rows)])


def peers_table(model: str, rounds: Rounds) -> str:
    """Markdown: medians over the rounds, fastest first."""
    unit = "L_pipe" if model == "cards" else "L_model"
    lines = [
        f"| {model} | requests/s | share of {unit} | lading is faster by | p50 ms | p99 ms | ready s | resident MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    there = names_in(rounds)
    for name in sorted(there, key=lambda one: -median_rate(rounds, one)):
        entries = [one["peers"][name] for one in rounds if name in one["peers"]]
        share = _middle(turn["rate"] / turn["limit"] for entry in entries for turn in entry["turns"])
        p50, p99 = (statistics.median(one["load"]["percentiles"][key] for one in entries) for key in ("50", "99"))
        faster = f"{times(rounds, name):.2f}x" if "lading" in there else ""
        ready, memory = (statistics.median(one[key] for one in entries) for key in ("start_s", "resident_mb"))
        lines.append(
            f"| {name} | {median_rate(rounds, name):.0f} | {share:.3f} | {faster} | {p50:.2f} | {p99:.2f} "
            f"| {ready:.1f} | {memory:.0f} |"
        )
    return "\n".join(lines)


def loads_table(points: dict[str, list[dict[str, float]]]) -> str:
    """Markdown: goodput and latency by offered load."""
    lines = [
        "| server | offered, times its peak | within the deadline, share of peak | p50 ms | p99 ms |",
        "|---|---|---|---|---|",
    ]
    for name, found in points.items():
        lines += [
            f"| {name} | {one['share']:g} | {one['within']:.3f} | {one['p50']:.2f} | {one['p99']:.2f} |"
            for one in found
        ]
    return "\n".join(lines)


def load_points(rounds: Rounds) -> list[dict[str, float]]:
    """Medians over the rounds by offered share of the peak."""
    by_share: dict[float, list[dict[str, float]]] = {}
    for share in {load["share"] for one in rounds for load in one["loads"]}:
        of_share = [load for one in rounds for load in one["loads"] if load["share"] == share]
        for load in steady_ones(of_share):
            point = {
                "within": load["within"] / load["peak"],
                "offered": load["share"] * load["peak"],
                "p50": load["percentiles"]["50"],
                "p99": load["percentiles"]["99"],
            }
            by_share.setdefault(load["share"], []).append(point)
    return [
        {"share": share} | {key: statistics.median(one[key] for one in found) for key in found[0]}
        for share, found in sorted(by_share.items())
    ]


def names_in(rounds: Rounds) -> list[str]:
    """The peers that answered in at least one round."""
    return list(dict.fromkeys(name for one in rounds for name in one["peers"]))


def median_rate(rounds: Rounds, name: str) -> float:
    """Requests per second."""
    return _middle(one["peers"][name]["load"]["rate"] for one in rounds if name in one["peers"])


def times(rounds: Rounds, name: str) -> float:
    """How many times as fast as a peer Lading is: the median of all turns' ratios."""
    entries = [one["peers"][name] for one in rounds if name in one["peers"]]
    return _middle(turn["lading"] / turn["rate"] for entry in entries for turn in entry["turns"])


def share_of_limit(rounds: Rounds, name: str) -> float:
    """The median of the shares of all turns in which the machine's speed did not change."""
    turns = steady_ones([turn for one in rounds for turn in one["paths"][name]])
    return _middle(turn["rate"] / turn["limit"] for turn in turns)


def median(rounds: Rounds, key: str) -> float:
    """Of one number a round."""
    return _middle(one[key] for one in rounds)


def _middle(values: Iterable[float]) -> float:
    return float(statistics.median(values))
