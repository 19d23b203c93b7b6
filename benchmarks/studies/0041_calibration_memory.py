"""How much memory does static calibration take? Decision 41: as much for 1,000 pictures as for 100, below 2 GiB.

    python -m benchmarks.studies.0041_calibration_memory

The cards model's network is quantized by every method of calibration, with photos of 224 x 224 that are drawn first and
then decoded as they are read. Each figure is the peak of a new process (VmHWM) that runs the whole quantize stage, but
for the timing of forms and the search. It takes about ten minutes on two cores, and more with other networks.
"""

from __future__ import annotations

import re
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, get_args

import numpy as np
import torch
import typer
from rich.table import Table

from benchmarks.server.bench import console
from lading.build.export.export import export_module
from lading.build.quantize.calibration import Method
from lading.build.quantize.quantize import quantize
from lading.build.records import read_variants, write_export
from lading.spec import Quantization, Variant
from models.cards import EXAMPLES, Backbone, Cards

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
METHODS: tuple[Method, ...] = get_args(Method)
LIMIT = 2**31
"""Bytes that no method may take."""
FLAT = 1.1
"""Largest peak of a method, as a share of its smallest, for which memory counts as flat."""


def quantized(backbone: Backbone, exported: Path, method: Method, count: int) -> tuple[int, int]:
    """Quantize in this process. Returns its peak before and after, in bytes."""
    settings = Quantization(
        method="static", calibration=method, calibration_examples=count, form="all", sensitivity_search=False
    )
    spec = Cards(backbone=backbone, train_examples=min(count, EXAMPLES["train"]))
    spec.variants = (Variant(name="int8", quantization=settings),)
    before = peak()
    with tempfile.TemporaryDirectory() as folder:
        (entry,) = read_variants(quantize(spec, exported, Path(folder) / "variants"))
    assert entry.problem is None, entry.problem
    assert entry.details["calibration_examples"] == count
    return before, peak()


def peak() -> int:
    """The most bytes of memory that this process has held."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024


def exported_network(backbone: Backbone, folder: Path) -> Path:
    """Its graph, with random weights: memory does not depend on them."""
    torch.manual_seed(0)
    spec = Cards(backbone=backbone)
    folder.mkdir()
    write_export(folder, [export_module(spec, spec.build(), folder / "fp32.onnx")])
    return folder


@app.command(help=__doc__)
def main(
    backbones: Annotated[str, typer.Option(help="networks of the cards model, with commas between")] = (
        "mobilenet_v3_small"
    ),
    counts: Annotated[str, typer.Option(help="numbers of pictures, with commas between")] = "100,300,1000",
    methods: Annotated[str, typer.Option(help="methods of calibration, with commas between")] = ",".join(METHODS),
) -> None:
    sizes = [int(word) for word in counts.split(",")]
    Cards(train_examples=max(sizes)).dataset("train").prepare()  # type: ignore[attr-defined]
    table = Table("network", "method", "at the start, MiB", *(f"{size} pictures, MiB" for size in sizes))
    peaks: dict[str, list[int]] = {}
    with tempfile.TemporaryDirectory() as name:
        for backbone in get_args(Backbone):
            if backbone not in backbones.split(","):
                continue
            exported = exported_network(backbone, Path(name) / backbone)
            for method in (one for one in METHODS if one in methods.split(",")):
                found = []
                for size in sizes:
                    # A new process for each figure: its peak never falls.
                    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                        found.append(pool.submit(quantized, backbone, exported, method, size).result())
                peaks[f"{backbone}, {method}"] = [after for _, after in found]
                start = int(np.median([before for before, _ in found]))
                table.add_row(
                    backbone, method, *(f"{bytes_ / 2**20:.0f}" for bytes_ in (start, *peaks[f"{backbone}, {method}"]))
                )
    console.print(table)
    largest, flat = (
        max(max(found) for found in peaks.values()),
        max(max(found) / min(found) for found in peaks.values()),
    )
    console.print(f"at most {largest / 2**20:.0f} MiB; the largest peak of a method is {flat:.2f} times its smallest")
    if largest > LIMIT or flat > FLAT:
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
