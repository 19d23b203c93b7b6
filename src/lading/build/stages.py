"""The stages after training leave a record of what their files were made of, and a build uses those files again.

The record, ``made_of.json``, is removed before a stage begins and written after its last file. It has digests of what
went in and of what came out, and no path, so a work folder may be copied to another machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from lading import __version__
from lading.build.facts import DIGEST, Facts, data_facts, differences, digest_of, flat, listed, source_facts
from lading.build.fingerprint import Fingerprints
from lading.build.records import (
    EXPORT_FILE,
    VARIANTS_FILE,
    VERIFICATION_FILE,
    Effort,
    Verification,
    graph_file,
    read_export,
    read_variants,
)
from lading.errors import ArtifactError, QuantizationError
from lading.files import check_unused, write_atomically
from lading.machine import describe_machine
from lading.spec import Evaluated, ModelSpec

MADE_OF = "made_of.json"
REPORT = "report.html"
Result = TypeVar("Result")


@dataclass(frozen=True)
class Stage:
    """One stage of a build, with its folder."""

    name: str
    folder: Path
    facts: Facts
    """What its files are made of."""
    same: str
    """What is the same when they are used again, in words."""
    record: str
    """The stage's own file, which is written last."""

    def run(self, make: Callable[[], Result], read: Callable[[], Result], console: Console) -> Result:
        """Read the files of an earlier build, if they are made of the same; otherwise make them."""
        changes = self.changes()
        if changes == []:
            say(console, f"{self.name}: reused because {self.same} are the same")
            return read()
        say(console, f"{self.name}: {f'stale: {listed(changes)}; made again' if changes else 'made now'}")
        return self.make(make)

    def make(self, make: Callable[[], Result]) -> Result:
        """Make the files, then write the record.

        Raises:
            OccupiedError: a file of the record's name is there, and is not Lading's.
        """
        if read_record(self.folder) is None:
            check_unused(self.folder / MADE_OF)
        (self.folder / MADE_OF).unlink(missing_ok=True)
        result = make()
        files = {file: digest_of(self.folder / file) for file in self._files()}
        content = {"stage": self.name, "made_of": self.facts, "files": files}
        write_atomically(self.folder / MADE_OF, json.dumps(content, indent=2) + "\n")
        return result

    def changes(self) -> list[str] | None:
        """What is not as it was when the files were made; ``None`` if no run of this stage has ended here."""
        content = read_record(self.folder)
        if content is None or content["stage"] != self.name:
            return None
        gone = [file for file in content["files"] if not (self.folder / file).is_file()]
        edited = [
            file
            for file, digest in content["files"].items()
            if file not in gone and digest_of(self.folder / file) != digest
        ]
        return [
            *differences(content["made_of"], self.facts),
            *(f"{file} is gone" for file in gone),
            *(f"{file} was changed after it was made" for file in edited),
        ]

    def _files(self) -> list[str]:
        """The files that later stages read."""
        if self.record == EXPORT_FILE:
            graphs = [graph.file for graph in read_export(self.folder).graphs]
        elif self.record == VARIANTS_FILE:
            graphs = [entry.file for entry in read_variants(self.folder) if entry.file]
        else:
            graphs = [REPORT] if (self.folder / REPORT).is_file() else []
        return [self.record, *graphs]


def export_stage(spec: ModelSpec, folder: Path, checkpoints: Mapping[float, Path], data: Fingerprints) -> Stage:
    """The graphs, from the weights. Examples of ``valid`` are traced and compared."""
    weights = {f"weights of {graph_file(share)}": digest_of(path) for share, path in checkpoints.items()}
    facts = {
        **source_facts(spec),
        **_values(spec),
        **data_facts({"valid": data.of("valid")}),
        **weights,
        **_packages("torch", "onnx", "onnxruntime"),
    }
    return Stage("export", folder, facts, "the weights, the source and the exporter", EXPORT_FILE)


