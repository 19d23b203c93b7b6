"""Pack a bare ONNX file: it is described, measured and gated like any other model."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lading.artifact import Artifact, read_tensors
from lading.build.examples import open_graph
from lading.build.onnx_reader import BareModel, check_calibration, read_bare, read_labels
from lading.build.pack import pack
from lading.build.quantize.quantize import quantize
from lading.build.records import ExportedGraph, graph_file, require_passed, write_export
from lading.errors import ArtifactError, WrapError
from lading.spec import BATCH, Array, Budget, Evaluated, Example, Quantization, Variant, check_spec
from lading.tensors.agreement import relative_error, same_label
from lading.tensors.random import random_inputs

MADE_UP = 32
"""Number of random requests to measure with, if there are no calibration data."""
SYMBOLIC_SIZE = 32
"""Size of symbolic dims other than the batch in random requests."""
FP32 = Variant(name="fp32", max_score_drop=0.0, required=True)
INT8 = Variant(name="int8", quantization=Quantization(method="static"))


def pack_onnx(
    file: Path,
    out: Path,
    *,
    name: str,
    labels: Path | None = None,
    calibration: Path | None = None,
) -> Artifact:
    """Wrap an ONNX file as an artifact.

    Args:
        file: the graph, with its external data next to it.
        out: the artifact directory.
        name: of the model.
        labels: text file with one label per line. It applies to outputs with that many entries in the last dim.
        calibration: ``.npz`` of inputs by name, each with the examples along the first dim. With it an int8 variant is
            built, compared with the float32 one on half of the examples, and served if it is faster. It also gives the
            golden inputs and the reference statistics; without it, the golden inputs are random and there are no
            statistics.

    Raises:
        WrapError: the file, the labels or the calibration data cannot be used.
        SpecError: the name cannot be a model's name.
    """
    from lading.build.verify.verify import verify

    bare = read_bare(file, read_labels(labels) if labels else None)
    arrays = _read_calibration(calibration, bare) if calibration else None
    spec = WrappedOnnx(name, bare, arrays, description=f"wrapped from {file.name}")
    check_spec(spec)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        exported = _export(bare, work / "export")
        variants = quantize(spec, exported, work / "variants")
        verification = verify(spec, variants, work / "verify")
        require_passed(verification)
        return pack(spec, variants, verification, out)


class WrappedOnnx(Evaluated):
    """A model without targets: its variants are compared with the float32 answers of the graph."""

    score_name = "agreement with fp32"
    budget = Budget()

    def __init__(
        self, name: str, bare: BareModel, arrays: Mapping[str, Array] | None = None, *, description: str = ""
    ) -> None:
        self.name = name
        self.description = description
        self.inputs, self.outputs = bare.inputs, bare.outputs
        self.variants = (FP32, INT8) if arrays else (FP32,)
        self._real = arrays is not None
        self._inputs = dict(arrays) if arrays else self._made_up()
        session = open_graph(bare.model)
        names = [tensor.name for tensor in bare.outputs]
        rows = [session.run(names, {k: v[i : i + 1] for k, v in self._inputs.items()}) for i in range(len(self))]
        self._answers = [{n: array[0] for n, array in zip(names, row, strict=True)} for row in rows]

    def __len__(self) -> int:
        return len(next(iter(self._inputs.values())))

    def dataset(self, split: str) -> list[Example]:
        """Every second example calibrates, the others score. Random inputs are no training data."""
        if split == "train" and not self._real:
            return []
        indices = range(0 if split == "train" or not self._real else 1, len(self), 2 if self._real else 1)
        return [({name: array[i] for name, array in self._inputs.items()}, self._answers[i]) for i in indices]

    def score(self, outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
        """Mean over the outputs: share of equal labels or integers, or 1 minus the relative error of other numbers."""
        return float(np.mean([self._agreement(t.name, outputs[t.name], targets[t.name]) for t in self.outputs]))

    def _made_up(self) -> dict[str, Array]:
        dims = {dim: SYMBOLIC_SIZE for tensor in self.inputs for dim in tensor.symbolic_dims}
        return random_inputs(self.inputs, {**dims, BATCH: MADE_UP}, np.random.default_rng(0))

    def _agreement(self, name: str, got: Array, wanted: Array) -> float:
        spec = next(tensor for tensor in self.outputs if tensor.name == name)
        if spec.labels:
            return float(np.mean(same_label(wanted, got)))
        if wanted.dtype.kind != "f":
            return float(np.mean(got == wanted))
        return max(0.0, 1.0 - relative_error({name: wanted}, {name: got}))


def _read_calibration(file: Path, bare: BareModel) -> dict[str, Array]:
    try:
        arrays = read_tensors(file)
    except ArtifactError as error:
        raise WrapError(f"the calibration data cannot be read: {error}; save them with numpy.savez") from None
    check_calibration(file, bare.inputs, arrays)
    return arrays


def _export(bare: BareModel, folder: Path) -> Path:
    """Write what the export stage would write."""
    folder.mkdir()
    (folder / graph_file(0.0)).write_bytes(bare.model.SerializeToString(deterministic=True))
    opset = next((entry.version for entry in bare.model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    parameters = sum(int(np.prod(initializer.dims)) for initializer in bare.model.graph.initializer)
    graph = ExportedGraph(
        file=graph_file(0.0), pruning=0.0, checkpoint="", max_difference=0.0, opset=opset, parameters=parameters
    )
    write_export(folder, [graph])
    return folder
