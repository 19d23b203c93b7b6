"""A local Ray of two workers writes the bytes that one process writes, whatever becomes of a worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from lading.artifact import Artifact
from lading.score.parts import Parts
from tests.score.scored import features, run, write_lines, write_parquet

START_S = 120
"""Ray's own processes take long to start on a busy machine."""


def command(artifact: Artifact, source: Path, output: Path, *options: str) -> list[str]:
    words = ["score", str(artifact.path), str(source), str(output), "--ray", "local", "--workers", "2", *options]
    return [sys.executable, "-m", "lading", *words]


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes of Ray that score."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            title = " ".join(child.cmdline())
        except psutil.Error:
            continue
        if title.startswith("ray::") and "Worker" in title:
            found.append(child)
    return found


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_nothing(small: dict[str, Artifact], tmp_path: Path) -> None:
    source, output = write_parquet(tmp_path / "in.parquet", features(1200), row_group=100), tmp_path / "out.parquet"
    parts = Parts(output)
    process = subprocess.Popen(
        command(small["table"], source, output, "--part-rows", "2", "--keep", "id"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"RAY_DEDUP_LOGS": "0"},
    )
    killed = None
    while process.poll() is None and killed is None:
        # Between the first part and the last a worker is in the middle of something.
        if parts.folder.is_dir() and any(parts.folder.glob("part-*")):
            for worker in workers_of(process):
                os.kill(worker.pid, signal.SIGKILL)
                killed = worker.pid
                break
        time.sleep(0.05)  # a poll without a pause takes the core that Ray needs to start
    out, err = process.communicate(timeout=START_S)
    assert process.returncode == 0, err
    assert killed is not None
    assert "1200 rows scored" in out
    assert not parts.folder.exists()
    run(small["table"], source, tmp_path / "local.parquet", part_rows=2, keep=("id",))
    assert output.read_bytes() == (tmp_path / "local.parquet").read_bytes()


@pytest.mark.slow
def test_a_bad_row_is_named_as_on_one_machine(small: dict[str, Artifact], tmp_path: Path) -> None:
    source = write_lines(tmp_path / "in.jsonl", [{"features": [1, 2, 3, 4]}, {"features": [1, 2, 3]}])
    words = command(small["table"], source, tmp_path / "out.jsonl")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "in.jsonl, line 2: input 'features' has shape [1, 3]" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
