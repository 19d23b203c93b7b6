"""Peak memory of one graph, measured in a process of its own.

``python -m lading.build.verify.peak_memory FILE.onnx INPUTS.npz`` prints bytes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from lading.artifact import read_tensors, tensors_to_bytes
from lading.errors import ArtifactError
from lading.predictor import open_session
from lading.spec import Array

_STATUS = Path("/proc/self/status")
_RUNS = 3


def peak_memory(file: Path, inputs: Mapping[str, Array]) -> int:
    """Growth of the peak resident size of a new process that opens a session and runs it, in bytes.

    Raises:
        ArtifactError: the graph cannot be run.
    """
    with tempfile.TemporaryDirectory() as folder:
        batch = Path(folder) / "inputs.npz"
        batch.write_bytes(tensors_to_bytes(inputs))
        command = [sys.executable, "-m", "lading.build.verify.peak_memory", str(file), str(batch)]
        finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        reason = (finished.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ArtifactError(f"{file} cannot be run in a process of its own: {reason}")
    return int(finished.stdout)


def _resident(entry: str) -> int:
    """Bytes that the kernel counts; without ``/proc`` (macOS) the peak so far, and 0 on Windows."""
    if not _STATUS.is_file():
        try:
            import resource
        except ModuleNotFoundError:
            return 0
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{entry}:"))
    return int(line.split()[1]) * 1024


def _grow(file: Path, batch: Path) -> int:
    inputs = read_tensors(batch)
    before = _resident("VmRSS")
    session = open_session(file)
    for _ in range(_RUNS):
        session.run(None, inputs)
    return max(0, _resident("VmHWM") - before)


if __name__ == "__main__":
    print(_grow(Path(sys.argv[1]), Path(sys.argv[2])))
