"""Read a bare ONNX file: its inputs, its outputs, and whether it can be batched."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import onnxruntime as ort

from lading.build.examples import open_graph
from lading.build.export.cleanup import name_nodes, strip_notes
from lading.content import content_types
from lading.errors import LadingError, WrapError
from lading.spec import BATCH, Array, DType, TensorSpec
from lading.tensors.agreement import max_abs_difference
from lading.tensors.random import random_inputs

BATCHES = (2, 3)
"""Batch sizes to check: each row must get the same answer as in a batch of one."""
TRIED_SIZES = (8, 32, 224)
"""Sizes to try for symbolic dims other than the batch: a sequence, and pictures that networks shrink 32 times."""
TOLERANCE = 1e-3
"""Largest difference between a row in a batch and in a batch of one, as a share of the largest value."""
_DTYPES: dict[str, DType] = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    **{f"tensor({name})": name for name in get_args(DType) if name not in ("float32", "float64")},
}
REEXPORT = (
    "export it again with a symbolic first dim: torch.onnx.export(..., dynamic_shapes=({0: 'batch'},)), "
    "or tf2onnx with an input signature of [None, ...]"
)


@dataclass(frozen=True)
class BareModel:
    """A graph with a description of its tensors."""

    model: onnx.ModelProto
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def read_bare(file: Path, labels: Sequence[str] | None = None) -> BareModel:
    """Read, rename, batch and describe a graph.

    Args:
        file: an ONNX file. External data next to it are read too.
        labels: names of the entries of the last dim, for every output that has as many.

    Raises:
        WrapError: it is not ONNX, ONNX Runtime cannot run it, a tensor is of a kind that cannot be served, it cannot be
            batched, or no output has as many entries as there are labels. The message says how to export it instead.
    """
    model = strip_notes(_load(file))
    name_nodes(model)
    _rename_tensors(model)
    session = _open(file, model)
    for kind, nodes in (("input", session.get_inputs()), ("output", session.get_outputs())):
        _check_kinds(file, kind, nodes)
    model = _with_symbolic_batch(file, model, session)
    session = _open(file, model)
    inputs = tuple(_input_spec(node) for node in session.get_inputs())
    outputs = _output_specs(file, session, inputs)
    return BareModel(model, inputs, _with_labels(file, outputs, labels))


def read_labels(file: Path) -> list[str]:
    """Read a text file with one label per line. Empty lines at the end are ignored.

    Raises:
        WrapError: the file is missing, holds no label or an empty one, or is not UTF-8.
    """
    try:
        labels = [line.strip() for line in file.read_text().rstrip().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise WrapError(f"the labels {file} cannot be read: {error}") from None
    if not labels or not all(labels):
        where = f"line {labels.index('') + 1} is empty" if labels else "it is empty"
        raise WrapError(f"the labels {file} must be one a line: {where}")
    return labels


def _load(file: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(file)
    except FileNotFoundError as error:
        lost = Path(str(error.filename)).name if error.filename else str(error)
        if lost == file.name:
            raise WrapError(f"there is no file {file}") from None
        raise WrapError(f"{file} keeps its weights in {lost}, which is not next to it: copy both") from None
    except onnx.checker.ValidationError as error:
        raise WrapError(f"{file} keeps its weights in another file, which cannot be read: {error}") from None
    except Exception as error:  # Protobuf's parsers have their own exceptions.
        raise WrapError(f"{file} is not an ONNX file: {error}") from None
    if not model.graph.node:
        raise WrapError(f"{file} is not an ONNX file, or its graph is empty")
    return model


def _open(file: Path, model: onnx.ModelProto) -> ort.InferenceSession:
    try:
        return open_graph(model)
    except LadingError as error:
        opsets = ", ".join(f"{entry.domain or 'ai.onnx'} {entry.version}" for entry in model.opset_import)
        raise WrapError(
            f"{file} cannot be served: {error}. Its opsets are {opsets}. If an operator or opset is unknown, export it "
            "with opset_version=20 and without custom operators"
        ) from error


def _check_kinds(file: Path, kind: str, nodes: Sequence[ort.NodeArg]) -> None:
    for node in nodes:
        if node.type in _DTYPES and node.shape:
            continue
        if "map(" in node.type or node.type.startswith("seq("):
            hint = "convert with options={'zipmap': False}, so that probabilities are one tensor"
        elif node.type == "tensor(string)":
            hint = "encode strings as integers outside of the graph, and give the names with --labels"
        elif node.type in _DTYPES:
            hint = "a tensor needs a first dim for the batch"
        else:
            hint = "export it as float32 or an integer"
        shown = node.type if node.type not in _DTYPES else "a scalar or of unknown rank"
        raise WrapError(f"{kind} {node.name!r} of {file} is {shown}, which cannot be served: {hint}")


def _rename_tensors(model: onnx.ModelProto) -> None:
    """Give inputs and outputs names that a TensorSpec accepts, in place: ``input:0`` becomes ``input_0``."""
    taken: set[str] = set()
    for value in (*model.graph.input, *model.graph.output):
        clean = re.sub(r"[^A-Za-z0-9_.-]", "_", value.name)[:60]
        clean = clean if re.match(r"[A-Za-z_]", clean) else f"_{clean}"
        while clean in taken:
            clean += "_"
        taken.add(clean)
        if clean != value.name:
            _rename(model.graph, value.name, clean)


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        if value.name == old:
            value.name = new
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _rename(inner, old, new)


def _with_symbolic_batch(file: Path, model: onnx.ModelProto, session: ort.InferenceSession) -> onnx.ModelProto:
    """Name the first dim of all inputs and outputs ``batch``. A fixed size becomes symbolic if the graph allows it."""
    freed = onnx.ModelProto()
    freed.CopyFrom(model)
    served = {node.name for node in (*session.get_inputs(), *session.get_outputs())}
    fixed = sorted({node.shape[0] for node in session.get_inputs() if isinstance(node.shape[0], int)})
    symbols = {node.shape[0] for node in session.get_inputs() if isinstance(node.shape[0], str)}
    if len(symbols) > 1:
        raise WrapError(
            f"the inputs of {file} have different first dims ({', '.join(sorted(symbols))}), so requests cannot be "
            "joined: write a ModelSpec, in which such dims can be declared"
        )
    for value in (*freed.graph.input, *freed.graph.output):
        dims = value.type.tensor_type.shape.dim
        if value.name in served and dims:
            dims[0].dim_param = BATCH
    if fixed:
        # Shapes inferred for the fixed size would contradict the new one.
        del freed.graph.value_info[:]
    problem = _batching_problem(freed)
    if problem is None:
        return freed
    reason = f"its batch size is fixed at {fixed[0]}, and its nodes depend on it" if fixed else "it cannot be batched"
    raise WrapError(f"{file}: {reason} ({problem}); {REEXPORT}")


def _batching_problem(model: onnx.ModelProto) -> str | None:
    """Compare batches with their rows one by one. Returns a sentence if they differ or cannot be run."""
    try:
        session = open_graph(model)
        inputs = tuple(_input_spec(node) for node in session.get_inputs())
        sizes = _runnable_sizes(session, inputs)
        names = [node.name for node in session.get_outputs()]
        for size in BATCHES:
            feed = random_inputs(inputs, {**sizes, BATCH: size}, np.random.default_rng(size))
            joined = session.run(names, feed)
            for row in range(size):
                alone = session.run(names, {name: array[row : row + 1] for name, array in feed.items()})
                for name, one, all_rows in zip(names, alone, joined, strict=True):
                    if all_rows.ndim == 0 or len(all_rows) != size:
                        return f"output {name!r} has shape {list(all_rows.shape)} for a batch of {size}"
                    scale = float(np.abs(one.astype(np.float64)).max(initial=1e-6))
                    if not max_abs_difference(all_rows[row : row + 1], one) <= TOLERANCE * scale:
                        return f"output {name!r} of a row in a batch of {size} is not the same as in a batch of one"
    except Exception as error:  # ONNX Runtime's exceptions share no public base class.
        return " ".join(str(error).split())[:300]
    return None


def _runnable_sizes(session: ort.InferenceSession, inputs: Sequence[TensorSpec]) -> dict[str, int]:
    """Find sizes of the symbolic dims, other than the batch, at which the graph runs."""
    dims = {dim for tensor in inputs for dim in tensor.symbolic_dims} - {BATCH}
    failure: Exception | None = None
    for size in TRIED_SIZES if dims else TRIED_SIZES[:1]:
        sizes = dict.fromkeys(dims, size)
        try:
            session.run(None, random_inputs(inputs, {**sizes, BATCH: BATCHES[0]}, np.random.default_rng(0)))
        except Exception as error:  # ONNX Runtime's exceptions share no public base class.
            failure = error
            continue
        return sizes
    assert failure is not None
    raise failure


def _input_spec(node: ort.NodeArg) -> TensorSpec:
    shape = (BATCH, *(_dim(node.name, axis, dim) for axis, dim in enumerate(node.shape) if axis))
    dtype = _DTYPES[node.type]
    plain = TensorSpec(name=node.name, dtype=dtype, shape=shape)
    claimed = next((content.name for content in content_types() if content.claims(plain)), None)
    return plain.model_copy(update={"content": claimed})


def _dim(tensor: str, axis: int, dim: int | str | None) -> int | str:
    if isinstance(dim, int) and dim > 0:
        return dim
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", str(dim)) if dim and str(dim) != BATCH else f"{tensor}_{axis}"
    return name if re.match(r"[A-Za-z_]", name) else f"_{name}"


def _output_specs(file: Path, session: ort.InferenceSession, inputs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """Describe the outputs by running the graph, because a file may not have their shapes."""
    sizes = _runnable_sizes(session, inputs)
    nodes = session.get_outputs()
    found = session.run(None, random_inputs(inputs, {**sizes, BATCH: BATCHES[1]}, np.random.default_rng(0)))
    specs = []
    for node, array in zip(nodes, found, strict=True):
        declared = list(node.shape) if len(node.shape) == array.ndim else [None] * array.ndim
        shape: list[int | str] = [BATCH]
        for axis in range(1, array.ndim):
            dim = declared[axis]
            known = isinstance(dim, int) or not sizes
            shape.append(int(array.shape[axis]) if known else _dim(node.name, axis, dim))
        specs.append(TensorSpec(name=node.name, dtype=_DTYPES[node.type], shape=tuple(shape)))
    if not specs:
        raise WrapError(f"{file} has no output")
    return tuple(specs)


def _with_labels(file: Path, outputs: Sequence[TensorSpec], labels: Sequence[str] | None) -> tuple[TensorSpec, ...]:
    if labels is None:
        return tuple(outputs)
    fits = [tensor for tensor in outputs if len(tensor.shape) > 1 and tensor.shape[-1] == len(labels)]
    if not fits:
        shapes = ", ".join(f"{tensor.name} {list(tensor.shape)}" for tensor in outputs)
        raise WrapError(f"there are {len(labels)} labels, and no output of {file} ends in a dim of that size: {shapes}")
    return tuple(
        tensor.model_copy(update={"labels": tuple(labels)}) if tensor in fits else tensor for tensor in outputs
    )


def check_calibration(file: Path, inputs: Sequence[TensorSpec], arrays: Mapping[str, Array]) -> int:
    """Compare calibration arrays with the inputs, and return how many examples there are.

    Raises:
        WrapError: a name, dtype, shape or number of examples does not fit.
    """
    from lading.errors import RequestError
    from lading.tensors.checks import check_inputs

    try:
        count = check_inputs(inputs, arrays)[BATCH]
    except RequestError as error:
        raise WrapError(f"the calibration data {file} do not fit the model: {error}") from None
    if count < 2:
        raise WrapError(
            f"the calibration data {file} hold {count} example: some calibrate, others check; give at least 2"
        )
    return count
