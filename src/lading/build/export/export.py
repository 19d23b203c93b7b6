"""From torch modules to ONNX files that give the same answers."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from lading.build.examples import real_examples
from lading.build.export.cleanup import clean, quiet
from lading.build.export.parity import TYPICAL, compare
from lading.build.export.rewrites import rewrite
from lading.build.optional import unless_required
from lading.build.records import EXPORT_FILE, ExportedGraph, graph_file, write_export
from lading.errors import ExportError
from lading.files import claim, write_atomically
from lading.spec import BATCH, Array, ModelSpec, TensorSpec
from lading.tensors.padded import padded_dims
from lading.tensors.ragged import collate
from lading.tensors.random import random_inputs

OPSET = 20
"""The exporter's default, and the newest opset that ONNX Runtime's graph transformers and quantizer fully support: some
fusions do not recognise Cast, Reshape and QuantizeLinear of 21 and later."""
EXAMPLE_BATCH = 3
"""Batch size for tracing. torch.export treats 1 as a constant, and other small sizes are usual sizes of layers."""
_POOLS: Mapping[Any, list[int]] = {
    torch.ops.aten.adaptive_avg_pool1d.default: [-1],
    torch.ops.aten.adaptive_avg_pool2d.default: [-2, -1],
    torch.ops.aten.adaptive_avg_pool3d.default: [-3, -2, -1],
}
"""Adaptive pooling operators. With output size 1 they are means over these axes."""


def export(
    spec: ModelSpec,
    out: Path,
    *,
    checkpoints: Mapping[float, Path] | None = None,
    problems: Mapping[float, str] | None = None,
    atol: float = 1e-4,
) -> Path:
    """Export the trained module and each pruned one, and compare every graph with torch.

    Args:
        spec: the model.
        out: folder to write ``fp32.onnx``, ``pruned30.onnx`` ... and ``export.json`` to.
        checkpoints: weights by pruning share; by default the reference checkpoints next to the model.
        problems: why there are no weights, by pruning share.
        atol: largest allowed absolute difference between torch and ONNX Runtime on any floating output.

    Returns:
        ``out``. Where a pruned module that no required variant needs cannot be exported, its record says why.

    Raises:
        ExportError: a graph does not reproduce its module; the message lists every difference of all graphs.
        CheckpointError: weights are missing or do not fit.
    """
    from lading.build.train.checkpoint import load_checkpoint

    shares = sorted({variant.pruning for variant in spec.variants})
    claim(out, map(graph_file, shares), known_by=EXPORT_FILE)
    graphs: list[ExportedGraph] = []
    failures: list[str] = []
    missing = dict(problems or {})
    for share in shares:
        if share in missing:
            continue
        weights = (checkpoints or {}).get(share) or spec.checkpoint(share)
        try:
            with unless_required(spec, share, missing):
                module, _ = load_checkpoint(spec, weights)
                graphs.append(export_module(spec, module, out / graph_file(share), share, weights, atol=atol))
        except ExportError as error:
            failures.extend(f"{graph_file(share)}: {failure}" for failure in error.failures)
    if failures:
        raise ExportError(spec.name, failures)
    write_export(out, graphs, missing)
    return out


def export_module(
    spec: ModelSpec,
    module: nn.Module,
    file: Path,
    pruning: float = 0.0,
    weights: Path | None = None,
    *,
    atol: float = 1e-4,
) -> ExportedGraph:
    """Export one module to one file. The file is written only if the graph gives the same answers.

    Raises:
        ExportError: torch cannot trace the module, a symbolic dim became a constant, or the answers differ.
    """
    module = module.eval()
    model = _trace(spec, module)
    failures = _name_axes(spec, model)
    if failures:
        raise ExportError(spec.name, failures)
    graph = rewrite(clean(model)).SerializeToString(deterministic=True)
    worst, failures = compare(spec, module, graph, atol=atol)
    if failures:
        raise ExportError(spec.name, failures)
    write_atomically(file, graph)
    return ExportedGraph(
        file=file.name,
        pruning=pruning,
        checkpoint=weights.name if weights else "",
        max_difference=worst,
        opset=OPSET,
        parameters=sum(parameter.numel() for parameter in module.parameters()),
    )


def _trace(spec: ModelSpec, module: nn.Module) -> onnx.ModelProto:
    arguments = tuple(torch.from_numpy(np.ascontiguousarray(array)) for array in _example(spec).values())
    # torch.export needs identifiers for dims. The spec's names are set afterwards.
    padded = padded_dims(spec.inputs)
    dims = {
        # A table of positions has an end, which the exporter wants to know.
        dim: torch.export.Dim(f"dim{index}", max=padded[dim].max_length if dim in padded else None)
        for index, dim in enumerate(_input_dims(spec))
    }
    shapes = []
    for tensor in spec.inputs:
        shapes.append({axis: dims[dim] for axis, dim in enumerate(tensor.shape) if isinstance(dim, str)})
    dynamic = _by_parameter(module, shapes)
    try:
        with quiet():
            program = torch.onnx.export(
                _with_pools_as_means(module, arguments, dynamic),
                arguments,
                dynamo=True,
                external_data=False,
                opset_version=OPSET,
                input_names=[tensor.name for tensor in spec.inputs],
                output_names=[tensor.name for tensor in spec.outputs],
                dynamic_shapes=dynamic,
                verbose=False,
            )
    except Exception as error:  # It wraps any error of the user's forward or of torch.export.
        raise ExportError(spec.name, [_explain(error)]) from error
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    return model


def _with_pools_as_means(
    module: nn.Module, arguments: tuple[torch.Tensor, ...], shapes: Any
) -> nn.Module | torch.export.ExportedProgram:
    """Trace the module, and replace adaptive pooling to one value by a mean.

    The exporter would turn the pooling into as_strided: a Gather of every element. A module that torch.export cannot
    trace is returned unchanged, because the exporter has other ways to trace it.
    """
    try:
        traced = torch.export.export(module, arguments, dynamic_shapes=shapes, strict=False)
    except Exception:  # It raises any error of the user's forward, and its own errors share no base.
        return module
    for node in traced.graph.nodes:
        axes = _POOLS.get(node.target)
        if axes is not None and list(node.args[1]) == [1] * len(axes):
            node.target, node.args = torch.ops.aten.mean.dim, (node.args[0], axes, True)
    traced.graph_module.recompile()
    return traced


def _example(spec: ModelSpec) -> dict[str, Array]:
    examples = real_examples(spec, EXAMPLE_BATCH)
    if len(examples) == EXAMPLE_BATCH:
        return collate(spec.inputs, examples)
    sizes = {dim: TYPICAL + index for index, dim in enumerate(_input_dims(spec))}
    return random_inputs(spec.inputs, {**sizes, BATCH: EXAMPLE_BATCH}, np.random.default_rng(0))


def _input_dims(spec: ModelSpec) -> list[str]:
    return list(dict.fromkeys(dim for tensor in spec.inputs for dim in tensor.symbolic_dims))


def _by_parameter(module: nn.Module, shapes: Sequence[Mapping[int, Any]]) -> Any:
    """The shapes as torch.export wants them: ``forward(*inputs)`` takes one group, any other one per argument."""
    kinds = [parameter.kind for parameter in inspect.signature(module.forward).parameters.values()]
    return (tuple(shapes),) if kinds[:1] == [inspect.Parameter.VAR_POSITIONAL] else tuple(shapes)


def _explain(error: BaseException) -> str:
    causes = []
    cause: BaseException | None = error
    while cause is not None:
        causes.append(str(cause))
        cause = cause.__cause__ or cause.__context__
    text = "\n".join(causes)
    if "data-dependent" in text:
        return (
            "forward uses the values of a tensor in Python (if, while, int(), .item(), a mask used as an index), which "
            "a graph cannot do; write it with torch.where, or a sum over a mask. "
            f"torch says: {_relevant(text, 'data-dependent')}"
        )
    return f"torch cannot export the module: {_relevant(causes[-1], 'Error')}"


def _relevant(text: str, word: str) -> str:
    """The first line with the word, or else the first line, without terminal colours."""
    lines = [line.strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines() if line.strip()]
    return next((line for line in lines if word in line), lines[0] if lines else "no reason given")[:400]


def _name_axes(spec: ModelSpec, model: onnx.ModelProto) -> list[str]:
    """Name the dims of the graph's inputs and outputs as in the spec. Returns a sentence per dim that does not fit."""
    failures = []
    for kind, tensors, values in (
        ("input", spec.inputs, model.graph.input),
        ("output", spec.outputs, model.graph.output),
    ):
        by_name = {value.name: value for value in values}
        for tensor in tensors:
            if tensor.name not in by_name:
                failures.append(f"{kind} {tensor.name!r} is missing from the graph: forward does not use or return it")
                continue
            failures.extend(_name_axes_of(kind, tensor, by_name[tensor.name]))
    return failures


def _name_axes_of(kind: str, tensor: TensorSpec, value: onnx.ValueInfoProto) -> list[str]:
    dims = value.type.tensor_type.shape.dim
    found = [dim.dim_param or dim.dim_value for dim in dims]
    if len(dims) != len(tensor.shape):
        return [f"{kind} {tensor.name!r} has {len(dims)} axes {found}, but the spec has {list(tensor.shape)}"]
    failures = []
    for axis, (dim, wanted) in enumerate(zip(dims, tensor.shape, strict=True)):
        if isinstance(wanted, str) and dim.HasField("dim_value"):
            failures.append(
                f"axis {axis} of {kind} {tensor.name!r} is the constant {dim.dim_value}, but the spec has "
                f"{wanted!r}: forward uses this size as a number (a literal in view or reshape, int(x.shape[0]), a "
                "Python loop over rows, a branch on the size); write x.shape[0], -1 or flatten instead"
            )
        elif isinstance(wanted, str):
            dim.dim_param = wanted
        elif dim.HasField("dim_value") and dim.dim_value != wanted:
            failures.append(
                f"axis {axis} of {kind} {tensor.name!r} has size {dim.dim_value}, but the spec has {wanted}"
            )
        else:
            dim.dim_value = wanted
    return failures