def quantize_stage(spec: Evaluated, folder: Path, exported: Path, data: Fingerprints) -> Stage:
    """The variants, from the graphs."""
    export = read_export(exported)
    files = [graph.file for graph in export.graphs]
    if gone := [file for file in files if not (exported / file).is_file()]:
        raise QuantizationError(f"{exported / gone[0]} is missing: run `lading export` again")
    graphs = {f"graph {file}": digest_of(exported / file) for file in files}
    variants = {variant.name: variant.model_dump(mode="json") for variant in spec.variants}
    facts = {
        **graphs,
        **flat(variants, "variant "),
        "missing graphs": {str(share): reason for share, reason in export.problems.items()},
        **source_facts(spec),
        **_values(spec),
        **data_facts({split: data.of(split) for split in ("train", "valid")}),
        **_packages("onnx", "onnxruntime"),
    }
    return Stage("quantize", folder, facts, "the graphs, the calibration data and the recipes", VARIANTS_FILE)


def verify_stage(
    spec: Evaluated, folder: Path, variants: Path, *, effort: Effort, weights: Path | None, data: Fingerprints
) -> Stage:
    """The measurements, on this machine: times of another one say nothing about it."""
    built = read_variants(variants)
    machine = describe_machine().model_dump(mode="json")
    facts = {
        **graph_facts(variants),
        **flat({entry.variant.name: entry.model_dump(mode="json") for entry in built}, "variant "),
        **flat(spec.budget.model_dump(mode="json"), "budget."),
        "effort": effort,
        "weights of torch": digest_of(weights) if weights else None,
        **flat(machine, "machine."),
        **source_facts(spec),
        **_values(spec),
        **data_facts({split: data.of(split) for split in spec.test_splits}),
        **_packages(),
    }
    same = "the graphs, the test data, the budget and the machine"
    return Stage("verify", folder, facts, same, VERIFICATION_FILE)


def graph_facts(variants: Path) -> dict[str, Any]:
    """The digest of each variant's graph."""
    files = sorted(entry.file for entry in read_variants(variants) if entry.file)
    return {f"graph {file}": digest_of(variants / file) for file in files if (variants / file).is_file()}


def require_measured(variants: Path, verified: Path) -> None:
    """Check that the graphs are those that verify measured.

    Raises:
        ArtifactError: a graph was made again, or verify measured another one.
    """
    content = read_record(verified)
    if content is None:  # an interrupted verify, or one by an older version
        Verification.load(verified)
        raise ArtifactError(f"{verified} does not record which graphs were measured: run `lading verify` again")
    measured = {name: value for name, value in content["made_of"].items() if name.startswith("graph ")}
    changes = differences(measured, graph_facts(variants))
    if changes:
        raise ArtifactError(f"{variants} is not what was measured: {listed(changes)}. Run `lading verify` again")


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record of a stage; ``None`` if none has ended in the folder, or the record cannot be read."""
    try:
        content = json.loads((folder / MADE_OF).read_bytes())
        return content if {"stage", "made_of", "files"} <= content.keys() else None
    except (OSError, ValueError, AttributeError):
        return None


def say(console: Console, sentence: str) -> None:
    """Print a sentence as it is."""
    console.print(sentence, markup=False, highlight=False, soft_wrap=True)


def _values(spec: Evaluated) -> dict[str, Any]:
    """What the spec declares, and the options that it was constructed with."""
    tensors = {tensor.name: tensor.model_dump(mode="json") for tensor in (*spec.inputs, *spec.outputs)}
    options = {name: value for name, value in vars(spec).items() if isinstance(value, str | int | float | bool | None)}
    return {**flat(tensors, "tensor "), **flat(options, "model.")}


def _packages(*names: str) -> dict[str, str]:
    return {"lading": __version__, "lading's code": _own()} | {name: metadata.version(name) for name in names}


@cache
def _own() -> str:
    """Digest of the code of the stages: the version alone stays the same while Lading is developed."""
    folder, whole = Path(__file__).parent, hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        if not file.is_relative_to(folder / "train"):
            whole.update(file.read_bytes())
    return DIGEST + whole.hexdigest()
