"""Stamp a graph with the lowest opset and IR that mean the same, so that older runtimes read it too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import onnx
from onnx import defs, helper

LOWEST = 13
"""Opset below which no graph is stamped. Quantization by channel came with it, and every runtime here reads it."""
_PLAIN_TYPES = onnx.TensorProto.BFLOAT16
"""Types up to this number are as old as IR 4. Each newer one came with an IR of its own."""
_DOMAINS = {"": LOWEST, "ai.onnx": LOWEST, "ai.onnx.ml": 1}


def lower_versions(model: onnx.ModelProto) -> bool:
    """Lower the opsets and the IR, in place. No node is changed.

    An operator has a new version only where its definition changed. With the newest version among the operators of a
    graph as its opset, each node therefore keeps its definition, and the answers stay the same bit by bit.

    Returns:
        Whether anything was lowered. A graph with functions, or of an opset that the onnx package does not know, is
        left as it is.
    """
    before = model.ir_version, [entry.version for entry in model.opset_import]
    if model.functions:
        return False
    nodes = list(_nodes(model.graph))
    for entry in model.opset_import:
        if entry.domain in _DOMAINS:
            entry.version = _needed(nodes, entry.domain, entry.version)
    if not any(tensor.data_type > _PLAIN_TYPES for tensor in model.graph.initializer):
        known = [entry for entry in model.opset_import if entry.domain in _DOMAINS]
        with suppress(ValueError):  # an opset of no release
            model.ir_version = min(model.ir_version, helper.find_min_ir_version_for(known))
    return before != (model.ir_version, [entry.version for entry in model.opset_import])


def with_lowest_versions(graph: bytes) -> bytes:
    """As :func:`lower_versions`, for the bytes of a graph; external data stay where they are."""
    model = onnx.ModelProto.FromString(graph)
    return model.SerializeToString(deterministic=True) if lower_versions(model) else graph


def _needed(nodes: list[onnx.NodeProto], domain: str, version: int) -> int:
    own = "" if domain == "ai.onnx" else domain
    released = (
        defs.onnx_opset_version()
        if not own
        else max(s.since_version for s in defs.get_all_schemas_with_history() if s.domain == own)
    )
    if version > released:
        return version
    names = {node.op_type for node in nodes if (node.domain if node.domain != "ai.onnx" else "") == own}
    if not all(defs.has(name, domain=own) for name in names):
        return version
    since = [defs.get_schema(name, max_inclusive_version=version, domain=own).since_version for name in names]
    return min(version, max([_DOMAINS[domain], *since]))


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _nodes(inner)
