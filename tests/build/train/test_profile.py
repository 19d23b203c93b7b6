"""A profiled run leaves a trace, a table and a flame graph."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lading.build.train.flame_graph import flame_graph, merged
from lading.build.train.profile import ACTIVE, PHASES
from lading.build.train.train import train_command

FAST = ["data.workers=0", "trainer.progress=false", "trainer.threads=1", "logger.wandb=false", "trainer.max_epochs=1"]


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
    titles = [element.text or "" for element in ElementTree.parse(tmp_path / "profile" / "flame.svg").iter()]
    assert any(title.startswith("forward: ") for title in titles)


def test_an_epoch_shorter_than_what_is_recorded_is_written_too(tmp_path: Path) -> None:
    train_command("tests/given/tiny.py:TinyImage", [*FAST, "data.batch_size=12"], out=tmp_path, profile=True)
    assert (tmp_path / "profile" / "flame.svg").is_file()
    assert (tmp_path / "tiny-image.safetensors").is_file()


def event(name: str, ts: float, dur: float, tid: int = 1) -> dict[str, object]:
    return {"ph": "X", "cat": "cpu_op", "name": name, "ts": ts, "dur": dur, "pid": 1, "tid": tid}


def test_calls_of_one_name_under_one_caller_are_added_up() -> None:
    events = [event("step", 0, 10), event("conv", 1, 3), event("conv", 5, 4), event("add", 6, 1), event("step", 20, 5)]
    root = merged([*events, event("other", 0, 7, tid=2), {"ph": "M", "name": "thread_name"}])
    assert {name: frame.time for name, frame in root.below.items()} == {"step": 15, "other": 7}
    assert root.time == 22
    assert root.below["step"].below["conv"].time == 7
    assert root.below["step"].below["conv"].below["add"].time == 1


def test_a_phase_that_outlives_the_call_it_began_in_stands_under_what_holds_it() -> None:
    events = [event("loop", 0, 100), event("hook", 10, 5), event("forward", 12, 50), event("conv", 20, 30)]
    loop = merged(events).below["loop"]
    assert loop.below.keys() == {"hook", "forward"}
    assert loop.below["forward"].below.keys() == {"conv"}


def test_names_are_escaped_and_an_empty_trace_is_a_picture() -> None:
    assert "&lt;lambda&gt;" in flame_graph([event("<lambda>", 0, 5)], title="x")
    ElementTree.fromstring(flame_graph([], title="nothing"))
