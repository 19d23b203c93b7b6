"""The Python environment of each peer."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

from benchmarks import ROOT, WORK
from benchmarks.peers import COMMON, Peer


@functools.cache
def own_environment() -> Path:
    """This interpreter, with what it imports byte-compiled."""
    python = Path(sys.executable)
    compile_packages(python)
    return python


def environment_of(peer: Peer) -> Path:
    """The interpreter of the peer's own environment, made when it is missing."""
    if not peer.requirements:
        return own_environment()
    folder = WORK / "env" / peer.name
    python = folder / "bin" / "python"
    stamp = folder / "installed.txt"
    wanted = "\n".join([*COMMON, *peer.requirements])
    if not stamp.exists() or stamp.read_text() != wanted:
        beside = Path(sys.executable).with_name("uv")
        uv = str(beside) if beside.exists() else "uv"
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True)
        install = [uv, "pip", "install", "--quiet", "--python", str(python), *COMMON, *peer.requirements]
        subprocess.run(install, check=True)
        stamp.write_text(wanted)
    compile_packages(python)
    return python


def compile_packages(python: Path) -> None:
    """Byte-compile what an environment imports, as images do: starts would otherwise measure the compiler.

    Where ``PYTHONDONTWRITEBYTECODE`` is set, nothing else leaves bytecode behind.
    """
    folders = [python.parents[1] / "lib", ROOT / "src", ROOT / "benchmarks"]
    # Some packages carry files of another Python, or templates; those that are imported do compile.
    subprocess.run([str(python), "-m", "compileall", "-qq", "-j", "0", *map(str, folders)], check=False)
