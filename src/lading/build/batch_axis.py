"""Give every input and output of a bare graph a batch dim in front: one that it has elsewhere, or one of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from lading.errors import WrapError

Value = onnx.ValueInfoProto
_AXES_ARE_INPUTS = 13  # opset in which Squeeze and Unsqueeze take their axes as an input


def shape_of(value: Value) -> list[int | str | None] | None:
    """Declared dims of a tensor: sizes, names, or ``None`` where a dim has neither; ``None`` without a shape."""
    if not value.type.tensor_type.HasField("shape"):
        return None
    dims: list[int | str | None] = []
    for dim in value.type.tensor_type.shape.dim:
        kind = dim.WhichOneof("value")
        dims.append(dim.dim_value if kind == "dim_value" else (dim.dim_param or None) if kind else None)
    return dims


def real_inputs(graph: onnx.GraphProto) -> list[Value]:
    """The inputs that a client sends. Old files list their weights as inputs, too."""
    weights = {one.name for one in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def declared_axes(graph: onnx.GraphProto) -> dict[str, int]:
    """Where the batch is, by tensor, if one name stands once in every input and output and not always in front.

    A recurrent network has its state as (layers, batch, features), and much speech is (time, batch, features).
    """
    shapes = {value.name: shape_of(value) or [] for value in (*real_inputs(graph), *graph.output)}
    if not shapes or any(not shape for shape in shapes.values()):
        return {}
    first, *rest = shapes.values()
    shared = [dim for dim in first if isinstance(dim, str) and all(shape.count(dim) == 1 for shape in (first, *rest))]
    named = [dim for dim in shared if dim.lower() in ("batch", "batch_size", "n", "b", "bs")]
    if any({shape[0] for shape in shapes.values()} == {dim} for dim in shared):
        return {}
    chosen = next(iter(named or (shared if len(shared) == 1 else [])), None)
    return {name: shape.index(chosen) for name, shape in shapes.items()} if chosen else {}


def move_batch(model: onnx.ModelProto, axes: Mapping[str, int]) -> None:
    """Transpose inputs and outputs in place, so that the given axis becomes the first.

    Raises:
        WrapError: a name is unknown, or its tensor has no such axis.
    """
    graph = model.graph
    values = {value.name: value for value in (*real_inputs(graph), *graph.output)}
    for name, axis in axes.items():
        if name not in values:
            raise WrapError(f"there is no tensor {name!r} with a batch axis; the tensors are: {', '.join(values)}")
        shape = shape_of(values[name]) or []
        if not 0 <= axis < len(shape):
            raise WrapError(f"{name!r} has {len(shape)} dims, so its batch axis is 0 to {len(shape) - 1}, not {axis}")
        if axis == 0:
            continue
        order = [axis, *(other for other in range(len(shape)) if other != axis)]
        back = [int(place) for place in np.argsort(order)]
        given = values[name] in list(graph.input)
        _insert(graph, name, "Transpose", given, perm=back if given else order)
        _set_shape(values[name], [shape[other] for other in order])


def add_batch(model: onnx.ModelProto, names: Sequence[str]) -> None:
    """Add a first dim of 1 to inputs and outputs, in place: they are served one by one."""
    graph = model.graph
    opset = next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), None)
    if opset is None:  # a graph of trees alone
        opset = _AXES_ARE_INPUTS
        model.opset_import.append(helper.make_opsetid("", opset))
    more: tuple[str, ...] = ()
    attributes: dict[str, Any] = {"axes": [0]}
    if opset >= _AXES_ARE_INPUTS:
        more, attributes = (_free_name(graph, "first_axis"),), {}
        graph.initializer.append(numpy_helper.from_array(np.array([0], np.int64), more[0]))
    for value in [one for one in (*real_inputs(graph), *graph.output) if one.name in names]:
        given = any(value.name == one.name for one in graph.input)
        _insert(graph, value.name, "Squeeze" if given else "Unsqueeze", given, *more, **attributes)
        shape = shape_of(value)
        if shape is not None:
            _set_shape(value, [1, *shape])


def _insert(graph: onnx.GraphProto, name: str, operator: str, given: bool, *more: str, **attributes: Any) -> None:
    """Put a node behind an input or before an output, which keeps its name."""
    inner = _free_name(graph, f"{name}_inside")
    rename(graph, name, inner)
    for value in graph.input if given else graph.output:
        if value.name == inner:
            value.name = name
    ends = ([name, *more], [inner]) if given else ([inner, *more], [name])
    node = helper.make_node(operator, *ends, name=_free_name(graph, f"{name}_{operator}"), **attributes)
    if given:
        graph.node.insert(0, node)
    else:
        graph.node.append(node)


def names_in(graph: onnx.GraphProto) -> set[str]:
    """Every name of a tensor or node, in subgraphs, too."""
    names = {one.name for one in (*graph.input, *graph.output, *graph.value_info, *graph.initializer, *graph.node)}
    names |= {one.values.name for one in graph.sparse_initializer}
    for node in graph.node:
        names |= {*node.input, *node.output}
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                names |= names_in(inner)
    return names


def _free_name(graph: onnx.GraphProto, wanted: str) -> str:
    taken = names_in(graph)
    while wanted in taken:
        wanted += "_"
    return wanted


def rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Rename a tensor everywhere, in place. ``new`` must be free."""
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
                rename(inner, old, new)


def _set_shape(value: Value, shape: Sequence[int | str | None]) -> None:
    element = value.type.tensor_type.elem_type
    value.type.CopyFrom(helper.make_tensor_type_proto(element, list(shape)))
