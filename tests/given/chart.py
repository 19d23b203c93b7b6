"""The chart, rendered by Helm. Helm and its tools are Go programs; ``make chart-tools`` builds them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "lading"


def tool(name: str) -> str:
    """A program of ``make chart-tools``, or of the path; its test is skipped where it is in neither."""
    built = ROOT / "build" / "tools" / name
    found = str(built) if built.is_file() else shutil.which(name)
    if found is None:
        assert "TESTS_NEED_TOOLS" not in os.environ, f"{name} is not here"
        pytest.skip(f"{name} is not here: `make chart-tools` builds it")
    return found


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([tool("helm"), *arguments], capture_output=True, text=True, check=False, cwd=ROOT)


def render(*sets: str, name: str = "cards", namespace: str = "serve") -> list[dict[str, Any]]:
    """The objects that the chart makes of these values."""
    options = [word for value in sets for word in ("--set", value)]
    result = helm("template", name, str(CHART), "--namespace", namespace, *options)
    assert result.returncode == 0, result.stderr
    # libyaml reads a chart in a tenth of the time.
    return [document for document in yaml.load_all(result.stdout, Loader=yaml.CSafeLoader) if document]


def one(objects: Sequence[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [document for document in objects if document["kind"] == kind]
    return found
