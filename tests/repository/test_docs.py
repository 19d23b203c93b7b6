"""The documentation is true: its commands are accepted as written, and its links have targets."""

from __future__ import annotations

import ast
import itertools
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
import yaml

from lading.build.train.config import compose
from lading.build.train.sweep import read_sweep
from lading.cli import app
from tests.given.documented import ROOT, commands
from tools import chart, diagrams

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMING = [ROOT / "CONTRIBUTING.md", ROOT / "docs" / "architecture.md"]
"""Pages that name files, classes and functions of the repository."""
CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
PATH = re.compile(r"[\w.-]+(?:/[\w.-]+)*/?")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")


ALL = [(page, command) for page in PAGES for command in commands(page)]


def starting(*words: str) -> list[str]:
    return sorted({command for _, command in ALL if command.split()[0] in words})


TRAINING = starting("torchrun", "kubectl", "dvc", "wandb")
DEBIAN = starting("apt-get")
STARTER = "my_model.py"
"""The file that ``lading init`` writes on a page; tests/e2e/test_wheel.py runs the commands that use it."""
CLOUD = starting("gcloud", "terraform", "docker", "docker/build", "env", "sed")


def test_every_command_of_the_documentation_is_of_a_kind_that_is_tested() -> None:
    tested = {*starting("make"), *starting("lading"), *starting("curl", "echo"), *starting("python"), *TRAINING}
    tested |= {*starting("pip"), *starting("helm"), *starting("kind"), *starting("locust"), *CLOUD, *DEBIAN}
    assert {command for _, command in ALL} == tested


@pytest.mark.parametrize("command", starting("make"))
def test_make_knows_the_target(command: str) -> None:
    result = subprocess.run(["make", "-n", *command.split()[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("command", starting("lading"))
def test_the_command_line_accepts_the_command(command: str) -> None:
    _, name, *arguments = shlex.split(command.partition(" > ")[0], comments=True)
    group = typer.main.get_command(app)
    subcommand = group.commands[name]  # type: ignore[attr-defined]
    if hasattr(subcommand, "commands"):
        name, *arguments = arguments
        subcommand = subcommand.commands[name]
    with subcommand.make_context(name, [argument.replace("...", "x") for argument in arguments]) as context:
        given = context.params
    if {"overrides", "model"} <= given.keys() and not given["model"].startswith(STARTER):
        assert compose(given["model"], given["overrides"] or []).target == given["model"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_extra_that_a_page_names_exists(page: Path) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {extra for group in re.findall(r"lading\[([\w,]+)\]", page.read_text()) for extra in group.split(",")}
    assert named <= extras.keys()


@pytest.mark.parametrize("command", TRAINING)
def test_a_command_of_another_tool_names_what_there_is(command: str) -> None:
    words = shlex.split(command, comments=True)
    if words[0] == "torchrun":
        test_the_command_line_accepts_the_command(shlex.join(words[words.index("-m") + 1 :]))
    elif words[:2] == ["kubectl", "apply"]:
        if "-k" in words:
            assert (ROOT / words[words.index("-k") + 1] / "kustomization.yaml").is_file()
        else:
            assert list(yaml.safe_load_all((ROOT / words[words.index("-f") + 1]).read_text()))
    elif words[:2] == ["kubectl", "create"] and "-f" in words:
        assert list(yaml.safe_load_all((ROOT / words[words.index("-f") + 1]).read_text()))
    elif words[:2] == ["wandb", "sweep"]:
        assert read_sweep(ROOT / words[2])["command"]
    elif words[:2] == ["dvc", "repro"]:
        assert set(words[2:]) <= yaml.safe_load((ROOT / "configs" / "dvc" / "dvc.yaml").read_text())["stages"].keys()
    elif words[:3] == ["dvc", "exp", "run"]:
        params = yaml.safe_load((ROOT / "configs" / "dvc" / "params.yaml").read_text())
        for word in words[4::2]:
            group, key = word.split("=")[0].split(".")
            assert key in params[group]


@pytest.mark.parametrize("command", starting("helm"))
def test_the_chart_knows_every_value_that_a_command_sets(command: str) -> None:
    words = shlex.split(command, comments=True)
    known = {".".join(value.path) for value in chart.values((chart.CHART / "values.yaml").read_text())}
    for flag, assignments in itertools.pairwise(words):
        names = [part.partition("=")[0] for part in assignments.split(",")] if flag == "--set" else []
        assert all(name in known or name.startswith("settings.") for name in names), names
    assert all((ROOT / word / "Chart.yaml").is_file() for word in words if word.startswith("helm/"))
    assert words[1] in ("upgrade", "rollback", "test", "uninstall")


@pytest.mark.parametrize("command", starting("kubectl", "kind"))
def test_a_command_to_a_cluster_says_what_it_does_and_where(command: str) -> None:
    program, *words = shlex.split(command, comments=True)
    kubectl = {"apply", "create", "delete", "describe", "get", "logs", "port-forward", "proxy", "rollout", "wait"}
    verbs = {"kubectl": kubectl, "kind": {"create", "load", "delete"}}
    assert verbs[program] & set(words)


@pytest.mark.parametrize("command", CLOUD)
def test_a_command_to_a_cloud_names_files_and_variables_that_there_are(command: str) -> None:
    words = shlex.split(command, comments=True)
    files = [word for word in words if word.startswith(("k8s/", "docker/", "-chdir="))]
    assert all((ROOT / word.removeprefix("-chdir=")).exists() for word in files)
    terraform = "\n".join(file.read_text() for file in (ROOT / "k8s" / "gke" / "terraform").glob("*.tf"))
    if words[0] == "terraform":
        assert words[2] in ("init", "apply", "output", "destroy")
        named = [word.partition("=")[0] for flag, word in itertools.pairwise(words) if flag == "-var"]
        assert all(f'variable "{name}"' in terraform for name in named)
        assert words[2] != "output" or f'output "{words[3]}"' in terraform
    if words[0] == "env":
        script = (ROOT / next(word for word in words if word.startswith("k8s/"))).read_text()
        assert all(word.partition("=")[0] in script for word in words[1:] if word.split("=")[0].isupper())


@pytest.mark.parametrize("command", DEBIAN)
def test_a_command_that_installs_is_the_one_that_a_program_asks_for(command: str) -> None:
    assert any(command in file.read_text() for file in (ROOT / "models").rglob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("command", starting("locust"))
def test_locust_knows_the_options(command: str) -> None:
    locust = [sys.executable, "-m", "locust", *shlex.split(command, comments=True)[1:]]
    done = subprocess.run([*locust, "--show-task-ratio"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "unrecognized arguments" not in done.stderr
    assert "Total task ratio" in done.stdout + done.stderr, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("module", sorted({command.split()[2] for command in starting("python")}))
def test_a_module_that_is_run_explains_itself(module: str) -> None:
    subprocess.run([sys.executable, "-m", module, "--help"], cwd=ROOT, check=True, capture_output=True)


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
