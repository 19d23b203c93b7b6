"""What every measurement shares: the model and its right answer, the cores, the limit, and the file of results."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import ROOT, WORK
from benchmarks.server.answers import Expected, expected_of
from benchmarks.server.limits import Limit
from lading.machine import describe_machine

console = Console(highlight=False, soft_wrap=True)
RESULTS = WORK / "results"
PACKAGES = (
    "lading",
    "onnxruntime",
    "simplejpeg",
    "cykooz-resizer",
    "pillow",
    "uvicorn",
    "uvloop",
    "httptools",
    "grpcio",
    "bentoml",
)


@dataclass(frozen=True)
class Bench:
    """One model on some cores."""

    model: str
    """``cards``, ``tiny`` or ``molecules``."""
    artifact: Path
    expected: Expected
    servers: set[int]
    """Cores of the servers."""
    loads: set[int]
    """Cores of the load generator, and of everything else."""
    limit: Limit


def bench_of(model: str, server_cores: str, load_cores: str, artifact: Path | None = None) -> Bench:
    """Find or make the artifact unless one is given, and leave the servers' cores to the servers."""
    servers, loads = cores(server_cores), cores(load_cores)
    os.sched_setaffinity(0, loads)
    artifact = artifact or artifact_of(model)
    return Bench(model, artifact, expected_of(artifact), servers, loads, Limit(model, artifact, min(servers)))


def cores(text: str) -> set[int]:
    """``0,2`` to a set."""
    return {int(part) for part in text.split(",")}


def artifact_of(model: str) -> Path:
    """The artifact that is served; the tiny one is made here."""
    if model != "tiny":
        return ROOT / "artifacts" / model
    from benchmarks.server.tiny_model import write as write_model
    from lading.build.onnx_file import pack_onnx

    artifact = WORK / "tiny"
    if not (artifact / "lading.json").exists():
        pack_onnx(write_model(WORK / "tiny.onnx"), artifact, name="tiny")
    return artifact


def read_results(name: str) -> list[dict[str, Any]]:
    """The rounds of a measurement so far."""
    path = RESULTS / f"{name}.json"
    return list(json.loads(path.read_text())["rounds"]) if path.exists() else []


def add_round(name: str, found: dict[str, Any]) -> None:
    """Add a round to a measurement's file, which also names the machine and the versions."""
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "machine": describe_machine().model_dump(mode="json"),
        "versions": {package: metadata.version(package) for package in PACKAGES},
        "rounds": [*read_results(name), {"at": datetime.now(UTC).isoformat(timespec="seconds"), **found}],
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
    console.print(f"results: {path}")
