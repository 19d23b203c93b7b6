"""`lading up` from a packed artifact to a checked answer, twice, and `lading down`, twice.

It builds an image and brings it to the nodes: on a cluster of kind, or with LADING_LOAD_COMMAND.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster.kube import ROOT, run

pytestmark = pytest.mark.slow
SMALL = ("replicaCount=1", "resources.requests.cpu=250m", "resources.requests.memory=384Mi")


@pytest.fixture
def namespace() -> Iterator[str]:
    if not os.environ.get("LADING_E2E_IMAGE"):
        pytest.skip("LADING_E2E_IMAGE is not set: `make e2e-cluster` sets it, with KUBECONFIG of a cluster")
    context = run("kubectl", "config", "current-context").strip()
    if not (os.environ.get("LADING_LOAD_COMMAND") or context.startswith("kind-")):
        pytest.skip("LADING_LOAD_COMMAND is not set, and the cluster is not kind's")
    name = f"lading-up-{os.getpid()}"
    yield name
    run("kubectl", "delete", "namespace", name, "--ignore-not-found", "--wait=false", check=False)


def lading(folder: Path, *words: str, code: int = 0) -> str:
    command = [sys.executable, "-m", "lading", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "COLUMNS": "300"}
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    print(ended.stdout + ended.stderr)
    assert ended.returncode == code
    return ended.stdout + ended.stderr


def test_up_brings_an_artifact_to_a_checked_answer_and_down_removes_it(
    artifact: Path, namespace: str, tmp_path: Path
) -> None:
    options = ["--namespace", namespace, *(word for value in SMALL for word in ("--set", value))]
    begin = time.monotonic()
    first = lading(tmp_path, "up", str(artifact), *options)
    print(f"from the artifact to a checked answer: {time.monotonic() - begin:.0f} s")
    assert re.search(r"REST: variant \S+ gives the golden answers", first)
    assert re.search(r"gRPC: variant \S+ gives the golden answers", first)
    (name,) = re.findall(r"^(\S+) is up, after", first, re.MULTILINE)
    again = lading(tmp_path, "up", str(artifact), *options)
    assert f"{name} was up, and nothing has changed" in again
    assert re.search(r"^image +the nodes have", again, re.MULTILINE)
    assert re.search(r"^release +\S+ has this image and these values", again, re.MULTILINE)
    broken = ["--set", "image.tag=absent", "--set", "image.pullPolicy=Never", "--timeout", "15s"]
    failed = lading(tmp_path, "up", str(artifact), *options, *broken, code=1)
    assert re.search(r"the step 'release' failed: .*absent", failed), "the cause, and not only what Helm says"
    assert "run the same command again" in failed
    assert "is removed" in lading(tmp_path, "down", name, "--namespace", namespace)
    assert "nothing to do" in lading(tmp_path, "down", name, "--namespace", namespace)
