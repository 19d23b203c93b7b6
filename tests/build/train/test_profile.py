"""A profiled run leaves a trace and a table."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from lading.build.train.profile import ACTIVE, PHASES
from lading.build.train.train import train_command

FAST = ["data.workers=0", "trainer.progress=false", "trainer.threads=1", "logger.wandb=false", "trainer.max_epochs=1"]


@pytest.mark.slow
def test_the_steps_are_cut_into_phases(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train_command("tests/given/tiny.py:TinyImage", [*FAST, "data.batch_size=6"], out=tmp_path, profile=True)
    with gzip.open(tmp_path / "profile" / "trace.json.gz", "rt") as stream:
        events = json.load(stream)["traceEvents"]
    counts = {phase: sum(event.get("name") == phase and event.get("ph") == "X" for event in events) for phase in PHASES}
    assert counts["forward"] == counts["backward"] == ACTIVE
    assert "aten::convolution" in (tmp_path / "profile" / "operators.txt").read_text()
    shown = capsys.readouterr().out
    assert "where a step's time goes" in shown
    assert "top operators" in shown


def test_an_epoch_shorter_than_what_is_recorded_is_written_too(tmp_path: Path) -> None:
    train_command("tests/given/tiny.py:TinyImage", [*FAST, "data.batch_size=12"], out=tmp_path, profile=True)
    assert (tmp_path / "profile" / "trace.json.gz").is_file()
    assert (tmp_path / "tiny-image.safetensors").is_file()
