"""Pack a program of torch.export (``.pt2``): its graph becomes ONNX, and then it is packed as a bare ONNX file.

``torch.export.load`` runs code of the file in several ways: pickles that it loads without ``weights_only``, custom
objects, compiled libraries, sizes that sympy evaluates as Python, and names and guards that it compiles. So the archive
is checked first, against what a program of tensors needs, and nothing else is let in.
"""

from __future__ import annotations

import ast
import io
import json
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lading.artifact import Artifact
from lading.build.export.cleanup import clean, quiet
from lading.build.export.export import made_by
from lading.build.export.exporters import OPSET
from lading.build.export.rewrites import rewrite
from lading.build.graph_size import too_large
from lading.build.onnx_declared import Declared
from lading.build.onnx_file import pack_onnx
from lading.build.onnx_reader import NOTHING
from lading.errors import ExportError, WrapError
from lading.errors.sentences import clipped
from lading.predictor import open_session

_ARITHMETIC = (
    *(ast.Expression, ast.Call, ast.keyword, ast.expr_context, ast.Compare, ast.cmpop, ast.Tuple),
    *(ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.operator, ast.unaryop, ast.boolop),
)
ATOL = 1e-4
"""Largest allowed difference between torch and ONNX Runtime, as a share of the largest value but at least of 1."""
_TARGET = re.compile(
    r"torch\.ops\.(aten|prims|torchvision|higher_order)\.\w+(\.\w+)?|torch\.(sym_\w+|ops\.\w+)|_operator\.\w+|math\.\w+"
)
_NAME = re.compile(r"[\w.@]*")
_PATTERNS = {
    **dict.fromkeys(("target", "as_operator"), _TARGET),
    **dict.fromkeys(("name", "fqn"), _NAME),
    "path_name": re.compile(r"(weight|tensor)_\d+"),
}
_TREES = (None, "builtins.list", "builtins.tuple", "builtins.dict", "collections.OrderedDict")
_FUNCTIONS = re.compile(
    r"Symbol|Integer|Float|Rational|[A-Z]\w*Div|Mod|PythonMod|Max|Min|Abs|Add|Mul|Pow|True|False|[su]\d+|Eq|Ne|[GL][te]"
)


def pack_program(
    file: Path,
    out: Path,
    *,
    name: str,
    labels: Path | None = None,
    calibration: Path | None = None,
    axes: Mapping[str, int] | None = None,
    declared: Declared = NOTHING,
    tolerance: float | None = None,
    tell: Callable[[str], object] | None = None,
) -> Artifact:
    """Wrap a program of torch.export as an artifact. The arguments are those of :func:`pack_onnx`.

    Raises:
        WrapError: the file is damaged, could run code, or its graph cannot be packed.
        ExportError: ONNX Runtime does not reproduce the program.
    """
    program = read_program(file)
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / f"{file.stem}.onnx"
        graph.write_bytes(to_onnx(file, program))
        try:
            return pack_onnx(
                graph,
                out,
                name=name,
                labels=labels,
                calibration=calibration,
                axes=axes,
                declared=declared,
                tolerance=tolerance,
                made_by=f"given program, {made_by('dynamo')}",
                tell=tell,
            )
        except WrapError as error:
            raise WrapError(str(error).replace(str(graph), str(file))) from error


def read_program(file: Path) -> torch.export.ExportedProgram:
    """Load a program without running code of its file.

    Raises:
        WrapError: the file is missing, damaged, of another format, or could run code.
    """
    try:
        content = file.read_bytes()
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            problem = next(_problems(archive), None)
    except OSError as error:
        raise WrapError(f"{file} cannot be read: {error.strerror}") from None
    except (zipfile.BadZipFile, ValueError, RecursionError) as error:
        raise WrapError(f"{file} is damaged, or no program of torch.export: {clipped(str(error))}") from None
    if problem:
        raise WrapError(f"{file} {problem}; nothing was loaded. Save the program with torch.export.save, or as ONNX")
    try:
        with quiet():
            program = torch.export.load(io.BytesIO(content))
    except Exception as error:  # Of another version of torch, it raises whatever does not fit.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise WrapError(f"{file} cannot be loaded by torch {torch.__version__}: {clipped(reason)}") from None
    # Guards are Python text, which torch would compile. They only check shapes that the graph's own dims say.
    program._guards_code = []
    return program


