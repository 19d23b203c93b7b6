"""This machine: its usable CPUs and memory, and the CPU features that decide the speed of inference."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from lading.artifact.manifest import Machine

FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimddp", "i8mm", "sve")
"""Instruction sets that decide which kernels run: dot products of VNNI, AMX and their Arm counterparts."""
_CGROUP = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")
_CPUINFO = Path("/proc/cpuinfo")


def usable_cpus(cgroup: Path = _CGROUP, own: Path = _OWN_CGROUP) -> float:
    """CPUs that this process may use: the minimum of its affinity and the limits of its cgroup and the parents of that.

    Args:
        cgroup: mount point of the hierarchies: v2 has ``cpu.max``, v1 has a quota under ``cpu``.
        own: file with the groups of this process; in a container they are the root.
    """
    limits = [float(allowed_cpus())]
    for group in _groups(cgroup, own):
        limits += [limit for limit in (_v2_limit(group), _v1_limit(group)) if limit]
    return min(limits)


def allowed_cpus() -> int:
    """CPUs that the scheduler gives this process; where the system does not say (macOS, Windows), all of them."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _groups(cgroup: Path, own: Path) -> set[Path]:
    """The group of this process and its parents, in the hierarchy of v2 and in the CPU hierarchy of v1."""
    found = {cgroup, cgroup / "cpu"}
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = cgroup / "cpu" if controllers else cgroup
        group = top / path.lstrip("/")
        found |= {group, *(parent for parent in group.parents if parent.is_relative_to(top))}
    return found


def _v2_limit(group: Path) -> float | None:
    return _quota(lambda: (group / "cpu.max").read_text().split())


def _v1_limit(group: Path) -> float | None:
    return _quota(lambda: [(group / name).read_text() for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")])


def _quota(read: Callable[[], list[str]]) -> float | None:
    try:
        quota, period = (int(word) for word in read())
    except (OSError, ValueError):
        return None  # the file does not exist, or says "max"
    return quota / period if quota > 0 and period > 0 else None


def describe_machine(cpuinfo: Path = _CPUINFO) -> Machine:
    """Describe this machine, for the record of a measurement. Imports neither torch nor ONNX Runtime."""
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
    """Entries of the first processor."""
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


_CGROUP_ROOT = Path("/sys/fs/cgroup")
_OOM_KILL = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)
_MEMINFO = Path("/proc/meminfo")


def memory_limit(cgroup: Path = _CGROUP_ROOT, meminfo: Path = _MEMINFO) -> int | None:
    """Bytes that this process may use: the minimum of available memory and the cgroup's limit (v2, then v1)."""
    found: list[int] = []
    for file in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            found.append(int((cgroup / file).read_text()))
            break
        except (OSError, ValueError):  # "max" is not a number
            continue
    try:
        lines = (line.split() for line in meminfo.read_text().splitlines())
        found += [int(words[1]) * 1024 for words in lines if words and words[0] == "MemAvailable:"]
    except (OSError, ValueError, IndexError):
        pass
    return min(found, default=None)


def oom_kills(cgroup: Path = _CGROUP_ROOT) -> int:
    """Number of processes in this container that the kernel has killed for memory (cgroup v2, then v1)."""
    for file in ("memory.events", "memory/memory.oom_control"):
        try:
            found = _OOM_KILL.search((cgroup / file).read_text())
        except OSError:
            continue
        if found:
            return int(found[1])
    return 0
