"""What this machine is, and how much of it may be used."""

from __future__ import annotations

import os
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
