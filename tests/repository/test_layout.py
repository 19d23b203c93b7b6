"""Where tests are, and that the files which build and ship name paths that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE, TESTS = ROOT / "src" / "lading", ROOT / "tests"
ELSEWHERE = {
    "bento",
    "benchmarks",
    "chart",
    "clients",
    "conformance",
    "cost",
    "documented",
    "e2e",
    "given",
    "k8s",
    "mistakes",
    "models",
    "repository",
}
"""Folders of tests for what is outside the package, or for all of it."""
UNTESTED = {"protocol/proto": "generated", "monitoring/dashboards": "tests/monitoring/test_dashboards.py"}
"""Folders of the package without a folder of tests, and why."""
FILES = (
    *("Makefile", "bentofile.yaml", "pyproject.toml", ".dockerignore"),
    *("configs/dvc/dvc.yaml", "k8s/gke/cloudbuild.yaml", ".ci/run", ".ci/cluster", "docker/build"),
    *(str(file.relative_to(ROOT)) for file in sorted((ROOT / "docker").glob("*.Containerfile"))),
    *(str(file.relative_to(ROOT)) for file in sorted((ROOT / ".github" / "workflows").glob("*.yaml"))),
)
"""Files that build, test or ship."""
KEPT = (
    "benchmarks|configs|conformance|docker|docs|examples|frontend|helm|k8s|models|monitoring|requirements|src|tests"
    "|tools"
)
"""Folders at the root that are in git. The others are results."""
PATH = re.compile(rf"(?<![\w/.${{}}-])(?:{KEPT})/[\w./*%${{}}()-]*[\w*]")
MODULE = re.compile(r"(?:-m |\bimport |, )((?:benchmarks|conformance|models|tools|lading)(?:\.\w+)*)\b")
"""A module that a line runs or imports."""
VARIABLE = re.compile(r"\$+[({]\w+[)}]|\$+\w+|%")


def folders(root: Path) -> set[str]:
    """Folders below a root that hold a tracked kind of file."""
    holding = {file.parent.relative_to(root) for file in root.rglob("*.py")}
    return {str(folder) for folder in holding if folder != Path()}


@pytest.mark.parametrize("file", sorted(TESTS.rglob("*.py")), ids=lambda file: str(file.relative_to(TESTS)))
def test_nothing_imports_a_test(file: Path) -> None:
    named: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            named.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            named.update((node.module, *(f"{node.module}.{alias.name}" for alias in node.names)))
    modules = (name for name in named if name.startswith("tests."))
    found = [name for name in modules if re.search(r"\.(test_\w+|conftest)(\.|$)", name)]
    assert not found, f"{found}: put what tests share into tests/given"


def test_tests_mirror_the_folders_of_the_package() -> None:
    of_package = folders(PACKAGE) - UNTESTED.keys()
    of_tests = {folder for folder in folders(TESTS) if folder.split("/")[0] not in ELSEWHERE}
    assert of_tests == of_package


def test_a_test_of_one_module_is_where_the_module_is() -> None:
    modules: dict[str, set[str]] = {}
    for module in PACKAGE.rglob("*.py"):
        folder = module.parent.relative_to(PACKAGE)
        modules.setdefault(module.stem, set()).add(str(folder))
        modules.setdefault(folder.name, set()).update((str(folder), str(folder.parent)))  # a test of the whole folder
    misplaced = []
    for test in TESTS.rglob("test_*.py"):
        where = test.parent.relative_to(TESTS)
        places = modules.get(test.stem.removeprefix("test_"), {str(where)})
        if where.parts[:1] and where.parts[0] in ELSEWHERE:
            continue
        if str(where) not in places:
            misplaced.append(f"{test.relative_to(ROOT)}, of src/lading/{' or '.join(sorted(places))}")
    assert not misplaced


@pytest.mark.parametrize("name", FILES)
def test_every_path_that_a_file_names_exists(name: str) -> None:
    text = re.sub(r"uses: .*", "", (ROOT / name).read_text())  # actions, which are not here
    paths = {VARIABLE.sub("*", path) for path in PATH.findall(text)}
    missing = {path for path in paths if not any(ROOT.glob(path))}
    for module in MODULE.findall(text):
        path = module.replace(".", "/")
        if not any((base / f"{path}{end}").exists() for base in (ROOT, ROOT / "src") for end in ("", ".py")):
            missing.add(module)
    assert not missing
