"""SECURITY.md is true: every bound and every test that it names exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from lading.settings import Settings, variable_of
from tools import chart

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text()
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
CODE = re.compile(r"`([^`]+)`")
THREATS = [
    tuple(cell.strip() for cell in line.strip("|").split("|"))
    for line in PAGE.partition("## Threats")[2].splitlines()
    if line.startswith("| ") and not line.startswith("| Threat ")
]
VARIABLES = {variable_of(name) for name in Settings.model_fields}
VALUES = {
    ".".join(value.path[: depth + 1])
    for value in chart.values((chart.CHART / "values.yaml").read_text())
    for depth in range(len(value.path))
}


@cache
def functions_of(file: str) -> set[str]:
    path = ROOT / file
    if not path.is_file():
        return set()
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, functions)}


def missing(threat: tuple[str, ...]) -> list[str]:
    """What a row names that does not exist."""
    _, bound, tests = threat
    found = [f"{file}::{name}" for file, name in TEST.findall(tests) if name not in functions_of(file)]
    for word in CODE.findall(bound):
        exists = (
            word in VARIABLES
            or word in VALUES
            or ("/" in word and not word.startswith("/") and (ROOT / word).is_file())
            or (word.startswith("/") and word.strip("/").isalpha())  # a path of the server
            or (word.startswith("make ") and re.search(rf"^{word[5:]}:", (ROOT / "Makefile").read_text(), re.MULTILINE))
        )
        found += [] if exists else [word]
    return found


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat[0])
def test_every_threat_has_a_bound_and_a_test_that_exist(threat: tuple[str, ...]) -> None:
    _, bound, tests = threat
    assert bound
    assert TEST.search(tests), "no test is named"
    assert not TEST.sub("", tests).strip(", "), "name each test as `FILE::NAME`"
    assert not missing(threat)


def test_every_test_that_the_page_names_exists() -> None:
    named = TEST.findall(PAGE)
    assert len(named) > 50
    assert not [f"{file}::{name}" for file, name in named if name not in functions_of(file)]


@pytest.mark.parametrize(
    ("bound", "test", "wrong"),
    [
        (
            "`LADING_MAX_BATCHES`",
            "`tests/test_errors.py::test_x`",
            ["tests/test_errors.py::test_x", "LADING_MAX_BATCHES"],
        ),
        ("`auth.secret`", "", ["auth.secret"]),
        ("`docs/no-such-page.md`", "`tests/none.py::test_y`", ["tests/none.py::test_y", "docs/no-such-page.md"]),
        ("`LADING_MAX_BATCH`, `auth.existingSecret`, `docs/settings.md`, `make audit`", "", []),
    ],
)
def test_a_name_that_does_not_exist_is_seen(bound: str, test: str, wrong: list[str]) -> None:
    assert missing(("a threat", bound, test)) == wrong


def test_the_page_says_how_to_report_and_which_versions_get_fixes() -> None:
    assert "Report a vulnerability" in PAGE
    assert re.search(r"Fixes go into the newest release", PAGE)
