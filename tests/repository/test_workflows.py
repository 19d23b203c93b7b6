"""The workflows run what people run: every step is a make target or a script, and what is left out is said."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.k8s.tools import tool

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
SHELL = {"export", "echo", "gcloud"}
"""What a step may do around its target or script."""


def steps() -> Iterator[tuple[str, str]]:
    for file in WORKFLOWS:
        for name, job in yaml.safe_load(file.read_text())["jobs"].items():
            for number, step in enumerate(job["steps"]):
                if "run" in step:
                    yield f"{file.stem}, {name}, step {number}", step["run"]


def commands(script: str) -> list[list[str]]:
    """The commands of a script, without what they set for themselves and where their output goes."""
    found = []
    for line in script.replace("\\\n", " ").splitlines():
        for command in re.split(r"&&|\|\||;", re.sub(r"\$\([^)]*\)", "x", line)):
            words = shlex.split(command, comments=True)
            while words and re.match(r"\w+=", words[0]):
                words.pop(0)
            found.extend([words] if words else [])
    return found


def is_ours(words: list[str]) -> bool:
    """Whether a command is a make target or a script of the repository that there is."""
    if words[0] == "make":
        targets = [word for word in words[1:] if "=" not in word]
        makefile = (ROOT / "Makefile").read_text()
        return bool(targets) and all(
            re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE) or target in makefile for target in targets
        )
    return "/" in words[0] and os.access(ROOT / words[0], os.X_OK)


@pytest.mark.parametrize(("name", "script"), list(steps()), ids=lambda value: value if "step" in value else "")
def test_a_step_is_a_make_target_or_a_script(name: str, script: str) -> None:
    ours = [words for words in commands(script) if is_ours(words)]
    others = [words for words in commands(script) if not is_ours(words) and words[0] not in SHELL]
    assert ours, f"{name} runs nothing that a person can run"
    assert not others, name


@pytest.mark.parametrize(
    "script", ["make no-such-target", ".ci/no-such-script", "pytest -q", "make test && pip install x"]
)
def test_a_step_of_another_kind_is_seen(script: str) -> None:
    assert [words for words in commands(script) if not is_ours(words)]


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_github_accepts_the_workflow(file: Path) -> None:
    done = subprocess.run([tool("actionlint"), "-shellcheck=", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_workflow_ends_with_a_summary_of_all_its_jobs() -> None:
    for file in WORKFLOWS:
        jobs = yaml.safe_load(file.read_text())["jobs"]
        summary = jobs.pop("summary")
        assert set(summary["needs"]) == set(jobs), file.name
        assert summary["if"] == "always()", file.name


def test_a_job_that_may_be_left_out_has_a_reason_in_the_summary() -> None:
    for file in WORKFLOWS:
        jobs = yaml.safe_load(file.read_text())["jobs"]
        said = jobs.pop("summary")["steps"][-1]["run"]
        left_out = {name for name, job in jobs.items() if "if" in job}
        while more := {name for name, job in jobs.items() if left_out & {*_needs(job)}} - left_out:
            left_out |= more
        assert left_out == set(re.findall(r"\"(\w+)=", said)), file.name


def _needs(job: dict[str, Any]) -> list[str]:
    needs = job.get("needs", [])
    return [needs] if isinstance(needs, str) else needs


def summary(tmp_path: Path, *words: str, needs: dict[str, str], **variables: str) -> tuple[int, str]:
    page = tmp_path / "summary.md"
    environment = {**os.environ, "GITHUB_STEP_SUMMARY": str(page), **variables}
    environment["NEEDS"] = json.dumps({job: {"result": result} for job, result in needs.items()})
    done = subprocess.run(
        [ROOT / ".ci" / "summary", *words], env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, page.read_text() + done.stderr


def test_the_summary_says_what_was_done_and_why_something_was_not(tmp_path: Path) -> None:
    code, text = summary(
        tmp_path, "images=no cloud is set", "--note", "And.", needs={"test": "success", "images": "skipped"}
    )
    assert code == 0
    assert "| images | left out | no cloud is set |" in text
    assert "- And." in text


@pytest.mark.parametrize("result", ["skipped", "failure", "cancelled"])
def test_the_summary_fails_when_a_job_did_or_was_left_out_without_a_reason(result: str, tmp_path: Path) -> None:
    code, text = summary(tmp_path, needs={"test": "success", "images": result})
    assert code == 1
    assert "images" in text.splitlines()[-1]


def test_the_summary_names_a_setting_that_is_missing(tmp_path: Path) -> None:
    words = ("--unset", "LADING_TEST_A=a is not done", "--unset", "LADING_TEST_B=b is not done")
    code, text = summary(tmp_path, *words, needs={}, LADING_TEST_A="there")
    assert (code, text.strip()) == (0, "- LADING_TEST_B is not set: b is not done")
