"""Export six networks once, and run them in the oldest and the newest onnxruntime that pyproject.toml allows.

    python -m tools.runtimes

Each runtime gets an environment of its own in ``build/runtimes``, with Lading's dependencies and without torch. The
answers at batches of 1, 2 and 7 are compared with torch's. A network that cannot be exported is a sentence. The exit
code is 1 if a runtime gives another answer, or does not open what was exported.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from lading.artifact import tensors_to_bytes
from lading.artifact.graph_versions import graph_versions
from lading.build.export.export import export_module
from lading.build.export.lowest_versions import with_lowest_versions
from lading.errors import ExportError
from lading.files import write_atomically
from tools.runtimes.networks import NETWORKS, Network

ROOT = Path(__file__).parents[2]
BATCHES = (1, 2, 7)
CLOSE = 1e-4
"""Largest allowed difference from torch, as a share of the largest answer."""
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def requirements() -> dict[str, str]:
    """The oldest and the newest onnxruntime, as a requirement by name. `lading` itself asks for the bound."""
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (bound,) = (line for line in dependencies if re.match(r"onnxruntime\b", line))
    lowest = re.search(r">=([\d.]+)", bound)
    assert lowest, f"pyproject.toml has no lower bound in {bound!r}"
    return {"oldest": f"onnxruntime=={lowest[1]}.*", "newest": bound}


def exported(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Export the networks, and write requests with torch's answers next to them; a sentence for each refusal."""
    refused = {}
    for name in names:
        spec = Network(name)
        module = spec.build()
        file = folder / f"{name}.onnx"
        try:
            export_module(spec, module, file)
        except ExportError as error:
            refused[name] = "; ".join(error.failures)
            continue
        write_atomically(file, with_lowest_versions(file.read_bytes()))  # as every variant is written
        shape = [int(dim) for dim in spec.inputs[0].shape[1:]]
        for batch in BATCHES:
            given = np.random.default_rng(batch).standard_normal((batch, *shape)).astype(np.float32)
            with torch.inference_mode():
                answer = module(torch.from_numpy(given)).numpy()
            saved = tensors_to_bytes({spec.inputs[0].name: given, "answer": answer})
            (folder / f"{name}-{batch}.npz").write_bytes(saved)
    return refused


def installed(which: str, requirement: str) -> Path:
    """The interpreter of an environment with this runtime, Lading and its dependencies."""
    uv, place = Path(sys.executable).with_name("uv"), ROOT / "build" / "runtimes" / which
    # An older patch of the oldest release is what the bound allows, so the lowest one is taken.
    resolution = "lowest-direct" if which == "oldest" else "highest"
    subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, place], check=True)
    python = place / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    install: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", python]
    subprocess.run([*install, "--resolution", resolution, "--upgrade", requirement], check=True)
    subprocess.run([*install, ROOT], check=True)
    return python


def answers(python: Path, folder: Path) -> tuple[str, dict[str, dict[str, float | str]]]:
    """The version of a runtime, and what it answers."""
    script = Path(__file__).with_name("answer.py")
    done = subprocess.run([python, script, folder], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{python} cannot answer:\n{done.stderr}")
    found = json.loads(done.stdout)
    return found["onnxruntime"], found["differences"]


def shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.0e}"


def failures(version: str, found: Mapping[str, Mapping[str, float | str]]) -> list[str]:
    """A sentence for each answer that is not torch's."""
    return [
        f"{name} in onnxruntime {version}, batch {batch}: {shown(value)}"
        for name, by_batch in found.items()
        for batch, value in by_batch.items()
        if isinstance(value, str) or not value <= CLOSE
    ]


@app.command(help=__doc__)
def main(
    only: Annotated[str, typer.Option(help="networks, with commas between; default: all")] = ",".join(NETWORKS),
) -> None:
    console = Console(soft_wrap=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        refused = exported(folder, only.split(","))
        table = Table("network", "versions", "onnxruntime", *(f"batch {batch}" for batch in BATCHES))
        wrong = []
        for which, requirement in requirements().items():
            version, found = answers(installed(which, requirement), folder)
            wrong += failures(version, found)
            for network, by_batch in found.items():
                versions = str(graph_versions(folder / f"{network}.onnx"))
                table.add_row(network, versions, version, *(shown(value) for value in by_batch.values()))
    console.print(table)
    for network, why in refused.items():
        console.print(f"{network} is refused: {why}", markup=False)
    for sentence in wrong:
        console.print(f"another answer: {sentence}", markup=False, style="red")
    if wrong or len(refused) == len(only.split(",")):
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
