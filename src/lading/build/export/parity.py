"""Does ONNX Runtime reproduce torch? Names, axes, dtypes, shapes and values, over a sweep of every symbolic dim."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort
import torch

from lading.answers import aligned
from lading.build.examples import real_examples
from lading.errors import ArtifactError
from lading.predictor import open_session
from lading.spec import BATCH, Array, ModelSpec, TensorSpec
from lading.tensors.agreement import max_abs_difference
from lading.tensors.lengths import Lengths
from lading.tensors.ragged import collate
from lading.tensors.random import random_inputs

if TYPE_CHECKING:
    from torch import nn

SIZES = (1, 2, 3, 7, 32)
"""Sizes to try for every symbolic dim: one, even, odd, prime, and a typical batch."""
TYPICAL = 5
"""Size of the other symbolic dims while one of them is swept."""
ORT_DTYPES = {
    "bool": "tensor(bool)",
    "float16": "tensor(float16)",
    "float32": "tensor(float)",
    "float64": "tensor(double)",
    **{name: f"tensor({name})" for name in ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")},
}


def compare(spec: ModelSpec, module: nn.Module, graph: Path | bytes, *, atol: float = 1e-4) -> tuple[float, list[str]]:
    """Run an ONNX graph and the module it came from on the same inputs.

    Real examples of the spec's ``valid`` split, batched at every size of ``SIZES``; made-up ones for every other
    symbolic dim, and where the data set cannot be read.

    Args:
        spec: what both were declared to be.
        module: in evaluation mode.
        graph: the ONNX file, or its bytes.
        atol: largest allowed difference of a floating output, as a share of its largest value but at least of 1: a sum
            of float32 in another order is off by a share of what it sums, and some outputs are hundreds.

    Returns:
        The largest absolute difference seen, and a sentence for every difference that is not allowed.
    """
    try:
        session = open_session(graph)
    except ArtifactError as error:
        return float("inf"), [str(error)]
    failures = [
        *_compare_signature("input", spec.inputs, session.get_inputs()),
        *_compare_signature("output", spec.outputs, session.get_outputs()),
    ]
    if failures:
        return float("inf"), failures
    worst, real = 0.0, bool(real_examples(spec, 1))
    for case, inputs in cases(spec):
        finite = real and case.startswith(BATCH)  # made-up numbers may be outside of what a logarithm takes
        difference, found = _compare_values(spec, module, session, case, inputs, atol=atol, finite=finite)
        worst = max(worst, difference)
        failures.extend(found)
    return worst, failures


_REAL = 4
"""Real pictures of any size that are compared: each is a run of its own."""
_MADE_UP_PIXELS = 512 * 1024
"""Pixels of the largest picture that is made up."""


def cases(spec: ModelSpec, sizes: Sequence[int] = SIZES) -> Iterator[tuple[str, dict[str, Array]]]:
    """Yield (description, inputs by name): real batches, then a sweep over each symbolic dim."""
    rng = np.random.default_rng(0)
    examples = real_examples(spec, max(sizes))
    dims = dict.fromkeys(dim for tensor in spec.inputs for dim in tensor.symbolic_dims)
    lengths = Lengths(tuple(spec.inputs))
    if lengths.pictures:
        yield from _of_pictures(spec, lengths, examples, rng)
    elif examples:
        for size in sizes:
            repeated = [examples[index % len(examples)] for index in range(size)]
            yield f"batch {size}", collate(spec.inputs, repeated)
    picture_dims = {dim for tensor in lengths.pictures for dim in tensor.symbolic_dims}
    pictures = lengths.measured()[0] if lengths.pictures else {}
    may_be_empty = {tensor.shape[tensor.ragged_axis] for tensor in spec.inputs if tensor.indexes}
    for dim in dims:
        if (examples and dim == BATCH) or dim in picture_dims:
            continue
        for size in (0, *sizes) if dim in may_be_empty else sizes:
            if dim in lengths.padded and size > lengths.padded[dim].max_length:
                continue
            # A ragged dim belongs to one request here: a batch may not have more owners than rows.
            others = {other: 1 if other == BATCH else TYPICAL for other in (BATCH, *dims)}
            yield f"{dim} {size}", random_inputs(spec.inputs, {**others, **pictures, dim: size}, rng)


def _of_pictures(
    spec: ModelSpec, lengths: Lengths, examples: Sequence[Mapping[str, Array]], rng: np.random.Generator
) -> Iterator[tuple[str, dict[str, Array]]]:
    """Real pictures of any size alone, and made-up ones of other sizes, lying and standing, in batches of one to
    three."""
    for index, example in enumerate(examples[:_REAL]):
        yield f"{BATCH} of example {index}", collate(spec.inputs, [example])
    small = [sizes for sizes in lengths.measured() if (lengths.of(sizes) or 0) <= _MADE_UP_PIXELS]
    for turn, sizes in enumerate(small or lengths.measured()[:1]):
        other = dict(sizes)
        for tensor in lengths.pictures:
            height, width = tensor.picture_dims or ("", "")
            if turn % 2 == 0:
                other |= {height: sizes[width], width: sizes[height]}
        rows = lengths.rows(other, turn % 3 + 1)
        described = ", ".join(f"{dim} {size}" for dim, size in other.items())
        yield described, random_inputs(spec.inputs, {**other, BATCH: rows}, rng)


def run_module(spec: ModelSpec, module: nn.Module, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Answer one batch with torch.

    Raises:
        ValueError: the module returns something else than one tensor an output, in order.
    """
    with torch.inference_mode():
        answer = module(*(torch.from_numpy(np.ascontiguousarray(inputs[tensor.name])) for tensor in spec.inputs))
    answers = answer if isinstance(answer, (tuple, list)) else (answer,)
    if len(answers) != len(spec.outputs) or not all(isinstance(one, torch.Tensor) for one in answers):
        names = ", ".join(tensor.name for tensor in spec.outputs)
        raise ValueError(f"forward must return one tensor for each of the outputs ({names}), in this order")
    return {tensor.name: one.numpy() for tensor, one in zip(spec.outputs, answers, strict=True)}


