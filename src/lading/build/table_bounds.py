"""Bounds of integer inputs that index a table in the graph, such as the tokens of an embedding.

ONNX Runtime fails on an index outside of the table, so these bounds are facts of the graph, and not guesses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import onnx

from lading.spec import TensorSpec

_KEEPS_VALUES = {"Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape", "Flatten", "Transpose", "Expand", "Tile"}
"""Operators whose output has no values but those of their first input."""
_KEEPS_ROWS = {"Identity", "Cast", "DequantizeLinear"}
"""Operators whose output has the shape of their first input."""


def with_table_bounds(inputs: Sequence[TensorSpec], model: onnx.ModelProto) -> tuple[TensorSpec, ...]:
    """Narrow the range of each integer input to the rows of the smallest table that it indexes.

    A negative index counts from the end of a table, as ``Gather`` defines it. So a table of 10 rows has the bounds -10
    and 9. Narrower bounds of a spec stay.
    """
    rows: dict[str, int] = {}
    for name, size in _indexed(model.graph, {spec.name: spec.name for spec in inputs if spec.numpy_dtype.kind in "iu"}):
        rows[name] = min(size, rows.get(name, size))
    return tuple(_narrowed(spec, rows[spec.name]) if spec.name in rows else spec for spec in inputs)


def _narrowed(spec: TensorSpec, rows: int) -> TensorSpec:
    low = -rows if spec.numpy_dtype.kind == "i" else 0
    return spec.model_copy(
        update={
            "minimum": low if spec.minimum is None else max(low, spec.minimum),
            "maximum": rows - 1 if spec.maximum is None else min(rows - 1, spec.maximum),
        }
    )


def _indexed(graph: onnx.GraphProto, origins: dict[str, str]) -> Iterator[tuple[str, int]]:
    """Yield (input, rows) for each table that an input indexes without arithmetic between them."""
    tables = {one.name: list(one.dims) for one in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            tables[node.output[0]] = next((list(one.t.dims) for one in node.attribute if one.name == "value"), [])
            continue
        first = node.input[0] if node.input else ""
        if node.op_type in _KEEPS_ROWS and first in tables:
            tables[node.output[0]] = tables[first]
        elif node.op_type in _KEEPS_VALUES and first in origins:
            origins[node.output[0]] = origins[first]
        elif node.op_type in ("Gather", "GatherElements") and node.input[1] in origins and tables.get(first):
            axis = next((one.i for one in node.attribute if one.name == "axis"), 0)
            yield origins[node.input[1]], tables[first][axis]
