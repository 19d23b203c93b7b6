"""The soak's short form on a small model, and what it finds fault with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.server import soak
from benchmarks.server.soak import Soak, Window
from tests.given.small_artifacts import colour_artifact


def watched(rss: float = 0.0, descriptors: float = 0.0, p99: float = 0.0) -> Soak:
    """An hour whose figures rise by so much in all."""
    at = [number / 59 for number in range(60)]
    windows = [Window(60 * x, 100 + rss * x, 20 + int(descriptors * x), 9, 1, 5 + p99 * x, 10) for x in at]
    return Soak(60, 10, windows)


def test_a_server_that_stays_as_it_is_passes() -> None:
    steady = watched()
    assert steady.judge(growth_mb=10, descriptors=4, drift=2) == []
    assert abs(steady.rss_mb_per_hour) < 1e-6


@pytest.mark.parametrize(
    ("leaking", "sentence"),
    [
        (watched(rss=40), "memory grew by 24.4 MB; at most 10 are allowed"),
        (watched(descriptors=30), "18 more file descriptors are open; at most 4 may be"),
        (watched(p99=30), "p99 at the end is "),
        (Soak(60, 10, watched().windows, ["grpc: late"]), "1 requests failed: grpc: late"),
    ],
    ids=["memory", "descriptors", "tail", "failures"],
)
def test_each_fault_is_found(leaking: Soak, sentence: str) -> None:
    (found,) = leaking.judge(growth_mb=10, descriptors=4, drift=2)
    assert found.startswith(sentence)


@pytest.mark.slow
def test_the_short_form_finds_no_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artifact = colour_artifact(tmp_path / "colour")
    # The tail of a machine that does other things as well says nothing.
    options = ["--artifact", str(artifact.path), "--minutes", "0.4", "--drift", "1000", "--output", str(tmp_path)]
    assert soak.main(options) == 0, capsys.readouterr().out
    written = json.loads((tmp_path / "soak.json").read_text())
    assert len(written["windows"]) == 12
    assert sum(window["answers"] for window in written["windows"]) > 50
    assert written["failures"] == []
    assert (tmp_path / "soak.png").stat().st_size > 1000
    assert "requests per second" in capsys.readouterr().out
