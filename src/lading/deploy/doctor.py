"""Checks of a machine before it serves. Each check is a line with what was found and what to do."""

from __future__ import annotations

import importlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from rich.markup import escape
from rich.table import Table

from lading.artifact import Artifact
from lading.artifact.manifest import Machine
from lading.errors import LadingError
from lading.machine import describe_machine, memory_limit, usable_cpus
from lading.predictor import Predictor
from lading.settings import Settings, unknown_variables

MIB = 1 << 20
SERVING_MIB = 160
"""Resident size of the server without a model, roughly."""
_COLOURS = {"ok": "green", "warning": "yellow", "failed": "bold red"}


@dataclass(frozen=True)
class Check:
    """The result of one check."""

    name: str
    state: Literal["ok", "warning", "failed"]
    found: str


def examine(artifacts: tuple[Path, ...], settings: Settings) -> list[Check]:
    """Check this machine, and the artifacts that it will serve."""
    machine = describe_machine()
    checks = [_packages(), _cpu(machine), _cpus(), _memory(), *_ports(settings), *_settings()]
    for path in artifacts:
        checks += _artifact(path, settings.variant, machine)
    return checks


def checks_table(checks: list[Check]) -> Table:
    table = Table("check", "", "found", box=None)
    for check in checks:
        table.add_row(check.name, f"[{_COLOURS[check.state]}]{check.state}[/]", escape(check.found))  # lading[serve]
    return table


def _packages() -> Check:
    try:
        importlib.import_module("lading.serve.ports")
    except ModuleNotFoundError as error:
        return Check("packages", "failed", f"{error.name} is missing: pip install 'lading[serve]'")
    return Check("packages", "ok", f"ONNX Runtime {metadata.version('onnxruntime')}")


def _cpu(machine: Machine) -> Check:
    fast = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"} & set(machine.flags)
    found = f"{machine.cpu} ({', '.join(machine.flags) or 'none of the instruction sets that matter'})"
    return Check("CPU", "ok" if fast else "warning", found if fast else f"{found}: int8 is no faster than fp32 here")


def _cpus() -> Check:
    cpus = usable_cpus()
    if cpus < 1:
        return Check("usable CPUs", "warning", f"{cpus:g}: less than one is throttled in the middle of a request")
    whole = cpus == int(cpus)
    return Check("usable CPUs", "ok" if whole else "warning", f"{cpus:g}{'' if whole else ': lanes are whole CPUs'}")


def _memory() -> Check:
    limit = memory_limit()
    if limit is None:
        return Check("memory", "warning", "unknown")
    enough = limit > 2 * SERVING_MIB * MIB
    return Check("memory", "ok" if enough else "failed", f"{limit // MIB} MiB; the server alone takes {SERVING_MIB}")


def _ports(settings: Settings) -> Iterator[Check]:
    for name, port in (("HTTP", settings.http_port), ("gRPC", settings.grpc_port)):
        if port == "off":
            continue
        where = f"{settings.http_host}:{port}"
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((settings.http_host, int(port)))
            except OSError as error:
                yield Check(
                    f"{name} port", "failed", f"{where}: {error.strerror}; LADING_{name.upper()}_PORT chooses another"
                )
            else:
                yield Check(f"{name} port", "ok", f"{where} is free")


def _settings() -> list[Check]:
    return [Check("settings", "warning", sentence) for sentence in unknown_variables()]


def _artifact(path: Path, variant: str | None, machine: Machine) -> list[Check]:
    try:
        artifact = Artifact.load(path)
        packed = artifact.variant(variant)
        predictor = Predictor(artifact, packed.variant.name)
        predictor.check_golden()
    except LadingError as error:
        return [Check(str(path), "failed", str(error))]
    checks = [Check(str(path), "ok", f"checksums and golden answers hold, with {packed.variant.name}")]
    built = artifact.manifest.machine
    lacking = [flag for flag in built.flags if flag not in machine.flags] if built else []
    if lacking:
        slower = f"it was measured on a CPU with {', '.join(lacking)}: expect other latencies, and measure again"
        checks.append(Check(f"{path.name}'s speed", "warning", slower))
    if built and built.onnxruntime != machine.onnxruntime:
        other = f"it was measured with ONNX Runtime {built.onnxruntime}, and here is {machine.onnxruntime}"
        checks.append(Check(f"{path.name}'s speed", "warning", other))
    return checks
