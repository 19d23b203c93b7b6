"""The programs of ``make chart-tools``, and the schemas beside them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "build" / "tools"


def tool(name: str) -> str:
    """A program of ``make chart-tools``, or of the path; its test is skipped where it is in neither."""
    found = str(TOOLS / name) if (TOOLS / name).is_file() else shutil.which(name)
    if found is None:
        assert "TESTS_NEED_TOOLS" not in os.environ, f"{name} is not here"
        pytest.skip(f"{name} is not here: `make test-chart` builds it")
    return found


def validate(manifests: Mapping[str, Sequence[dict[str, Any]]], folder: Path) -> None:
    """Hold manifests, by file name, against the schemas of their kinds."""
    program = tool("kubectl-validate")
    if not (TOOLS / "crds").is_dir():
        pytest.skip("the schemas are not here: `make test-chart` fetches them")
    folder.mkdir(exist_ok=True)
    for name, documents in manifests.items():
        (folder / name).write_text(yaml.safe_dump_all([_named(one) for one in documents]))
    words = [program, str(folder), "--local-crds", str(TOOLS / "crds"), "--version", "1.30"]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert result.returncode == 0, "\n".join(line for line in result.stderr.splitlines() if "OK" not in line)


def _named(document: dict[str, Any]) -> dict[str, Any]:
    """What the API server does with ``generateName``."""
    metadata = document["metadata"]
    return {**document, "metadata": {"name": f"{metadata.get('generateName')}abcde", **metadata}}