def to_onnx(file: Path, program: torch.export.ExportedProgram) -> bytes:
    """Convert a program, and compare both on the inputs that the program was saved with.

    Raises:
        ExportError: the weights are too large for a graph, the exporter fails, or the answers differ.
    """
    if problem := too_large(sum(one.numel() * one.element_size() for one in program.state_dict.values())):
        raise ExportError(file.name, [problem])
    try:
        with quiet():
            converted = torch.onnx.export(program, dynamo=True, external_data=False, opset_version=OPSET, verbose=False)
        assert converted is not None
        graph: bytes = rewrite(clean(converted.model_proto)).SerializeToString(deterministic=True)
    except Exception as error:  # It wraps any error of the conversion.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ExportError(file.name, [f"torch cannot export the program: {clipped(reason)}"]) from error
    failures = _differences(program, graph)
    if failures:
        raise ExportError(file.name, failures)
    return graph


def _differences(program: torch.export.ExportedProgram, graph: bytes) -> list[str]:
    if program.example_inputs is None:
        return ["it was saved without example inputs, so it cannot be compared with torch"]
    args, kwargs = program.example_inputs
    with torch.inference_mode():
        answers = torch.utils._pytree.tree_leaves(program.module()(*args, **kwargs))
    session = open_session(graph)
    given = [tensor for tensor in torch.utils._pytree.tree_leaves((args, kwargs)) if isinstance(tensor, torch.Tensor)]
    feed = {node.name: tensor.numpy() for node, tensor in zip(session.get_inputs(), given, strict=True)}
    failures = []
    for node, wanted, got in zip(session.get_outputs(), answers, session.run(None, feed), strict=True):
        expected = wanted.numpy()
        allowed = ATOL * max(1.0, float(np.abs(expected).max(initial=0.0)))
        same = got.shape == expected.shape
        worst = float(np.abs(expected.astype(np.float64) - got).max(initial=0.0)) if same else np.inf
        if not worst <= allowed:
            failures.append(f"output {node.name!r} differs by {worst:.3g}; {allowed:.3g} is allowed")
    return failures


def _problems(archive: zipfile.ZipFile) -> Iterator[str]:
    """What in an archive could run code, as clauses after its name."""
    names = [name.casefold() for name in archive.namelist()]
    if len(set(names)) < len(names):
        yield "has two entries of one name, which readers tell apart differently"
    if not any("/models/" in name and name.endswith(".json") for name in names):
        yield "is no program of torch.export, or one of an older version"
    for name in archive.namelist():
        if "aotinductor" in name or name.endswith((".so", ".dll", ".dylib", ".cubin")):
            yield f"holds compiled code ({clipped(name)}), which runs when it is loaded"
        elif name.endswith(".json"):
            yield from _problems_of(json.loads(archive.read(name)))
        elif name.endswith(".pt"):
            try:
                torch.load(io.BytesIO(archive.read(name)), weights_only=True)
            except Exception:  # Any failure lets torch.export.load unpickle without a limit.
                yield f"holds a pickle of more than tensors ({clipped(name)}), and loading one could run code"


def _problems_of(content: Any) -> Iterator[str]:
    waiting: list[Any] = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
            for key, entry in value.items():
                # torch writes a Python function from these names.
                if not (_NAME.fullmatch(key) and _allowed(key, entry)):
                    yield f"has the {key} {clipped(str(entry))!r}, which could run code when it is loaded"


def _allowed(key: str, entry: Any) -> bool:
    """Whether an entry of the program's description is one that a program of tensors needs."""
    if key == "expr_str":
        return _is_arithmetic(entry)
    if key == "use_pickle":
        return entry is False
    if key in ("in_spec", "out_spec"):
        return not entry or (isinstance(entry, str) and _is_tree(json.loads(entry)))
    pattern = _PATTERNS.get(key, _NAME if key.endswith("_name") else None)
    return pattern is None or entry is None or (isinstance(entry, str) and pattern.fullmatch(entry) is not None)


def _is_tree(content: Any) -> bool:
    """Whether a description of nested arguments names containers of Python alone, with names as keys."""
    if isinstance(content, list):
        return all(map(_is_tree, content))
    if isinstance(content, dict):
        keys = json.loads(content.get("context") or "null") or []
        plain = isinstance(keys, list) and all(isinstance(key, str | int) for key in keys)
        return content.get("type") in _TREES and plain and _is_tree(content.get("children_spec", []))
    return isinstance(content, int)


def _is_arithmetic(text: Any) -> bool:
    """Whether a size is arithmetic on symbols. sympy evaluates it as Python, so nothing else may be in it."""
    if not isinstance(text, str) or len(text) > 10_000:
        return False
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return all(map(_is_plain, ast.walk(tree)))


def _is_plain(node: ast.AST) -> bool:
    if isinstance(node, ast.Name):
        return _FUNCTIONS.fullmatch(node.id) is not None
    if isinstance(node, ast.Constant):
        return not isinstance(node.value, str) or re.fullmatch(r"\w{1,40}", node.value) is not None
    return isinstance(node, _ARITHMETIC)
