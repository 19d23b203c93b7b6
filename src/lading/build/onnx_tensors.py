"""Describe the inputs and outputs of a bare graph."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import get_args

import onnx
import onnxruntime as ort

from lading.build.classes import with_categories
from lading.build.onnx_trial import STYLES, Trial, UntriedError, of_other_lengths, run
from lading.build.table_bounds import with_table_bounds
from lading.content import content_types
from lading.spec import BATCH, Array, DType, TensorSpec
from lading.tensors.padded import padded_dims
from lading.tensors.ragged import collate, dim_size, separate

DTYPES: dict[str, DType] = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    **{f"tensor({name})": name for name in get_args(DType) if name not in ("float32", "float64")},
}
"""Dtypes by the runtime's name."""
_NO_NAMES = frozenset({"none", "unk", "unknown", "dynamic", "any"})
"""What exporters write for a dim that has no name."""
LONGEST_NAME = 60
"""Letters of a tensor's or dim's name."""


def clean_name(name: str) -> str:
    """A name that tensors, dims and models accept: ``input:0`` becomes ``input_0``."""
    clean = re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:LONGEST_NAME]
    return clean if re.match(r"[A-Za-z_]", clean) else f"_{clean}"


def input_specs(model: onnx.ModelProto, session: ort.InferenceSession) -> tuple[TensorSpec, ...]:
    dims = _DimNames()
    inputs = with_table_bounds([_input_spec(node, dims) for node in session.get_inputs()], model)
    return with_categories(inputs, model)  # an encoder may refuse others


def _input_spec(node: ort.NodeArg, dims: _DimNames) -> TensorSpec:
    shape = (BATCH, *(dims.of(node.name, axis, dim) for axis, dim in enumerate(node.shape) if axis))
    plain = TensorSpec(name=node.name, dtype=DTYPES[node.type], shape=shape)
    claimed = next((content.name for content in content_types() if content.claims(plain)), None)
    return plain.model_copy(update={"content": claimed})


@dataclass
class _DimNames:
    """Names for symbolic dims that a TensorSpec accepts; two that differ in the file differ here."""

    clean: dict[str, str] = field(default_factory=dict)

    def of(self, tensor: str, axis: int, dim: int | str | None) -> int | str:
        if isinstance(dim, int) and dim > 0:
            return dim
        named = isinstance(dim, str) and re.search(r"[A-Za-z]", dim) and dim.lower() not in _NO_NAMES and dim != BATCH
        key = str(dim) if named else f"{tensor}_{axis}"
        if key not in self.clean:
            name = clean_name(key)
            while name in self.clean.values() or name == BATCH:
                name += "_"
            self.clean[key] = name
        return self.clean[key]


def output_specs(
    session: ort.InferenceSession, trial: Trial, inputs: Sequence[TensorSpec], rows: int = 2
) -> tuple[TensorSpec, ...]:
    """Describe the outputs by running the graph, because a file may not have their shapes."""
    padded = padded_dims(inputs)
    free = any({*spec.symbolic_dims} - {BATCH, *padded} for spec in inputs)
    feeds = [trial.feed(rows)]
    if padded and not any(padding.buckets for padding in padded.values()):
        # What changes with the length of a text has its dim.
        cut, *_ = of_other_lengths(inputs, [given for given, _ in separate(inputs, (), feeds[0], {})] * 2)
        feeds.append(collate(inputs, [cut] * rows))
    lengths = {dim: [dim_size(dim, inputs, feed) for feed in feeds] for dim in padded}
    runs = [run(session, feed) for feed in feeds]
    if rows == 1:  # a graph that finds things finds another number of them elsewhere
        others = [] if trial.real is None else [{k: v[at : at + 1] for k, v in trial.real.items()} for at in range(8)]
        others += [replace(trial, style=style).feed(1) for style in STYLES] if trial.real is None else []
        runs += [answered for feed in others if (answered := _answer(session, feed)) is not None]
    dims = _DimNames()
    specs = []
    for index, node in enumerate(session.get_outputs()):
        array = runs[0][index]
        declared = list(node.shape) if len(node.shape) == array.ndim else [None] * array.ndim
        shape: list[int | str] = [BATCH]
        for axis in range(1, array.ndim):
            dim = declared[axis]
            varies = free or (rows == 1 and isinstance(dim, str)) or len({run[index].shape[axis] for run in runs}) > 1
            size = int(array.shape[axis])
            # An output that is empty here has another size elsewhere.
            symbolic = varies or size == 0
            sizes = [one[index].shape[axis] for one in runs[: len(feeds)]]
            as_long = [name for name, known in lengths.items() if len(feeds) > 1 and known == sizes]
            if symbolic and dim not in padded and len(as_long) == 1:
                (dim,) = as_long
            shape.append(
                dims.of(node.name, axis, None if isinstance(dim, int) and dim < 1 else dim) if symbolic else size
            )
        specs.append(TensorSpec(name=node.name, dtype=DTYPES[node.type], shape=tuple(shape)))
    return tuple(specs)


def _answer(session: ort.InferenceSession, feed: Mapping[str, Array]) -> list[Array] | None:
    try:
        return run(session, feed)
    except UntriedError:
        raise
    except Exception:  # ONNX Runtime's exceptions share no public base class
        return None
