"""The proof's plots, as small SVG that reads on light and on dark paper."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, OWN, OTHERS = "#7d8590", "#3fb950", ("#2f81f7", "#d29922", "#a371f7")
Points = Mapping[str, Sequence[Mapping[str, float]]]


def throughput(rates: Mapping[str, float], limit: float, model: str) -> str:
    """Bars of requests per second, with the limit of the machine as a line."""
    figure, axes = _axes("requests/s on one core, closed loop", "")
    names = sorted(rates, key=lambda name: rates[name])
    bars = axes.barh(names, [rates[name] for name in names], color=[_colour(name, 0) for name in names])
    axes.bar_label(bars, fmt=" %.0f", color=INK, fontsize=8)
    if model == "cards":
        axes.axvline(limit, color=INK, linestyle=":")
        axes.text(limit, -0.9, " L_pipe", color=INK, fontsize=8)
    axes.margins(x=0.12)
    return svg(figure)


def latency(points: Points) -> str:
    """p50 and p99 over the offered load, up to each server's own peak."""
    figure, axes = _axes("offered requests/s", "ms from the intended send time")
    for number, (name, found) in enumerate(points.items()):
        below = [one for one in found if one["share"] <= 1.0]
        offered = [one["offered"] for one in below]
        for key, style in (("p50", "-"), ("p99", "--")):
            values = [one[key] for one in below]
            axes.plot(offered, values, style, marker="o", ms=3, color=_colour(name, number), label=f"{name} {key}")
    axes.set_yscale("log")
    axes.legend(fontsize=7, labelcolor=INK, frameon=False)
    return svg(figure)


def goodput(points: Points, deadline_ms: float) -> str:
    """Answers within the deadline over the offered load, both as shares of the peak."""
    figure, axes = _axes(
        "offered, times the server's own peak", f"answered within {deadline_ms:g} ms, share of the peak"
    )
    for number, (name, found) in enumerate(points.items()):
        shares = [one["share"] for one in found]
        axes.plot(shares, [one["within"] for one in found], marker="o", ms=3, color=_colour(name, number), label=name)
    axes.axhline(1.0, color=INK, linestyle=":", linewidth=0.8)
    axes.set_ylim(0, 1.1)
    axes.legend(fontsize=7, labelcolor=INK, frameon=False)
    return svg(figure)


def batch_cost(seconds: Mapping[int, float]) -> str:
    """Microseconds an example over the size of the batch it was run in."""
    figure, axes = _axes("examples in a run", "microseconds an example")
    axes.plot(list(seconds), [1e6 * took / size for size, took in seconds.items()], marker="o", ms=3, color=OWN)
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(seconds), [str(size) for size in seconds])
    axes.set_ylim(bottom=0)
    return svg(figure)


def _colour(name: str, number: int) -> str:
    return OWN if name.startswith("lading") else OTHERS[number % len(OTHERS)]


def _axes(x: str, y: str) -> tuple[Figure, Axes]:
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    # Text stays text, and the ids are the same in every run.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "lading"})
    figure, axes = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)
    axes.tick_params(colors=INK, labelsize=8)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(INK)
    return figure, axes


def svg(figure: Figure) -> str:
    import matplotlib.pyplot as plt

    stream = io.StringIO()
    figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    plt.close(figure)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"
