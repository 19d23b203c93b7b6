"""Which labels a model takes for which, counted and drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lading.spec import Array


def confusion_counts(targets: Array, predicted: Array, classes: int) -> NDArray[np.int64]:
    """Count (true, predicted) pairs.

    Args:
        targets: class indexes (n,).
        predicted: class indexes (n,).
        classes: number of classes.

    Returns:
        int64 (classes, classes), rows true.
    """
    counts = np.bincount(targets.astype(np.int64) * classes + predicted.astype(np.int64), minlength=classes * classes)
    return counts.reshape(classes, classes)


def plot_confusion(counts: NDArray[np.int64], labels: Sequence[str], path: Path, *, title: str) -> None:
    """Draw counts as shares of each true label, with the counts written in, and write a PNG."""
    from matplotlib.figure import Figure

    size = 2.2 + 0.42 * len(labels)
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in zip(*np.nonzero(counts), strict=True):
        colour = "white" if shares[row, column] > 0.6 else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="predicted", ylabel="true", title=title)
    figure.savefig(path, dpi=110)
