"""The machine this runs on: how many CPUs it may use, and what decides the speed of inference on them."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

from lading.measurement import Machine

FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimddp", "i8mm", "sve")
"""Of the instruction sets, those that decide which kernels run: the dot products of VNNI, AMX and their Arm kin."""
_CGROUP = Path("/sys/fs/cgroup")
_CPUINFO = Path("/proc/cpuinfo")


def usable_cpus(cgroup: Path = _CGROUP) -> float:
    """CPUs that this process may use: the lesser of its affinity and its cgroup's limit (v2 ``cpu.max``, v1 quota)."""
    affinity = float(len(os.sched_getaffinity(0)))
    for quota_file, period_file in (("cpu.max", None), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            words = (cgroup / quota_file).read_text().split()
            period = words[1] if period_file is None else (cgroup / period_file).read_text()
            if words[0] not in ("max", "-1"):
                return min(affinity, int(words[0]) / int(period))
        except (OSError, ValueError, IndexError):
            continue
    return affinity


def describe_machine(cpuinfo: Path = _CPUINFO) -> Machine:
    """Describe this machine for a measurement's record; imports neither torch nor ONNX Runtime."""
    facts = _cpuinfo(cpuinfo)
    present = set((facts.get("flags") or facts.get("Features") or "").split())
    return Machine(
        cpu=facts.get("model name") or platform.processor() or platform.machine(),
        cores=max(1, int(usable_cpus())),
        flags=tuple(flag for flag in FLAGS if flag in present),
        onnxruntime=metadata.version("onnxruntime"),
        torch=_version("torch"),
        python=platform.python_version(),
        os=f"{platform.system()} {platform.release().split('-')[0]}",
    )


def _cpuinfo(file: Path) -> dict[str, str]:
    """The first processor's entries."""
    try:
        first = file.read_text().split("\n\n", 1)[0]
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