def _compare_signature(kind: str, specs: Sequence[TensorSpec], found: Sequence[ort.NodeArg]) -> list[str]:
    expected, present = [tensor.name for tensor in specs], [tensor.name for tensor in found]
    if expected != present:
        return [f"the {kind}s are {present}, but the spec has {expected}"]
    failures = []
    for tensor, node in zip(specs, found, strict=True):
        if node.type != ORT_DTYPES[tensor.dtype]:
            failures.append(f"{kind} {tensor.name!r} has dtype {node.type}, but the spec has {tensor.dtype}")
        if list(node.shape) != list(tensor.shape):
            failures.append(f"{kind} {tensor.name!r} has axes {node.shape}, but the spec has {list(tensor.shape)}")
    return failures


def _compare_values(
    spec: ModelSpec,
    module: nn.Module,
    session: ort.InferenceSession,
    case: str,
    inputs: Mapping[str, Array],
    *,
    atol: float,
    finite: bool,
) -> tuple[float, list[str]]:
    try:
        expected = run_module(spec, module, inputs)
    except Exception as error:  # The user's forward may raise anything.
        return float("inf"), [f"at {case}, torch itself fails: {_first_line(error)}"]
    if strange := [name for name, array in expected.items() if finite and not _is_finite(array)]:
        return float("inf"), [f"at {case}, output {name!r} of torch is NaN or infinite" for name in strange]
    try:
        answered = dict(zip(expected, session.run(list(expected), dict(inputs)), strict=True))
    except Exception as error:  # ONNX Runtime's own exceptions share no public base.
        return float("inf"), [f"at {case}, ONNX Runtime fails: {_first_line(error)}"]
    worst, failures = 0.0, []
    specs = {tensor.name: tensor for tensor in spec.outputs}
    for name, wanted in expected.items():
        got = answered[name]
        if got.dtype != wanted.dtype or got.shape != wanted.shape:
            failures.append(
                f"at {case}, output {name!r} is {got.dtype} {list(got.shape)}, and torch gives "
                f"{wanted.dtype} {list(wanted.shape)}"
            )
            continue
        difference = max_abs_difference(aligned(specs[name], wanted, got), wanted)
        worst = max(worst, difference)
        allowed = atol * max(1.0, float(np.abs(wanted).max(initial=0.0))) if wanted.dtype.kind == "f" else 0
        if not difference <= allowed:
            failures.append(f"at {case}, output {name!r} differs by {difference:.3g}; {allowed:.3g} is allowed")
    return worst, failures


def _is_finite(array: Array) -> bool:
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:400]
