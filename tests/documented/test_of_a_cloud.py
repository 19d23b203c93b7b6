"""Commands that need an account are parsed by the tool's own grammar, and what they name exists.

No such tool runs: a command that deletes a project must not find credentials on a developer's machine.
"""

from __future__ import annotations

import ast
import itertools
import os
import re
import shutil
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.given.documented import ROOT, Documented, Way, run_by

TERRAFORM = ROOT / "k8s" / "gke" / "terraform"
ALL = run_by(Way.CLOUD)


def starting(word: str) -> list[Documented]:
    return [one for one in ALL if one.words[0] == word]


def test_each_command_is_of_a_tool_that_is_checked() -> None:
    assert {one.words[0] for one in ALL} <= {"gcloud", "terraform", "pip", "apt-get"}


@cache
def grammar() -> Mapping[str, Any]:
    """Google's own table of commands and flags, which its shell completion reads."""
    program = shutil.which("gcloud")
    file = Path(program).resolve().parents[1] / "data" / "cli" / "gcloud_completions.py" if program else Path()
    if not file.is_file():
        pytest.skip("gcloud is not here")
    (table,) = [node.value for node in ast.parse(file.read_text()).body if isinstance(node, ast.Assign)]
    found: Mapping[str, Any] = ast.literal_eval(table)
    return found


@pytest.mark.parametrize("one", starting("gcloud"), ids=str)
def test_gcloud_knows_the_command_and_its_flags(one: Documented) -> None:
    table = grammar()
    node, flags = table, set(table["flags"])
    for word in one.words[1:]:
        if word in node["commands"]:
            node = node["commands"][word]
            flags |= set(node["flags"])
        elif not node["commands"]:
            break
        else:
            pytest.fail(f"gcloud knows no {word!r} here, but {', '.join(node['commands'])}")
    assert not node["commands"], f"{one.text} is a group of commands"
    named = {word.partition("=")[0] for word in one.words if word.startswith("--")}
    assert named <= flags, f"gcloud does not know {named - flags}"
    files = [word for word in one.words if word.startswith(("k8s/", "docker/"))]
    assert all((ROOT / file).exists() for file in files)


@pytest.mark.parametrize("one", starting("terraform"), ids=str)
def test_terraform_is_given_variables_and_asked_for_outputs_that_exist(one: Documented) -> None:
    """tests/k8s/test_gke.py validates the configuration against the provider's schema."""
    folder, verb = one.words[1].removeprefix("-chdir="), one.words[2]
    assert (ROOT / folder).resolve() == TERRAFORM
    text = "\n".join(file.read_text() for file in TERRAFORM.glob("*.tf"))
    assert verb in ("init", "apply", "output", "destroy")
    named = [word.partition("=")[0] for flag, word in itertools.pairwise(one.words) if flag == "-var"]
    assert all(f'variable "{name}"' in text for name in named)
    assert verb != "output" or f'output "{one.words[3]}"' in text


@pytest.mark.parametrize("one", starting("pip"), ids=str)
def test_an_extra_that_is_installed_exists(one: Documented) -> None:
    """tests/e2e/test_wheel.py installs the package."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for package in one.words[2:]:
        named = re.fullmatch(r"lading\[([\w,]+)\]", package)
        assert named or (ROOT / package / "pyproject.toml").is_file(), package
        assert not named or set(named[1].split(",")) <= extras.keys()


@pytest.mark.parametrize("one", starting("apt-get"), ids=str)
def test_a_command_that_installs_is_the_one_that_a_program_asks_for(one: Documented) -> None:
    assert any(one.text in file.read_text() for file in (ROOT / "models").rglob("*.py"))
    assert "TESTS_NEED_TOOLS" not in os.environ or shutil.which("apt-get")
