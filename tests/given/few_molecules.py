"""The molecules model with fewer molecules and a narrow, untrained network: real in all but its answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from rdkit import Chem

from lading.artifact import Artifact, tensors_to_bytes, write_artifact
from lading.artifact.manifest import Manifest, Measurement, PackedVariant, Provenance, Ratio, Timing
from lading.build.export.export import export_module
from lading.drift.reference import Reference
from lading.predictor import open_session
from lading.spec import Example
from lading.tensors.ragged import collate
from models.molecule_graphs.properties import COMPUTED, compute
from models.molecule_graphs.smiles import read_smiles
from models.molecules import MoleculeNet, Molecules

SMILES = ("CCO", "C", "c1ccccc1", "CC(=O)O", "CC#N", "FC(F)F", "c1cc[nH]c1", "C1CC1", "O", "CCOC(C)=O", "CNC=O", "CC=C")
COSTS_MS = {1: 0.2, 2: 0.25, 4: 0.3, 8: 0.4}


class FewMolecules(Molecules):
    """Twelve molecules in every split; they are not drawn, so that a test need not wait."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"width": 16, "layers": 2, **options})

    def dataset(self, _split: str) -> list[Example]:  # type: ignore[override]
        return [(read_smiles(smiles), _targets(smiles)) for smiles in SMILES]


def network(**options: Any) -> MoleculeNet:
    """The same random weights and statistics of batch norm every time."""
    state = torch.get_rng_state()
    torch.manual_seed(0)
    try:
        module = FewMolecules(**options).build()
        for layer in module.modules():
            if isinstance(layer, torch.nn.BatchNorm1d):
                layer.running_mean = torch.randn(layer.num_features) * 0.1
                layer.running_var = torch.rand(layer.num_features) + 0.5
    finally:
        torch.set_rng_state(state)
    assert isinstance(module, MoleculeNet)
    return module.eval()


def molecules_artifact(path: Path) -> Artifact:
    """Export and pack, with a measured T(b) by which up to eight requests share a run."""
    spec = FewMolecules()
    file = path.with_suffix(".onnx")
    export_module(spec, network(), file)
    session = open_session(file)
    names = [tensor.name for tensor in spec.outputs]
    rows = [inputs for inputs, _ in spec.dataset("train")]
    singles = []
    for row in rows:
        answered = session.run(names, collate(spec.inputs, [row]))
        singles.append((row, {name: array[0] for name, array in zip(names, answered, strict=True)}))
    golden = collate(spec.inputs, rows[:4])
    timings = tuple(
        Timing(batch=size, threads=1, p50_ms=ms, p90_ms=ms, p99_ms=ms, low_ms=ms, high_ms=ms, runs=1)
        for size, ms in COSTS_MS.items()
    )
    measured = Measurement(
        scores={"test": 1.0},
        agreement=1.0,
        max_difference=0.0,
        size_bytes=1,
        timings=timings,
        speedup=Ratio(value=1.0, low=1.0, high=1.0),
        peak_memory_bytes=1,
    )
    packed = PackedVariant(
        variant=spec.variants[0],
        file="variants/fp32.onnx",
        precision="fp32",
        passed=True,
        golden_atol=1e-4,
        measurement=measured,
    )
    manifest = Manifest(
        name=spec.name,
        description=spec.description,
        inputs=spec.inputs,
        outputs=spec.outputs,
        chosen="fp32",
        variants=(packed,),
        provenance=Provenance(created="2026-01-01T00:00:00+00:00"),
    )
    files: dict[str, bytes | Path] = {
        "variants/fp32.onnx": file,
        "golden/inputs.npz": tensors_to_bytes(golden),
        "golden/fp32.npz": tensors_to_bytes(dict(zip(names, session.run(names, golden), strict=True))),
        "reference.json": Reference.fit(spec.inputs, spec.outputs, singles).to_json().encode(),
    }
    return write_artifact(path, manifest, files)


def with_more_examples(artifact: Artifact, path: Path) -> Artifact:
    """The same with a reference of as many examples as thresholds need: each molecule eight times."""
    spec = FewMolecules()
    session = open_session(artifact.onnx_file())
    names = [tensor.name for tensor in spec.outputs]
    singles = []
    for row, _ in spec.dataset("train"):
        answered = session.run(names, collate(spec.inputs, [row]))
        singles.append((row, {name: array[0] for name, array in zip(names, answered, strict=True)}))
    files: dict[str, bytes | Path] = {name: artifact.path / name for name in artifact.manifest.files}
    files["reference.json"] = Reference.fit(spec.inputs, spec.outputs, singles * 8).to_json().encode()
    return write_artifact(path, artifact.manifest, files)


def _targets(smiles: str) -> dict[str, Any]:
    values = compute(Chem.MolFromSmiles(smiles)).astype(np.float32)
    return {prop.name: np.asarray(value) for prop, value in zip(COMPUTED, values, strict=True)}
