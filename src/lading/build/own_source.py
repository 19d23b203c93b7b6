"""The source that a model is written in: its file, and what that imports of the user's own files."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import inspect
import site
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from lading.spec import Evaluated

LATER = frozenset({"variants", "budget", "version", "description"})
"""Fields of a spec that training does not read. The stages that read them compare their values."""


def source_files(spec: Evaluated) -> dict[str, Path]:
    """The files that decide what a model is, by a name that is the same on every machine.

    Imports are read from the text, so a module that is imported within a function counts, and one that is imported by
    a computed name does not. Installed packages, the standard library and Lading itself do not count.

    Returns:
        Path by name, such as ``cards.py`` or ``card_decks/rendered.py``: relative to the model's folder, or to the
        folder that Python imports from. Empty for a class that was typed into an interpreter.
    """
    try:
        first = Path(inspect.getfile(type(spec))).resolve()
    except (TypeError, OSError):
        return {}
    roots = _roots(first)
    found: dict[Path, None] = {}
    waiting = [first]
    while waiting:
        file = waiting.pop()
        if file not in found and file.is_file():
            found[file] = None
            waiting.extend(_imported(file, roots))
    return dict(sorted((_name(file, first.parent, roots), file) for file in found))


def source_digests(spec: Evaluated) -> dict[str, str]:
    """The SHA-256 of each file's statements, without comments, docstrings and the fields in :data:`LATER`."""
    classes = {cls.__qualname__ for cls in type(spec).__mro__ if issubclass(cls, Evaluated)}
    return {name: _digest(file, classes) for name, file in source_files(spec).items()}


def _digest(file: Path, classes: set[str]) -> str:
    content = file.read_bytes()
    try:
        tree = ast.parse(content)
    except (SyntaxError, RecursionError):
        return hashlib.sha256(content).hexdigest()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            own = isinstance(node, ast.ClassDef) and any(name.split(".")[-1] == node.name for name in classes)
            kept = [one for one in node.body if not _is_text(one) and not (own and _is_later(one))]
            node.body = kept or [ast.Pass()]
    with contextlib.suppress(RecursionError):  # an expression of a thousand terms
        content = ast.unparse(tree).encode()
    return hashlib.sha256(content).hexdigest()


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_later(node: ast.stmt) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return bool(targets) and all(isinstance(target, ast.Name) and target.id in LATER for target in targets)


def _roots(first: Path) -> list[Path]:
    """Folders that the user's own modules are imported from, as ``lading.import_string`` sets them, and the path's."""
    own = [first.parent.parent, first.parent]
    found = [Path(entry or ".").resolve() for entry in sys.path]
    found = [root for root in found if not any(root.glob("*.dist-info"))]  # what pip installed with --target
    return [root for root in dict.fromkeys([*own, *found]) if root.is_dir() and not _installed(root)]


def _installed(path: Path) -> bool:
    if {"site-packages", "dist-packages"} & set(path.parts):  # of another environment, too, which a .pth file names
        return True
    places = {*sysconfig.get_paths().values(), *site.getsitepackages(), site.getusersitepackages()}
    return any(path.is_relative_to(Path(place).resolve()) for place in places)


def _imported(file: Path, roots: list[Path]) -> Iterator[Path]:
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files(alias.name.split("."), roots)
        elif isinstance(node, ast.ImportFrom):
            start = [file.parents[node.level - 1]] if node.level else roots
            parts = node.module.split(".") if node.module else []
            for alias in node.names:
                yield from _files([*parts, alias.name], start)


def _files(parts: list[str], roots: list[Path]) -> Iterator[Path]:
    """The files that importing a dotted name runs: each package on the way, and the module."""
    if parts[0] == "lading":
        return
    for root in roots:
        found = [
            file.resolve()
            for count in range(1, len(parts) + 1)
            for place in [root.joinpath(*parts[:count])]
            for file in (place.with_name(f"{place.name}.py"), place / "__init__.py")
            if file.is_file()
        ]
        if found or root.joinpath(parts[0]).is_dir():
            yield from (file for file in found if not _installed(file))
            return


def _name(file: Path, folder: Path, roots: list[Path]) -> str:
    for root in (folder, *roots):
        if file.is_relative_to(root):
            return file.relative_to(root).as_posix()
    return file.name
