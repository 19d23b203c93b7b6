"""From verified variants to the artifact: the folder that is served."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from lading import __version__
from lading.answers import answer_kind, broken_promise
from lading.artifact import Artifact, tensors_to_bytes, write_artifact
from lading.artifact.manifest import Manifest, PackedVariant, Provenance, RefusedVariant
from lading.build.examples import BATCH_SIZE, of_one_size, runs, spread, spread_indices
from lading.build.quantize.recipes import FLOAT32_TOLERANCE, UNKNOWN_TOLERANCE, recipe_of
from lading.build.records import Verification, VerifiedVariant
from lading.build.table_bounds import with_table_bounds
from lading.content import content_of, with_files
from lading.drift.reference import Reference
from lading.errors import ArtifactError, DataError, GateRefusedError, RequestError
from lading.predictor import Predictor, open_session
from lading.progress import progress_bars
from lading.spec import Array, Dataset, Described, Evaluated, Example, Grouped, Quantization
from lading.tensors.checks import check_inputs
from lading.tensors.padded import padded_dims
from lading.tensors.ragged import collate, split

if TYPE_CHECKING:
    from lading.build.train.checkpoint import RunCard

GOLDEN_EXAMPLES = 4
"""Requests that a server answers before it is ready. Few, because every copy of the artifact has them."""
REFERENCE_EXAMPLES = 1000
"""Examples for the drift reference. With ten bins per feature, a share of 10 % then has a standard error of 1 point,
enough for windows of 500."""
PACKAGES = ("numpy", "onnx", "onnxruntime")


def pack(
    spec: Evaluated,
    variants: Path,
    verification: Verification | Path,
    out: Path,
    *,
    checkpoint: Path | None = None,
    target: str | None = None,
    address: str | None = None,
) -> Artifact:
    """Write an artifact with the variants that passed, and the record of those that were refused.

    Args:
        spec: the model; golden inputs come from its first test split, reference statistics from ``spec.reference()``.
        variants: the folder that the quantize stage wrote.
        verification: the return value of verify, or its folder or file.
        out: the artifact folder. An existing one is replaced in one move.
        checkpoint: the trained weights; their run is recorded as provenance.
        target: import string of the spec, recorded as provenance.
        address: of the weights in a model registry, recorded as provenance.

    Returns:
        The artifact, loaded again, after it has reproduced its own golden outputs.

    Raises:
        GateRefusedError: no variant passed.
        DataError: the data set does not fit the spec's inputs.
        ArtifactError: a graph is missing.
        CheckpointError: the run next to the checkpoint is the record of other weights.
    """
    verified = _load(verification)
    if verified.chosen is None:
        raise GateRefusedError(
            f"no variant of {spec.name} passed, so there is nothing to pack: see {spec.name}'s report"
        )
    kept = [entry for entry in verified.variants if entry.file and (entry.passed or entry.variant.name == "fp32")]
    graphs = {entry.variant.name: _graph(variants, entry) for entry in kept}
    specs = with_files(spec.inputs, Path())
    golden_inputs, golden_outputs = _golden(spec, graphs)
    reference = _reference(spec, graphs[verified.chosen])
    manifest = Manifest(
        name=spec.name,
        version=spec.version,
        description=spec.description,
        inputs=with_table_bounds(specs, onnx.load(graphs[verified.chosen], load_external_data=False)),
        outputs=spec.outputs,
        chosen=verified.chosen,
        score_name=spec.score_name,
        max_batch=spec.max_batch,
        variants=tuple(_packed(entry, golden_outputs[entry.variant.name]) for entry in kept),
        refused=tuple(_refused(entry) for entry in verified.variants if entry not in kept),
        notes=verified.notes,
        baselines=verified.baselines,
        machine=verified.machine,
        provenance=provenance_of(checkpoint, target, address),
    )
    contents = [(tensor, content) for tensor in specs if (content := content_of(tensor)) is not None]
    files: dict[str, bytes | Path] = {
        **{name: file for tensor, content in contents for name, file in content.files(tensor).items()},
        "reference.json": reference.to_json().encode(),
        "golden/inputs.npz": tensors_to_bytes(golden_inputs),
        **{f"golden/{name}.npz": tensors_to_bytes(outputs) for name, outputs in golden_outputs.items()},
        **{f"variants/{name}.onnx": file for name, file in graphs.items()},
    }
    artifact = write_artifact(out, manifest, files)
    Predictor(artifact).check_golden()
    return artifact


def _load(verification: Verification | Path) -> Verification:
    return Verification.load(verification) if isinstance(verification, Path) else verification


def _graph(folder: Path, entry: VerifiedVariant) -> Path:
    file = folder / str(entry.file)
    if not file.is_file():
        raise ArtifactError(
            f"{file} is missing, though it was measured: run `lading quantize` and `lading verify` again"
        )
    return file


def _golden(spec: Evaluated, graphs: Mapping[str, Path]) -> tuple[dict[str, Array], dict[str, dict[str, Array]]]:
    """A batch of real requests, and the answers of each variant."""
    name = spec.test_splits[0]
    examples = _checked(spec, name, spec.dataset(name), spec.at_most(GOLDEN_EXAMPLES))
    if not examples:
        raise DataError(f"the split {spec.test_splits[0]!r} of {spec.name} is empty: there are no golden inputs")
    inputs = collate(spec.inputs, [given for given, _ in of_one_size(spec.inputs, examples, len(examples))])
    names = [tensor.name for tensor in spec.outputs]
    outputs = {
        variant: dict(zip(names, open_session(file).run(names, inputs), strict=True))
        for variant, file in graphs.items()
    }
    for variant, answered in outputs.items():
        why = broken_promise(spec.outputs, answered)
        if why is not None:
            raise DataError(f"variant {variant!r} of {spec.name}, asked for the golden outputs: {why}")
    return inputs, outputs


def _reference(spec: Evaluated, graph: Path) -> Reference:
    # A bare ONNX file without calibration data has random inputs and no training data: nothing to compare with.
    dataset: Dataset = spec.reference() if len(spec.dataset("train")) else []
    if not len(dataset):
        dataset = spec.dataset("train")
    # One half of the answers gives directions, the other one is measured along them.
    most = REFERENCE_EXAMPLES * (2 if any(answer_kind(tensor) for tensor in spec.outputs) else 1)
    examples = _checked(spec, "reference", dataset, most)
    groups = None
    if isinstance(dataset, Grouped):
        groups = [dataset.group(index) for index in spread_indices(len(dataset), most)]
    described = None
    if isinstance(dataset, Described):
        described = [dataset.described(index) for index in spread_indices(len(dataset), most)]
    return Reference.fit(spec.inputs, spec.outputs, _answered(spec, graph, examples), groups, described)


def _answered(
    spec: Evaluated, graph: Path, examples: Sequence[Example]
) -> Iterator[tuple[Mapping[str, Array], Mapping[str, Array]]]:
    """Yield (inputs, outputs) of single requests."""
    session = open_session(graph)
    names = [tensor.name for tensor in spec.outputs]
    padded = padded_dims(spec.inputs)
    with progress_bars() as progress:
        task = progress.add_task("reference statistics", total=len(examples))
        size = spec.at_most(BATCH_SIZE)
        for run in runs(spec.inputs, examples, size):
            group = [given for given, _ in run]
            outputs = dict(zip(names, session.run(names, collate(spec.inputs, group)), strict=True))
            counts = [check_inputs(spec.inputs, given, example=True) for given in group]
            yield from zip(group, split(spec.outputs, outputs, counts, padded), strict=True)
            progress.advance(task, len(group))


def _checked(spec: Evaluated, name: str, dataset: Dataset, count: int) -> list[Example]:
    examples = spread(dataset, count)
    for index, (given, _) in enumerate(examples):
        try:
            check_inputs(spec.inputs, given, example=True)
        except RequestError as error:
            raise DataError(
                f"example {index} of the split {name!r} of {spec.name} does not fit the spec, so a request like it "
                f"would be refused: {error}"
            ) from error
    return examples


def _packed(entry: VerifiedVariant, golden: Mapping[str, Array]) -> PackedVariant:
    return PackedVariant(
        variant=entry.variant,
        file=f"variants/{entry.variant.name}.onnx",
        precision=entry.precision,
        exporter=entry.exporter,
        passed=entry.passed,
        reasons=entry.reasons,
        golden_atol=golden_atol(entry.variant.quantization, entry.precision, golden),
        measurement=entry.measurement,
    )


def golden_atol(quantization: Quantization | None, precision: str, golden: Mapping[str, Array]) -> float:
    """Largest absolute difference from the golden outputs at which a server is ready.

    Args:
        quantization: of the variant.
        precision: of its graph; ``unknown`` without a quantization is a graph that was quantized elsewhere.
        golden: the recorded outputs.
    """
    floats = [array for array in golden.values() if array.dtype.kind == "f" and array.size]
    largest = max((float(abs(array).max()) for array in floats), default=0.0)
    if quantization is not None:
        return recipe_of(quantization).golden_tolerance * max(largest, 1e-6)
    if precision == "fp32":
        return FLOAT32_TOLERANCE * max(largest, 1.0)
    return UNKNOWN_TOLERANCE * max(largest, 1e-6)


def _refused(entry: VerifiedVariant) -> RefusedVariant:
    reasons = entry.reasons or ((entry.problem,) if entry.problem else ())
    return RefusedVariant(
        variant=entry.variant, precision=entry.precision, reasons=reasons, measurement=entry.measurement
    )


def provenance_of(checkpoint: Path | None, target: str | None, address: str | None = None) -> Provenance:
    """Where an artifact that is packed now comes from.

    Args:
        checkpoint: the trained weights; the run next to them says what they were made of.
        target: import string of the spec.
        address: of the weights in a model registry.

    Raises:
        CheckpointError: the run next to the checkpoint is corrupt, or the record of other weights.
    """
    created = datetime.now(UTC).isoformat(timespec="seconds")
    # Lading's own version is a constant: in an image, its source has no package metadata.
    installed = {"lading": __version__} | {package: metadata.version(package) for package in PACKAGES}
    card = _run_card(checkpoint)
    if card is None:
        return Provenance(created=created, spec=target, packages=installed, checkpoint=address)
    from lading.build.train.lineage import changed_weights, lineage, newest_training

    made, trained = changed_weights(card), newest_training(card)
    return Provenance(
        created=created,
        git_commit=made.git_commit,
        git_dirty=made.git_dirty,
        spec=target,
        run_id=(trained.run_id or None) if trained else None,
        config=made.config,
        metrics=card.metrics,
        data_fingerprint=trained.data_fingerprint if trained else None,
        packages=made.packages | installed,
        checkpoint=address,
        runs=lineage(card),
    )


def _run_card(checkpoint: Path | None) -> RunCard | None:
    if checkpoint is None:
        return None
    from lading.build.train.checkpoint import read_own_card

    return read_own_card(checkpoint)
