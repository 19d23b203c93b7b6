"""Torch's two ways to a graph: the exporter of today (dynamo), and the old one (torchscript) where that fails.

The old one runs forward once and records what it sees. A value that Python code reads is then a constant of the graph,
whatever other inputs would give; torch warns of it, and here the warning is an error.
"""

from __future__ import annotations

import inspect
import logging
import re
import tempfile
import traceback
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import onnx
import torch
from torch import nn
from torch.jit._trace import TracerWarning

from lading.build.examples import real_examples
from lading.build.export.cleanup import quiet
from lading.build.export.parity import TYPICAL
from lading.build.graph_size import too_large
from lading.build.own_source import source_files
from lading.errors import ExportError
from lading.spec import BATCH, Array, ModelSpec
from lading.tensors.lengths import Lengths
from lading.tensors.ragged import collate
from lading.tensors.random import random_inputs

Exporter = Literal["dynamo", "torchscript"]
EXPORTERS: tuple[Exporter, ...] = get_args(Exporter)
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
_GUARDS = "torch.fx.experimental.symbolic_shapes"
"""The logger that is told when a trace holds for some sizes only."""


@dataclass
class Trace:
    """What torch.export made of a module."""

    program: torch.export.ExportedProgram | None = None
    error: Exception | None = None
    frozen_at: str | None = None
    """File and line of the user's code that holds for some sizes only."""


def trace(spec: ModelSpec, module: nn.Module) -> Trace:
    """Trace a module in evaluation mode with torch.export, with every symbolic dim of the spec free."""
    arguments, dynamic = _arguments(spec), _dynamic_shapes(spec, module)
    watched, guards = _Watched(_user_files(spec)), logging.getLogger(_GUARDS)
    level, propagates = guards.level, guards.propagate
    with quiet():
        guards.addHandler(watched)
        guards.setLevel(logging.INFO)
        guards.propagate = False
        others = [handler for handler in guards.handlers if handler is not watched]
        for handler in others:
            guards.removeHandler(handler)
        try:
            return Trace(torch.export.export(module, arguments, dynamic_shapes=dynamic, strict=False))
        except Exception as error:  # It raises any error of the user's forward, and its own errors share no base.
            return Trace(error=error, frozen_at=watched.place)
        finally:
            guards.removeHandler(watched)
            for handler in others:
                guards.addHandler(handler)
            guards.setLevel(level)
            guards.propagate = propagates


def to_onnx(spec: ModelSpec, module: nn.Module, exporter: Exporter) -> tuple[onnx.ModelProto, str | None]:
    """Write a module in evaluation mode as a graph.

    Returns:
        The graph, and the file and line of the user's code that holds for some sizes only, if it was seen.

    Raises:
        ExportError: the exporter fails; the sentence has the file and line where torch knows it.
    """
    weights = {id(one): one.numel() * one.element_size() for one in (*module.parameters(), *module.buffers())}
    if problem := too_large(sum(weights.values())):
        raise ExportError(spec.name, [problem])
    if exporter == "torchscript":
        return _recorded(spec, module), None
    found = trace(spec, module)
    try:
        with quiet():
            program = torch.onnx.export(
                # A module that torch.export cannot trace is given as it is, because the exporter has other ways.
                module if found.program is None else _with_pools_as_means(found.program),
                _arguments(spec),
                dynamo=True,
                external_data=False,
                opset_version=OPSET,
                input_names=[tensor.name for tensor in spec.inputs],
                output_names=[tensor.name for tensor in spec.outputs],
                dynamic_shapes=_dynamic_shapes(spec, module),
                verbose=False,
            )
    except Exception as error:  # It wraps any error of the user's forward or of torch.export.
        raise ExportError(spec.name, [_explain(spec, error, found)]) from error
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    return model, found.frozen_at


