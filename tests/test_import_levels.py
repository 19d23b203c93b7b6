"""Imports go one way, and serving never pulls in torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "lading"

LEVELS: dict[str, int] = {
    "errors": 0,
    "spec": 0,
    "artifact": 1,
    "decode": 1,
    "import_string": 1,
    "machine": 1,
    "measurement": 1,
    "metrics": 1,
    "recording_metrics": 1,
    "recording_settings": 1,
    "settings": 1,
    "tensors": 1,
    "predictor": 2,
    "drift": 2,
    "payload": 2,
    "reference": 2,
    "serve": 2,
    "cli": 4,
    "commands": 4,
    "__main__": 4,
}
"""A module that is not listed belongs to level 3, the build."""

HEAVY = ("torch", "torchvision", "lightning", "torch_pruning", "onnx", "onnxscript", "hydra", "omegaconf", "wandb")


def level(module: str) -> int:
    return LEVELS.get(module.split(".")[1], 3) if "." in module else 0


def modules() -> list[tuple[str, Path]]:
    files = sorted(file for file in PACKAGE.rglob("*.py") if file != PACKAGE / "__init__.py")
    return [(".".join(("lading", *file.relative_to(PACKAGE).with_suffix("").parts)), file) for file in files]


def imports(file: Path) -> set[str]:
    """Every module named in an import, wherever it stands but under ``if TYPE_CHECKING``."""
    tree = ast.parse(file.read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names if node.module == "lading")
    return found


@pytest.mark.parametrize(("module", "file"), modules(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_module_imports_only_its_own_level_or_lower(module: str, file: Path) -> None:
    names = {name for name in imports(file) if name.startswith("lading.")}
    names = {name for name in names if (PACKAGE / name.split(".")[1]).with_suffix(".py").exists() or level(name) == 2}
    above = sorted(name for name in names if level(name) > level(module))
    assert not above, f"{module} is of level {level(module)} and imports {above}"


@pytest.mark.parametrize(("module", "file"), modules(), ids=lambda value: value if isinstance(value, str) else "")
def test_levels_0_to_2_never_import_torch(module: str, file: Path) -> None:
    if level(module) > 2:
        return
    heavy = sorted(name for name in imports(file) if name.split(".")[0] in HEAVY)
    assert not heavy, f"{module} is of level {level(module)} and imports {heavy}"


@pytest.mark.parametrize("statement", ["import lading.predictor", "import lading.serve.app", "import service"])
def test_serving_loads_neither_torch_nor_lightning(statement: str) -> None:
    code = f"{statement}\nimport sys\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip().splitlines()[-1] == "[]"


def test_the_models_use_the_public_contract_alone() -> None:
    for file in (ROOT / "models").glob("*.py"):
        own = {name.split(".")[1] for name in imports(file) if name.startswith("lading.")}
        assert own <= {"spec", "errors", *_public_names()}, f"{file.name} imports {own}"


def _public_names() -> set[str]:
    import lading

    return set(lading.__all__)


def test_nothing_in_the_package_imports_a_model() -> None:
    for module, file in modules():
        assert not any(name.split(".")[0] == "models" for name in imports(file)), module
