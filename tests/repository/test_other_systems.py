"""What only Linux has is asked for where it is used. CI runs the core of these tests on macOS and Windows too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lading.errors import SettingsError
from lading.machine import allowed_cpus
from lading.serve import supervisor
from lading.settings import Settings

WITHOUT = """
import os, signal, socket, sys
for module, prefixes in ((os, ("sched_", "SCHED_", "memfd_", "O_NONBLOCK", "O_CLOEXEC", "O_NOFOLLOW", "O_DIRECTORY",
                               "pidfd_", "posix_", "fork", "wait4")),
                         (socket, ("SO_REUSEPORT",)), (signal, ("SIGXCPU", "SIGBUS"))):
    for name in [name for name in dir(module) if name.startswith(prefixes)]:
        delattr(module, name)
for name in ("fcntl", "resource", "uvloop"):
    sys.modules[name] = None
"""
"""Takes away what macOS or Windows does not have."""
IMPORTS = """
import importlib, pathlib, sys
package = pathlib.Path(sys.argv[1])
folders = "serve record drift protocol tensors settings artifact content errors score deploy monitoring cli".split()
for folder in folders:
    for file in sorted(package.glob(f"{folder}/**/*.py")) + sorted(package.glob("*.py")):
        name = ".".join(("lading", *file.relative_to(package).with_suffix("").parts)).removesuffix(".__init__")
        # gevent, which locust brings, reads SO_REUSEPORT from the socket module.
        if name != "lading.__main__" and not {"proto", "load"} & {*name.split(".")}:
            importlib.import_module(name)
"""
ANSWERS = """
import asyncio, pathlib, sys, tempfile
import httpx
from lading.files import write_atomically, read_bounded
from lading.record.payload_folder import _write
from lading.serve.engine.scheduling import LoopScheduling
from lading.serve.worker import _uvloop
from lading.serve.http.app import App
from lading.serve.http.connections import most_connections
from lading.serve.ports import Ports
from lading.settings import Settings
from tests.given.small_artifacts import table_artifact

folder = pathlib.Path(tempfile.mkdtemp())
write_atomically(folder / "a", b"x")
_write(folder / "b", b"y")
assert read_bounded(folder / "a", 1) + read_bounded(folder / "b", 1) == b"xy"
assert most_connections(2000) == 2000
artifact = table_artifact(folder / "table")

async def main():
    settings = Settings(artifact=(artifact.path,), http_port=0, grpc_port=0)
    app = App(settings)
    ports = Ports(app, settings)
    port, _ = await ports.start()
    await app.start()
    async with httpx.AsyncClient() as client:
        print((await client.get(f"http://127.0.0.1:{port}/readyz")).status_code)
    app.prepare_to_stop()
    await ports.stop()
    await app.stop(5)

patience = LoopScheduling()
patience.be_patient()
assert not patience.patient
patience.be_prompt()
with asyncio.Runner(loop_factory=_uvloop) as runner:
    runner.run(main())
"""


def without_linux(code: str, *arguments: str) -> str:
    program = [sys.executable, "-c", WITHOUT + code, *arguments]
    ended = subprocess.run(program, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_every_module_that_serves_is_imported_without_what_only_linux_has() -> None:
    without_linux(IMPORTS, str(Path(supervisor.__file__).parents[1]))


def test_a_server_answers_without_what_only_linux_has() -> None:
    assert without_linux(ANSWERS).splitlines()[-1] == "200"


def test_usable_cpus_are_all_where_the_scheduler_does_not_say() -> None:
    code = (
        "from lading.machine import allowed_cpus, usable_cpus; print(allowed_cpus(), usable_cpus() > 0, os.cpu_count())"
    )
    allowed, usable, there = without_linux(code).split()
    assert (allowed, usable) == (there, "True")
    assert allowed_cpus() <= int(there)


def test_several_workers_are_refused_where_a_port_cannot_be_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("socket.SO_REUSEPORT")
    with pytest.raises(SettingsError, match="LADING_WORKERS=2: several workers on one port need Linux"):
        supervisor.supervise(Settings(workers=2))
