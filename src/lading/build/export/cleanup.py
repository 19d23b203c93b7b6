"""Tidy an exported graph, and keep the exporter quiet."""

from __future__ import annotations

import ast
import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

import onnx
import onnxruntime as ort

_SCOPES = "pkg.torch.onnx.name_scopes"


def clean(model: onnx.ModelProto) -> onnx.ModelProto:
    """Name every node of an exported graph after the module it came from, and strip the exporter's metadata.

    A node is then named like ``features.3.conv/Conv``. The ``exclude`` patterns of variants match these names.
    """
    cleaned = onnx.ModelProto()
    cleaned.CopyFrom(model)
    taken: set[str] = set()
    for node in cleaned.graph.node:
        # The old exporter leaves no notes, and names its nodes like /features/3/conv/Conv.
        scope = _scope(node) or ".".join(node.name.strip("/").split("/")[:-1])
        node.name = _unique(f"{scope}/{node.op_type}".lstrip("/"), taken)
    del cleaned.functions[:]
    return strip_notes(cleaned)


def strip_notes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Remove inferred shapes, and metadata and doc strings, which have paths of the exporting machine."""
    stripped = onnx.ModelProto()
    stripped.CopyFrom(model)
    graph = stripped.graph
    for holder in (stripped, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del holder.metadata_props[:]
        holder.doc_string = ""
    # Intermediate shapes have symbols of the tracer. ONNX Runtime infers the shapes again.
    del graph.value_info[:]
    return stripped


def name_nodes(model: onnx.ModelProto) -> None:
    """Give every node without a name, or with another's, one of its own, in place."""
    taken: set[str] = set()
    for node in model.graph.node:
        node.name = _unique(node.name or node.op_type, taken)


def _scope(node: onnx.NodeProto) -> str:
    notes = {entry.key: entry.value for entry in node.metadata_props}
    try:
        scopes = ast.literal_eval(notes.get(_SCOPES, "[]"))
    except (ValueError, SyntaxError):
        return ""
    modules = [scope for scope in scopes[:-1] if scope and not scope.startswith("_")]
    return str(modules[-1]) if modules else ""


def _unique(name: str, taken: set[str]) -> str:
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}.{number}"
    taken.add(candidate)
    return candidate


_WARNING, _ERROR = 2, 3
"""ONNX Runtime's severities; warning is its default."""
_CHATTERS = ("root", "torch.onnx", "torch.export", "onnxscript", "onnx_ir", "onnxruntime.quantization")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hold back prints, warnings and log records while the block runs; exceptions pass."""
    loggers = [logging.getLogger(None if name == "root" else name) for name in _CHATTERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    ort.set_default_logger_severity(_ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        ort.set_default_logger_severity(_WARNING)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
