"""The Python environment of each peer."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

from benchmarks import ROOT, WORK
from benchmarks.server.peer_list import COMMON, Peer


def environment_of(peer: Peer) -> Path:
    """The interpreter of the peer's own environment, made when it is missing."""
    if not peer.requirements:
        return Path(sys.executable)
    folder = WORK / "env" / peer.name
    python = folder / "bin" / "python"
    stamp = folder / "installed.txt"
    wanted = "\n".join([*COMMON, *peer.requirements])
    if not stamp.exists() or stamp.read_text() != wanted:
        own_uv = Path(sys.executable).with_name("uv")
        uv = str(own_uv) if own_uv.exists() else "uv"
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True)
        install = [uv, "pip", "install", "--quiet", "--python", str(python), *COMMON, *peer.requirements]
        subprocess.run(install, check=True)
        stamp.write_text(wanted)
    return python


@functools.cache
def compile_packages(python: Path) -> None:
    """Byte-compile what an environment imports, as images do. Call it before a start is measured.

    Where ``PYTHONDONTWRITEBYTECODE`` is set, nothing else leaves bytecode behind.
    """
    folders = [python.parents[1] / "lib", ROOT / "src", ROOT / "benchmarks"]
    # Some packages carry files of another Python, or templates; those that are imported do compile.
    subprocess.run([str(python), "-m", "compileall", "-qq", "-j", "0", *map(str, folders)], check=False)
