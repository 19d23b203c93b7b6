"""The report's plots, as SVG that reads on light and on dark paper."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lading.measurement import Timing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

INK = "#7d8590"
PASSED, REFUSED, CHOSEN = "#2f81f7", "#d29922", "#3fb950"


def score_against_latency(points: Sequence[tuple[str, float, float, str]], score_name: str) -> str:
    """Scatter variants: (name, p50 ms, score, colour)."""
    figure, axes = _axes("p50, ms at batch 1 on one thread", score_name)
    for name, latency, score, colour in points:
        axes.scatter([latency], [score], color=colour, s=46, zorder=3)
        axes.annotate(name, (latency, score), xytext=(5, 5), textcoords="offset points", color=INK, fontsize=8)
    axes.set_xscale("log")
    axes.margins(x=0.18, y=0.2)
    _plain_numbers(axes.xaxis)
    return _svg(figure)


def latency_by_batch(timings: Mapping[str, Sequence[Timing]], chosen: str | None) -> str:
    """Lines of milliseconds an example over the batch size, one thread."""
    figure, axes = _axes("batch size", "p50, ms an example on one thread")
    for name, found in timings.items():
        single = sorted((timing for timing in found if timing.threads == 1), key=lambda timing: timing.batch)
        style = {"color": CHOSEN, "linewidth": 2.6} if name == chosen else {"linewidth": 1.1}
        batches = [timing.batch for timing in single]
        axes.plot(batches, [timing.p50_ms / timing.batch for timing in single], marker="o", ms=3, label=name, **style)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    _plain_numbers(axes.xaxis)
    _plain_numbers(axes.yaxis)
    axes.legend(fontsize=7, labelcolor=INK, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _svg(figure)


def sizes(megabytes: Mapping[str, float], colours: Mapping[str, str]) -> str:
    """Bars of file sizes in MiB."""
    figure, axes = _axes("MiB", "")
    names = list(megabytes)[::-1]
    bars = axes.barh(names, [megabytes[name] for name in names], color=[colours[name] for name in names])
    axes.bar_label(bars, fmt=" %.2f", color=INK, fontsize=8)
    axes.margins(x=0.15)
    return _svg(figure)


def _plain_numbers(axis: Axis) -> None:
    """1.5 and not a power of ten."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
    axis.set_minor_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))


def _axes(x: str, y: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.8), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.subplots()
    axes.patch.set_alpha(0)
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)
    axes.tick_params(colors=INK, which="both", labelsize=8)
    axes.grid(alpha=0.25, color=INK)
    for side, spine in axes.spines.items():
        spine.set_color(INK)
        spine.set_visible(side in ("left", "bottom"))
    return figure, axes


def _svg(figure: Figure) -> str:
    import matplotlib

    stream = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "lading", "font.family": "sans-serif"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]
