"""Memory that decoding takes, measured in a process of its own, next to what its budget was told."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lading.budget import Budget
from lading.content.image import decode_image
from lading.errors import LadingError
from tests.given.hostile_pictures import SMALLEST, exif, png_with_chunk

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Peak(NamedTuple):
    """What decoding one file took."""

    taken: int
    """Bytes of resident memory at the highest point, beyond those before."""
    held: int
    """Bytes that the budget was asked for."""
    seconds: float
    error: str
    """Name of the error's class; empty after success."""


@dataclass(slots=True)
class _Noted(Budget):
    held: int = 0

    def hold(self, count: int, noun: str) -> None:
        self.held = count
        Budget.hold(self, count, noun)


def peaks(folder: Path, files: Mapping[str, bytes], *, size: int = 224, decode_bytes: int = 2**40) -> dict[str, Peak]:
    """Decode each file in a new process, to ``size`` x ``size`` pixels."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    command = [sys.executable, "-m", "tests.given.decode_peak", str(folder), str(size), str(decode_bytes), *files]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    return {name: Peak(*values) for name, values in json.loads(done.stdout).items()}


def _in_a_fork(data: bytes, size: int, decode_bytes: int) -> Peak:
    """Measure in a copy of this process, so that memory which an earlier file left does not count as free."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.write(writing, json.dumps(_measured(data, size, decode_bytes)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        values = json.loads(answer.read())
    os.wait()
    return Peak(*values)


def _measured(data: bytes, size: int, decode_bytes: int) -> Peak:
    budget = _Noted(decode_bytes=decode_bytes, pixels=2**40)
    gc.collect()
    _RESET.write_text("5")  # sets the highest point to what is resident now
    before, begin, error = _resident("VmRSS"), time.perf_counter(), ""
    try:
        decode_image(data, height=size, width=size, budget=budget)
    except LadingError as refused:
        error = type(refused).__name__
    return Peak(_resident("VmHWM") - before, budget.held, time.perf_counter() - begin, error)


def _resident(key: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(key))
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    where, side, limit, *names = sys.argv[1:]
    for warm in (SMALLEST, png_with_chunk(SMALLEST, b"eXIf", exif())):  # the first EXIF imports a module of Pillow
        _measured(warm, int(side), 2**40)
    print(json.dumps({name: _in_a_fork((Path(where) / name).read_bytes(), int(side), int(limit)) for name in names}))