def _recorded(spec: ModelSpec, module: nn.Module) -> onnx.ModelProto:
    """The old exporter's graph, unless it holds for the example alone."""
    axes = {
        tensor.name: {axis: dim for axis, dim in enumerate(tensor.shape) if isinstance(dim, str)}
        for tensor in (*spec.inputs, *spec.outputs)
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "graph.onnx"
        try:
            with quiet(), warnings.catch_warnings():
                warnings.simplefilter("error", TracerWarning)
                torch.onnx.export(
                    module,
                    _arguments(spec),
                    file,
                    dynamo=False,
                    opset_version=OPSET,
                    input_names=[tensor.name for tensor in spec.inputs],
                    output_names=[tensor.name for tensor in spec.outputs],
                    dynamic_axes=axes,
                )
        except Exception as error:  # It wraps any error of the user's forward.
            raise ExportError(spec.name, [_explain(spec, error)]) from error
        return onnx.load(file)


def _with_pools_as_means(traced: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """Replace adaptive pooling to one value by a mean: the exporter would make it a Gather of every element."""
    for node in traced.graph.nodes:
        axes = _POOLS.get(node.target)
        if axes is not None and list(node.args[1]) == [1] * len(axes):
            node.target, node.args = torch.ops.aten.mean.dim, (node.args[0], axes, True)
    traced.graph_module.recompile()
    return traced


def _arguments(spec: ModelSpec) -> tuple[torch.Tensor, ...]:
    return tuple(torch.from_numpy(np.ascontiguousarray(array)) for array in _example(spec).values())


def _example(spec: ModelSpec) -> dict[str, Array]:
    lengths = Lengths(tuple(spec.inputs))
    examples = real_examples(spec, EXAMPLE_BATCH)
    if lengths.pictures:
        examples = examples[:1] * EXAMPLE_BATCH  # others may have another size
    if len(examples) == EXAMPLE_BATCH:
        return collate(spec.inputs, examples)
    sizes = {dim: TYPICAL + index for index, dim in enumerate(_input_dims(spec))}
    sizes |= lengths.measured()[0] if lengths.pictures else {}
    return random_inputs(spec.inputs, {**sizes, BATCH: EXAMPLE_BATCH}, np.random.default_rng(0))


def _input_dims(spec: ModelSpec) -> list[str]:
    return list(dict.fromkeys(dim for tensor in spec.inputs for dim in tensor.symbolic_dims))


def _dynamic_shapes(spec: ModelSpec, module: nn.Module) -> Any:
    # torch.export needs identifiers for dims. The spec's names are set afterwards.
    lengths = Lengths(tuple(spec.inputs))
    dims = {dim: _free_dim(f"dim{index}", dim, lengths) for index, dim in enumerate(_input_dims(spec))}
    shapes = [{axis: dims[dim] for axis, dim in enumerate(t.shape) if isinstance(dim, str)} for t in spec.inputs]
    return _by_parameter(module, shapes)


def _free_dim(name: str, dim: str, lengths: Lengths) -> Any:
    """A dim as torch.export declares it. A table of positions has an end, and a network that halves a picture five
    times wants multiples of 32: the exporter is told both."""
    most = lengths.most(dim)
    step = next((spec.preprocess.multiple for spec in lengths.pictures if spec.preprocess and dim in spec.shape), 1)
    return torch.export.Dim(name, max=most) if step == 1 else step * torch.export.Dim(name, max=(most or step) // step)


def _by_parameter(module: nn.Module, shapes: Sequence[Mapping[int, Any]]) -> Any:
    """The shapes as torch.export wants them: ``forward(*inputs)`` takes one group, any other one per argument."""
    kinds = [parameter.kind for parameter in inspect.signature(module.forward).parameters.values()]
    return (tuple(shapes),) if kinds[:1] == [inspect.Parameter.VAR_POSITIONAL] else tuple(shapes)


@dataclass
class _Watched(logging.Handler):
    """Notes the user's line that is running when torch notes that a trace holds for some sizes only."""

    files: set[Path]
    place: str | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        super().__init__()

    def emit(self, record: logging.LogRecord) -> None:
        if self.place is None and "[guard added]" in record.getMessage():
            self.place = _innermost(traceback.extract_stack(), self.files)

    __hash__ = logging.Handler.__hash__


def _user_files(spec: ModelSpec) -> set[Path]:
    return {path.resolve() for path in source_files(spec).values()}


def place_of(error: BaseException | None, files: set[Path]) -> str | None:
    """The innermost line of these files that an error, or what caused it, has passed, as ``file:line``."""
    while error is not None:
        if found := _innermost(traceback.extract_tb(error.__traceback__), files):
            return found
        named = re.findall(r'File "([^"]+)", line (\d+)', str(error))
        told = [f"{shown_path(file)}:{line}" for file, line in named if Path(file).resolve() in files]
        if told:
            return told[-1]
        error = error.__cause__ or error.__context__
    return None


def shown_path(file: str | Path) -> str:
    """A path as the user would type it: relative to the current folder, where it is within."""
    path = Path(file).resolve()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _innermost(frames: Iterable[traceback.FrameSummary], files: set[Path]) -> str | None:
    own = [frame for frame in frames if Path(frame.filename).resolve() in files]
    return f"{shown_path(own[-1].filename)}:{own[-1].lineno}" if own else None


def _explain(spec: ModelSpec, error: Exception, found: Trace | None = None) -> str:
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    files = _user_files(spec)
    place = place_of(error, files) or (place_of(found.error, files) or found.frozen_at if found else None)
    where = f"{place}: " if place else ""
    if frozen := next((cause for cause in causes if isinstance(cause, TracerWarning)), None):
        return f"{where}{_relevant(str(frozen), 'Converting').partition('. ')[0]}"
    text = "\n".join(map(str, causes))
    if "data-dependent" in text:
        return (
            f"{where}forward uses the values of a tensor in Python (if, while, int(), .item(), a mask used as an "
            "index), which a graph cannot do; write it with torch.where, or a sum over a mask. "
            f"torch says: {_relevant(text, 'data-dependent')}"
        )
    return f"{where}torch cannot export the module: {_relevant(str(causes[-1]), 'Error')}"


def _relevant(text: str, word: str) -> str:
    """The first line with the word, or else the first line, without terminal colours."""
    lines = [line.strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines() if line.strip()]
    return next((line for line in lines if word in line), lines[0] if lines else "no reason given")[:400]
