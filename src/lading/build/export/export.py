"""From torch modules to ONNX files that give the same answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx
import torch
from torch import nn

from lading.build.export.cleanup import clean
from lading.build.export.exporters import EXPORTERS, OPSET, Exporter, to_onnx
from lading.build.export.parity import compare
from lading.build.export.rewrites import rewrite
from lading.build.optional import unless_required
from lading.build.records import EXPORT_FILE, ExportedGraph, graph_file, write_export
from lading.errors import ExportError
from lading.files import claim, write_atomically
from lading.spec import ModelSpec, TensorSpec


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
    failures: list[str] = []
    for exporter in EXPORTERS:
        try:
            graph, worst = _proven(spec, module, exporter, atol)
        except ExportError as error:
            if exporter == "dynamo":
                failures.extend(error.failures)
            elif error.failures[0] != failures[0]:
                failures.append(f"torch's old exporter: {error.failures[0]}")
            continue
        write_atomically(file, graph)
        return ExportedGraph(
            file=file.name,
            pruning=pruning,
            checkpoint=weights.name if weights else "",
            max_difference=worst,
            opset=OPSET,
            parameters=sum(parameter.numel() for parameter in module.parameters()),
            exporter=exporter,
            made_by=made_by(exporter),
        )
    raise ExportError(spec.name, failures)


def made_by(exporter: Exporter) -> str:
    """An exporter in words, with the version of torch."""
    which = {"dynamo": "dynamo exporter", "torchscript": "older exporter (torchscript)"}[exporter]
    return f"{which} of torch {torch.__version__}"


def _proven(spec: ModelSpec, module: nn.Module, exporter: Exporter, atol: float) -> tuple[bytes, float]:
    """The graph of one exporter, and its largest difference from torch.

    Raises:
        ExportError: there is no graph, or it gives other answers.
    """
    model, frozen_at = to_onnx(spec, module, exporter)
    failures = _name_axes(spec, model, frozen_at)
    if failures:
        raise ExportError(spec.name, failures)
    graph = rewrite(clean(model)).SerializeToString(deterministic=True)
    worst, failures = compare(spec, module, graph, atol=atol)
    if failures:
        raise ExportError(spec.name, failures)
    return graph, worst


def _name_axes(spec: ModelSpec, model: onnx.ModelProto, frozen_at: str | None) -> list[str]:
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
            failures.extend(_name_axes_of(kind, tensor, by_name[tensor.name], frozen_at))
    return failures


def _name_axes_of(kind: str, tensor: TensorSpec, value: onnx.ValueInfoProto, frozen_at: str | None) -> list[str]:
    dims = value.type.tensor_type.shape.dim
    found = [dim.dim_param or dim.dim_value for dim in dims]
    if len(dims) != len(tensor.shape):
        return [f"{kind} {tensor.name!r} has {len(dims)} axes {found}, but the spec has {list(tensor.shape)}"]
    failures = []
    for axis, (dim, wanted) in enumerate(zip(dims, tensor.shape, strict=True)):
        if isinstance(wanted, str) and dim.HasField("dim_value"):
            at = f" at {frozen_at}" if frozen_at else ""
            failures.append(
                f"axis {axis} of {kind} {tensor.name!r} is the constant {dim.dim_value}, but the spec has "
                f"{wanted!r}: forward uses this size as a number{at} (a literal in view or reshape, int(x.shape[0]), a "
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
