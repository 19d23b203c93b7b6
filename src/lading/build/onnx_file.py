"""Pack a bare ONNX file: it is described, measured and gated like any other model."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx

from lading.answers import answer_kind
from lading.artifact import Artifact
from lading.build.onnx_batching import REEXPORT, BareModel
from lading.build.onnx_declared import Declared
from lading.build.onnx_reader import NOTHING, read_bare, read_labels
from lading.build.onnx_rows import read_rows
from lading.build.onnx_trial import of_other_lengths
from lading.build.pack import pack
from lading.build.quantize.quantize import quantize
from lading.build.records import ExportedGraph, VerifiedVariant, graph_file, require_passed, write_export
from lading.build.verify.drop import enough_examples
from lading.errors import GateRefusedError
from lading.errors.sentences import clipped
from lading.predictor import open_session
from lading.spec import BATCH, Array, Budget, Evaluated, Example, Quantization, TensorSpec, Variant, check_spec
from lading.tensors.agreement import relative_error, same_label
from lading.tensors.padded import padded_dims
from lading.tensors.ragged import collate, separate

MADE_UP = 32
"""Number of random requests to measure with, if there are no calibration data."""
MOST_NUMBERS = 2**26
"""Numbers of one input in all of them."""
FP32 = Variant(name="fp32", max_score_drop=0.0, required=True)
DYNAMIC = Variant(name="int8-dynamic", quantization=Quantization(method="dynamic"))
"""For transformers, whose activations differ more from token to token than one scale can hold."""
INT8 = Variant(name="int8", quantization=Quantization(method="static"))


def pack_onnx(
    file: Path,
    out: Path,
    *,
    name: str,
    labels: Path | None = None,
    calibration: Path | None = None,
    axes: Mapping[str, int] | None = None,
    declared: Declared = NOTHING,
    tolerance: float | None = None,
    made_by: str | None = None,
    tell: Callable[[str], object] | None = None,
) -> Artifact:
    """Wrap an ONNX file as an artifact.

    Args:
        file: the graph, with its external data next to it.
        out: the artifact directory.
        name: of the model.
        labels: text file with one label per line. It applies to outputs with that many entries in the last dim.
        calibration: ``.npz`` of inputs by name, each with the examples along the first dim, or a file of texts, as
            :func:`~lading.build.onnx_rows.read_rows` reads it. With it an int8 variant is built, compared with the
            float32 one on half of the examples, and served if it is faster. It also gives the golden inputs and the
            reference statistics; without it, the golden inputs are random and there are no statistics.
        axes: axis of the batch, for tensors that do not have it in front.
        declared: what the numbers of inputs and outputs stand for.
        tolerance: how far the int8 variant may be from the float32 one: as a share of changed labels, or as the
            relative error of other numbers. Default: 0.01.
        made_by: what made the graph, in words; default: what the file says about its producer.
        tell: called with a sentence for the user where requests cannot be batched, where int8 is refused, and where an
            input changes nothing.

    Raises:
        WrapError: the file, the labels or the calibration data cannot be used.
        SpecError: the name cannot be a model's name, or a tensor cannot be what was declared.
    """
    from lading.build.verify.verify import verify

    names = read_labels(labels) if labels else None
    real = read_rows(calibration) if calibration else None
    bare = read_bare(file, names, real=real, axes=axes, declared=declared)
    if bare.one_by_one is not None and tell is not None and declared.texts:
        tell(f"{file.name} is served one by one, each request with one text: {bare.one_by_one}")
    elif bare.one_by_one is not None and tell is not None:
        shapes = ", ".join(f"{spec.name} {_shown(spec)}" for spec in (*bare.inputs, *bare.outputs))
        tell(f"{file.name} is served one by one: {bare.one_by_one}. Its tensors are {shapes}; {REEXPORT}")
    if bare.found_dims and calibration and tell is not None:
        sizes = ", ".join(bare.found_dims)
        tell(f"there is no int8 variant: the size of {sizes} differs by request, so answers cannot be compared")
    spec = WrappedOnnx(name, bare, description=f"wrapped from {file.name}", tolerance=tolerance)
    check_spec(spec)
    if tell is not None:
        for sentence in spec.without_effect(file.name, bare):
            tell(sentence)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        exported = _export(bare, work / "export", made_by)
        variants = quantize(spec, exported, work / "variants")
        verification = verify(spec, variants, work / "verify")
        try:
            require_passed(verification)
        except GateRefusedError as error:
            if bare.trial.real is not None:
                raise
            raise GateRefusedError(f"{error}\nThe inputs were made up: give real ones with --calibration") from None
        if tell is not None:
            for entry in verification.variants:
                if not entry.passed:
                    tell(_refused(entry, len(spec)))
        return pack(spec, variants, verification, out)


def _refused(entry: VerifiedVariant, rows: int) -> str:
    """Why a variant is not served, and how many rows of calibration data or which tolerance it takes."""
    name, allowed = entry.variant.name, entry.variant.max_score_drop
    drop = entry.measurement.score_drop if entry.measurement else None
    if drop is None or drop.high <= allowed:
        return f"{name} is refused: {'; '.join(entry.reasons)}"
    enough = enough_examples(drop, allowed)
    more = f"{2 * enough:,} rows of --calibration, or " if enough and 2 * enough > rows else ""
    return (
        f"{name} is refused: its answers are {max(drop.value, 0.0):.4f} from those of float32, and {rows} rows, of "
        f"which {drop.examples} are compared, show no more than that it is at most {drop.high:.4f}, where {allowed:g} "
        f"is allowed. It takes {more}--tolerance {math.ceil(drop.high * 1000) / 1000:g}"
    )


class WrappedOnnx(Evaluated):
    """A model without targets: its variants are compared with the float32 answers of the graph."""

    score_name = "agreement with fp32"
    budget = Budget()

    def __init__(self, name: str, bare: BareModel, *, description: str = "", tolerance: float | None = None) -> None:
        self.name = name
        self.description = description
        self.inputs, self.outputs = bare.inputs, bare.outputs
        self.max_batch = 1 if bare.one_by_one is not None else None
        real = bare.trial.real
        # Answers of a size of their own cannot be compared number by number.
        comparable = not bare.found_dims
        self._padded = padded_dims(bare.inputs)
        int8 = DYNAMIC if self._padded else INT8
        int8 = int8 if tolerance is None else int8.model_copy(update={"max_score_drop": tolerance})
        self.variants = (FP32, int8) if real and comparable else (FP32,)
        self._real = real is not None
        given = dict(real) if real else bare.trial.feed(_made_up(bare))
        self._inputs: list[Mapping[str, Array]] = [row for row, _ in separate(bare.inputs, (), given, {})]
        if not self._real and not any(padding.buckets for padding in self._padded.values()):
            self._inputs = list(of_other_lengths(bare.inputs, self._inputs))
        session = open_session(bare.model.SerializeToString())  # as verify opens it: other threads add in another order
        names = [tensor.name for tensor in bare.outputs]
        rows = [session.run(names, collate(bare.inputs, [row])) for row in self._inputs]
        self._answers = [{n: array[0] for n, array in zip(names, row, strict=True)} for row in rows]

    def without_effect(self, file: str, bare: BareModel) -> Iterator[str]:
        """A sentence for each input that no node reads, and for each output that no request has changed."""
        read = _names_read(bare.model.graph)
        for spec in self.inputs:
            if spec.name not in read:
                yield f"{file}: no node reads the input {spec.name!r}, so its values change no answer"
        if len(self) == 1:
            return
        tried = f"{len(self)} {'requests of --calibration' if self._real else 'made-up requests'}"
        for spec in self.outputs:
            first, *others = (answer[spec.name] for answer in self._answers)
            if all(np.array_equal(first, one, equal_nan=one.dtype.kind == "f") for one in others):
                advice = (
                    "look at the graph" if self._real else "give real ones with --calibration, or look at the graph"
                )
                yield f"{file}: the output {spec.name!r} is the same for all {tried}: {advice}"

    def __len__(self) -> int:
        return len(self._inputs)

    def dataset(self, split: str) -> list[Example]:
        """Every second example calibrates, the others score. Random inputs are no training data."""
        if split == "train" and not self._real:
            return []
        indices = range(0 if split == "train" or not self._real else 1, len(self), 2 if self._real else 1)
        return [(self._inputs[i], self._answers[i]) for i in indices]

    def score(self, outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
        """Mean over the outputs: share of equal labels or integers, or 1 minus the relative error of other numbers."""
        return float(np.mean([self._agreement(t.name, outputs[t.name], targets[t.name]) for t in self.outputs]))

    def _agreement(self, name: str, got: Array, wanted: Array) -> float:
        spec = next(tensor for tensor in self.outputs if tensor.name == name)
        kind = answer_kind(spec)
        if kind is not None:
            return float(np.mean(kind.similarity(spec, wanted, kind.aligned(spec, wanted, got))))
        if not self._padded.keys().isdisjoint(spec.shape):
            # Behind the last token of a text is what the filling came to, and zeros where it was alone.
            real = wanted.any(axis=tuple(range(2, wanted.ndim)), keepdims=True) if wanted.ndim > 2 else wanted != 0
            got = np.where(real, got, wanted)
        if spec.labels:
            return float(np.mean(same_label(wanted, got)))
        if wanted.dtype.kind != "f":
            return float(np.mean(got == wanted))
        return max(0.0, 1.0 - relative_error({name: wanted}, {name: got}))


def _made_up(bare: BareModel) -> int:
    """How many requests are made up: fewer where each is large."""
    largest = max(array.size for array in bare.trial.feed(1).values())
    return max(2, min(MADE_UP, MOST_NUMBERS // max(largest, 1)))


def _names_read(graph: onnx.GraphProto) -> set[str]:
    """What the nodes of a graph and of its branches read, and its outputs."""
    names = {tensor.name for tensor in graph.output}
    for node in graph.node:
        names |= set(node.input)
        for attribute in node.attribute:
            for branch in (attribute.g, *attribute.graphs):
                names |= _names_read(branch)
    return names


def _shown(spec: TensorSpec) -> str:
    return "[" + ", ".join(str(1 if dim == BATCH else dim) for dim in spec.shape) + "]"


def _export(bare: BareModel, folder: Path, made_by: str | None) -> Path:
    """Write what the export stage would write."""
    folder.mkdir()
    (folder / graph_file(0.0)).write_bytes(bare.model.SerializeToString(deterministic=True))
    opset = next((entry.version for entry in bare.model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    parameters = sum(int(np.prod(initializer.dims)) for initializer in bare.model.graph.initializer)
    named = f"{bare.model.producer_name or 'of an unknown exporter'} {bare.model.producer_version}".strip()
    producer = "".join(letter for letter in named if letter.isprintable())
    graph = ExportedGraph(
        file=graph_file(0.0),
        pruning=0.0,
        checkpoint="",
        max_difference=0.0,
        opset=opset,
        parameters=parameters,
        exporter=bare.model.producer_name or "unknown",
        made_by=made_by or clipped(f"given file, {producer}"),
    )
    write_export(folder, [graph])
    return folder
