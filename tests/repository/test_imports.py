"""Imports go one way: down the list of folders. What serves never imports torch."""

from __future__ import annotations

import ast
import importlib.metadata
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "lading"

LAYERS = """
cli
monitoring
deploy
score
build
serve
record
drift
protocol
predictor
tensors
progress settings log machine import_string key_file
artifact
signing
content
answers
spec
tensor_spec
budget preprocess
files
errors
"""
"""Folders and modules from the top down. Those on one line do not import each other."""

RANK = {entry: rank for rank, line in enumerate(LAYERS.strip().splitlines()) for entry in line.split()}
OF_SERVERS = ("structlog", "starlette", "uvicorn", "grpc", "bentoml", "pydantic_settings", "httptools", "uvloop")
OF_OTHER_EXTRAS = {
    "opentelemetry": "otel",
    "pyarrow": "payload",
    "evidently": "drift",
    "pandas": "drift",
    "psutil": "bento",
    "tokenizers": "text",
    "soundfile": "audio",
    "soxr": "audio",
}
"""Modules that a setting or a content type needs, and the extra that it names when they are missing."""
HEAVY = ("torch", "torchvision", "lightning", "torch_pruning", "onnx", "onnxscript", "hydra", "omegaconf", "wandb")


def modules() -> dict[str, Path]:
    files = sorted(PACKAGE.rglob("*.py"))
    names = {file: ".".join(("lading", *file.relative_to(PACKAGE).with_suffix("").parts)) for file in files}
    return {name.removesuffix(".__init__"): file for file, name in names.items()}


MODULES = modules()
ABOVE_ALL = {"lading", "lading.__main__"}


def imports(file: Path, *, for_types: bool = True) -> set[str]:
    """Every module that an import names, wherever it stands; those under ``if TYPE_CHECKING`` only ``for_types``."""
    tree = ast.parse(file.read_text())
    guarded = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    skipped = set() if for_types else {id(inner) for node in guarded for inner in ast.walk(node)}
    found: set[str] = set()
    for node in (node for node in ast.walk(tree) if id(node) not in skipped):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{file}: a relative import"
            found.add(node.module)
            found.update(name for alias in node.names if (name := f"{node.module}.{alias.name}") in MODULES)
    return found


def entry(module: str) -> str:
    return module.split(".")[1]


@pytest.mark.parametrize("module", sorted(set(MODULES) - ABOVE_ALL))
def test_a_module_imports_only_its_own_folder_or_lower_ones(module: str) -> None:
    own = entry(module)
    assert own in RANK, f"{own} stands nowhere in LAYERS"
    used = {entry(name) for name in imports(MODULES[module]) if name.startswith("lading.")} - {own}
    up = sorted(other for other in used if RANK[other] <= RANK[own])
    assert not up, f"{module} imports {up}, which do not stand below {own}"


def test_no_module_imports_a_private_name_of_another() -> None:
    private = [
        f"{module}: {node.module}.{alias.name}"
        for module, file in MODULES.items()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lading")
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.startswith("__")
    ]
    assert not private


def test_every_layer_exists() -> None:
    there = {entry(module) for module in set(MODULES) - ABOVE_ALL}
    assert set(RANK) == there


@pytest.mark.parametrize(
    "module", sorted(name for name in set(MODULES) - ABOVE_ALL if RANK[entry(name)] >= RANK["serve"])
)
def test_what_serves_names_no_library_of_the_build(module: str) -> None:
    heavy = sorted(name for name in imports(MODULES[module], for_types=False) if name.split(".")[0] in HEAVY)
    assert not heavy, f"{module} imports {heavy}"


@pytest.mark.parametrize(
    "statement",
    [
        "import lading.predictor",
        "import lading.serve.http.app",
        "import lading.serve.grpc.server",
        "import lading.score.score",
        "import lading.deploy.compare",
        "import lading.deploy.load.run",
        "import lading.cli",
        "import service",
    ],
)
def test_serving_loads_neither_torch_nor_lightning(statement: str) -> None:
    code = f"{statement}\nimport sys\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip().splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "statement", ["import lading.cli", "import lading.build.build, lading.build.collected, lading.build.train.train"]
)
def test_what_needs_no_server_works_without_the_packages_of_one(statement: str) -> None:
    code = f"import sys\nsys.modules.update(dict.fromkeys({OF_SERVERS}))\n{statement}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def brought_by(extra: str) -> set[str]:
    """Every package that ``lading[extra]`` installs, by its normalized name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    waiting = [Requirement(one) for one in [*project["dependencies"], *project["optional-dependencies"][extra]]]
    found: set[str] = set()
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if name in found or (
            wanted.marker and not any(wanted.marker.evaluate({"extra": e}) for e in ("", *wanted.extras))
        ):
            continue
        found.add(name)
        waiting += [Requirement(one) for one in importlib.metadata.requires(name) or ()]
    return found


@pytest.mark.parametrize(
    ("extra", "modules"),
    [
        ("kubernetes", "kubernetes, uvicorn, lading.deploy.retraining, lading.deploy.promotion, lading.deploy.why"),
        ("score", "lading.score.score, lading.score.scorer"),
        ("serve", "lading.serve.ports, lading.deploy.load.shapes, lading.deploy.canary.rollout"),
    ],
)
def test_an_extra_brings_what_its_commands_import(extra: str, modules: str) -> None:
    own = brought_by(extra)
    installed = importlib.metadata.packages_distributions()
    absent = {
        top for top, names in installed.items() if top != "lading" and not own & set(map(canonicalize_name, names))
    }
    code = f"import sys\nsys.modules.update(dict.fromkeys({sorted(absent)}))\nimport {modules}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_serving_loads_no_client() -> None:
    clients = ("httpx", "lading.protocol.client")
    code = "import lading.serve.http.app, lading.serve.grpc.server, sys\nprint(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = result.stdout.split()
    assert "lading.serve.grpc.server" in loaded
    assert not set(clients) & set(loaded)


def test_what_serves_imports_only_packages_that_its_extra_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["serve"]]
    named = {canonicalize_name(Requirement(one).name) for one in wanted}
    installed = importlib.metadata.packages_distributions()
    missing = set()
    for module in sorted(name for name in set(MODULES) - ABOVE_ALL if RANK[entry(name)] >= RANK["serve"]):
        for imported in imports(MODULES[module], for_types=False):
            top = imported.split(".")[0]
            if top in {*sys.stdlib_module_names, *OF_OTHER_EXTRAS, "lading", "google"}:
                continue  # google.protobuf shares its first name with others
            if not named & set(map(canonicalize_name, installed[top])):
                missing.add((module, top))
    assert not missing


def test_the_models_use_the_public_contract_alone() -> None:
    import lading

    for file in (ROOT / "models").glob("*.py"):
        own = {entry(name) for name in imports(file) if name.startswith("lading.")}
        assert own <= {"spec", "errors", *lading.__all__}, f"{file.name} imports {own}"


def test_nothing_in_the_package_imports_a_model() -> None:
    for module, file in MODULES.items():
        assert not any(name.split(".")[0] == "models" for name in imports(file)), module
