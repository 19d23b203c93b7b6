"""The documentation is true: links have targets, and named code exists. tests/documented runs the commands."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

from tests.given.documented import ROOT
from tools import diagrams

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMING = [ROOT / "CONTRIBUTING.md", ROOT / "docs" / "architecture.md"]
"""Pages that name files, classes and functions of the repository."""
CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
PATH = re.compile(r"[\w.-]+(?:/[\w.-]+)*/?")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_extra_that_a_page_names_exists(page: Path) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {extra for group in re.findall(r"lading\[([\w,]+)\]", page.read_text()) for extra in group.split(",")}
    assert named <= extras.keys()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    missing = [target for target in LINK.findall(page.read_text()) if not (page.parent / target).exists()]
    assert not missing


def defined(tree: ast.Module) -> set[str]:
    """Names that a module defines: classes, functions, constants, and the methods of classes as ``Class.method``."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            methods = (inner for inner in node.body if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef))
            names.update(f"{node.name}.{method.name}" for method in methods)
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        names.update(target.id for target in targets if isinstance(target, ast.Name))
    return names


def located(path: str) -> Path | None:
    """A path of a page: relative to the package, or to the repository."""
    found = [base / path for base in (ROOT / "src" / "lading", ROOT) if (base / path).exists()]
    return found[0] if found else None


@pytest.mark.parametrize("page", NAMING, ids=lambda page: page.name)
def test_every_file_and_function_that_a_page_names_is_there(page: Path) -> None:
    classes = {name for file in (ROOT / "src").rglob("*.py") for name in defined(ast.parse(file.read_text()))}
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    missing, files = [], 0
    for named in CODE.findall(text):
        path, colon, name = named.partition(":")
        if "NAME" in path or "NNNN" in path:  # stands for a file that the reader makes
            continue
        if PATH.fullmatch(path) and (path.endswith((".py", ".md", ".yaml", ".dot", "/")) or "/" in path):
            file = located(path)
            files += 1
            if file is None or (colon and name not in defined(ast.parse(file.read_text()))):
                missing.append(named)
        elif re.fullmatch(r"[A-Z][a-z]\w+(\.\w+)?", named) and named not in classes and located(named) is None:
            missing.append(named)
    assert not missing
    assert files > 10, "the page names its files in another way than this test reads"


def test_the_architecture_page_lists_every_part_of_the_package() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    parts = {f"{entry.name}/" if entry.is_dir() else entry.name for entry in (ROOT / "src" / "lading").iterdir()}
    parts -= {"__init__.py", "__main__.py", "py.typed", "__pycache__/"}
    assert not {part for part in parts if f"`{part}`" not in page}


@pytest.mark.parametrize("source", sorted(diagrams.DIAGRAMS.glob("*.dot")), ids=lambda source: source.stem)
def test_a_diagram_was_drawn_from_its_source(source: Path) -> None:
    assert diagrams.is_current(source), "run make generate"
