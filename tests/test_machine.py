"""What this machine is, and how much of it may be used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lading.machine import describe_machine, usable_cpus

AFFINITY = len(os.sched_getaffinity(0))


def test_without_a_limit_all_cpus_of_the_affinity_are_usable(tmp_path: Path) -> None:
    assert usable_cpus(tmp_path) == AFFINITY
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert usable_cpus(tmp_path) == AFFINITY


@pytest.mark.parametrize(("content", "expected"), [("50000 100000", 0.5), ("100000 100000", 1.0)])
def test_the_limit_of_a_cgroup_v2_is_kept(tmp_path: Path, content: str, expected: float) -> None:
    (tmp_path / "cpu.max").write_text(content)
    assert usable_cpus(tmp_path) == expected


def test_the_quota_of_a_cgroup_v1_is_kept(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("25000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert usable_cpus(tmp_path) == 0.25


@pytest.mark.parametrize(
    ("files", "own"),
    [
        ({"a.slice/b.service/cpu.max": "50000 100000"}, "0::/a.slice/b.service\n"),
        ({"a.slice/cpu.max": "50000 100000", "a.slice/b.service/cpu.max": "max 100000"}, "0::/a.slice/b.service\n"),
        (
            {"cpu/pod/box/cpu.cfs_quota_us": "50000", "cpu/pod/box/cpu.cfs_period_us": "100000"},
            "11:memory:/elsewhere\n4:cpu,cpuacct:/pod/box\n",
        ),
        (
            {"cpu/pod/cpu.cfs_quota_us": "50000", "cpu/pod/cpu.cfs_period_us": "100000"},
            "4:cpuacct,cpu:/pod/box\n0::/other\n",
        ),
    ],
    ids=["v2, its own", "v2, above it", "v1, its own", "v1, above it"],
)
def test_the_limit_of_a_group_below_the_root_is_kept(tmp_path: Path, files: dict[str, str], own: str) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "own").write_text(own)
    assert usable_cpus(tmp_path, tmp_path / "own") == 0.5


def test_an_affinity_below_the_limit_counts(tmp_path: Path) -> None:
    code = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
    code += "from lading.machine import usable_cpus; from pathlib import Path; print(usable_cpus(Path('/none')))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "1.0"


def test_a_limit_above_the_affinity_does_not_add_cpus(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("99900000 100000")
    assert usable_cpus(tmp_path) == AFFINITY


def test_a_torn_limit_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("many")
    assert usable_cpus(tmp_path) == AFFINITY


def test_the_machine_is_described_by_what_decides_speed(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("model name\t: Fast CPU\nflags\t\t: fpu avx2 avx512_vnni nx\n\nmodel name : second\n")
    machine = describe_machine(cpuinfo)
    assert machine.cpu == "Fast CPU"
    assert machine.flags == ("avx2", "avx512_vnni")
    assert machine.onnxruntime.count(".") == 2
    assert machine.torch
    assert machine.cores >= 1


def test_a_machine_without_cpuinfo_is_still_described(tmp_path: Path) -> None:
    assert describe_machine(tmp_path / "none").flags == ()
