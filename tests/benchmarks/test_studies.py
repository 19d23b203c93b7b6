"""Every study runs, with sizes that take seconds; and what the studies conclude from their samples."""

from __future__ import annotations

import ast
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.server.tiny_model import write
from lading.build.onnx_file import pack_onnx
from tests.given import load_generator
from tests.given.few_molecules import molecules_artifact

ROOT = Path(__file__).parents[2]
STUDIES = sorted(file.stem for file in (ROOT / "benchmarks" / "studies").glob("[0-9]*.py"))
ARGUMENTS = {
    "0007_operator_times": "{tiny}/variants/fp32.onnx --runs 5",
    "0008_batch_cost": "{tiny} --most 2 --rounds 3 --out {out}",
    "0008_cpu_by_library": "--model tiny --turns 1 --seconds 0.3",
    "0008_two_checkouts": "src --pairs 2 --seconds 0.2",
    "0009_tracing_cost": "--rounds 2 --requests 20",
    "0011_batch_scoring": "--model tiny --rows 200 --http-rows 20 --rounds 1",
    "0012_drift_power": "molecules {graph} --size 800 --references 1 --evaluations 2 --windows 1",
    "0012_recording_cost": "--model tiny --turns 1 --seconds 0.3 --only feedback",
    "0014_graph_forms": "--rounds 1 --molecules 40 --many 20",
    "0014_ragged_batching": "{molecules} --rounds 1 --seconds 0.3 --connections 4",
    "0017_loader": "--decks 1 --seconds 0.2 --workers 0,1 --out {out}",
    "0017_process_curves": "examples/digits.py:Digits trainer.max_epochs=1 --out {out}",
    "0017_training_step": "--turns 2 --batch 2 --only eager",
    "0022_ragged_memory": "{molecules} --requests 60 --level 100",
    "0022_retrying_clients": "{tiny} --seconds 1",
    "0032_onnx_node_tests": "--every 60",
    "0033_decode_skew": "{out} --decks 1 --photos 1",
    "0034_padding": "--width 16 --layers 1 --longest 64 --turns 2 --rounds 1",
    "0036_int8_recipes": "--models squeezenet1_1 --pixels 32 --rounds 1",
    "0039_shapes": "--largest 64 --turns 2 --rounds 1",
    "0038_forty_kinds": "--only GaussianNB,lstm --out {out}/rows.md",
    "0043_signature_check": "{tiny} --rounds 3",
    "0041_calibration_memory": "--counts 8,16 --methods entropy",
    "0041_fake_quantization": "--epochs 1 --copies 1 --only unequal",
}
SHOWN = {
    "0007_operator_times": "MatMul",
    "0008_batch_cost": "us an example",
    "0008_cpu_by_library": "onnxruntime",
    "0008_two_checkouts": "after / before",
    "0009_tracing_cost": "on, sampled",
    "0011_batch_scoring": "lading score",
    "0012_drift_power": "no aromatic scaffolds",
    "0012_recording_cost": "feedback",
    "0014_graph_forms": "scatter: microseconds a molecule",
    "0014_ragged_batching": "one run a request",
    "0017_loader": "drawn when asked for",
    "0017_process_curves": "largest relative difference",
    "0017_training_step": "times eager",
    "0022_ragged_memory": "the line rises",
    "0022_retrying_clients": "normal again after",
    "0032_onnx_node_tests": "served in batches, equal",
    "0033_decode_skew": "1 photos, and a graph of floats",
    "0034_padding": "in the cheapest groups",
    "0039_shapes": "one size, cheapest groups",
    "0036_int8_recipes": "but-first",
    "0038_forty_kinds": "kinds are served with their library's answers",
    "0043_signature_check": "added ms",
    "0041_calibration_memory": "the largest peak of a method",
    "0041_fake_quantization": "shares of right answers",
}
"""A word of the table or the sentence that a study ends with."""


QUICK = ("0007_operator_times", "0008_batch_cost")
"""Studies that take less than five seconds."""


def study(name: str) -> Any:
    """A study as a module: its number keeps it out of an import statement."""
    return importlib.import_module(f"benchmarks.studies.{name}")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    pack_onnx(write(folder / "tiny.onnx"), folder / "tiny", name="tiny")
    return folder / "tiny"


@pytest.fixture(scope="module")
def molecules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return molecules_artifact(tmp_path_factory.mktemp("molecules") / "molecules").path


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Results go to a folder of the test. Where oha is not installed, its stand-in sends the requests."""
    programs, work = tmp_path_factory.mktemp("programs"), tmp_path_factory.mktemp("work")
    if shutil.which("oha") is None:
        (programs / "oha").write_text(f"#!{sys.executable}\n{Path(load_generator.__file__).read_text()}")
        (programs / "oha").chmod(0o755)
    return os.environ | {"BENCH_WORK": str(work), "PATH": f"{programs}:{os.environ['PATH']}"}


def test_every_study_is_run() -> None:
    assert sorted(ARGUMENTS) == sorted(SHOWN) == STUDIES


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_names_its_decision_and_its_command(name: str) -> None:
    assert list((ROOT / "docs" / "decisions").glob(f"{name[:4]}-*.md"))
    text = ast.get_docstring(ast.parse((ROOT / "benchmarks" / "studies" / f"{name}.py").read_text())) or ""
    assert f"Decision {int(name[:4])}: " in text
    assert f"python -m benchmarks.studies.{name}" in text


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.study) for name in STUDIES]
)
def test_a_study_runs_and_shows_what_it_found(
    name: str, tiny: Path, environment: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    paths = {"tiny": tiny, "out": tmp_path}
    if "{graph}" in ARGUMENTS[name] or "{molecules}" in ARGUMENTS[name]:
        paths["molecules"] = request.getfixturevalue("molecules")
        paths["graph"] = paths["molecules"] / "variants" / "fp32.onnx"
    words = [word.format(**paths) for word in ARGUMENTS[name].split()]
    command = [sys.executable, "-m", f"benchmarks.studies.{name}", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if name == "0008_cpu_by_library" and shutil.which("perf") is None:
        assert "perf is not installed" in done.stderr
        return
    assert done.returncode == 0, done.stdout + done.stderr
    assert SHOWN[name] in done.stdout


def test_samples_are_counted_by_library_and_the_limits_apart() -> None:
    cpu = study("0008_cpu_by_library")
    lines = [
        " 17 7f (/usr/lib/libpython3.11.so.1.0)",
        " 17 7f (/usr/lib/libpython3.11.so.1.0)",
        " 18 ffff ([kernel.kallsyms])",
        "",
    ]
    assert cpu.samples(lines, {18}) == {(True, "libpython3"): 2, (False, "[kernel"): 1}
    slow = ({"libpython3": 180.0}, {"onnxruntime": 2000.0})
    shown = cpu.table({"REST": ({"libpython3": 90.0}, {"onnxruntime": 1000.0}), "gRPC": slow})
    assert [list(column.cells) for column in shown.columns] == [
        ["onnxruntime", "libpython3", "all else", "together"],
        ["1500", "0", "0", "1500"],
        ["0", "135", "0", "135"],
        ["0", "135", "0", "135"],
    ]


def test_a_profile_sums_the_medians_of_the_last_runs_by_operator() -> None:
    times = study("0007_operator_times")

    def event(node: str, operator: str, microseconds: int, kind: str = "kernel_time") -> dict[str, object]:
        return {"cat": "Node", "name": f"{node}_{kind}", "dur": microseconds, "args": {"op_name": operator}}

    warm = [event("a", "Conv", 9000), event("b", "Conv", 9000), event("c", "Add", 9000)]
    counted = [event("a", "Conv", 1000), event("b", "Conv", 3000), event("c", "Add", 500)]
    others = [event("a", "Conv", 70, "fence_before"), {"cat": "Session", "name": "model_run", "dur": 5}]
    assert times.by_operator([*warm, *counted, *counted, *counted, *others], 3) == [
        times.Share("Conv", 2, 4.0),
        times.Share("Add", 1, 0.5),
    ]


@pytest.mark.parametrize(
    ("picture", "weights", "expected"),
    [
        ([1, 3, 224, 224], [16, 3, 3, 3], "Conv 3x3"),
        ([1, 16, 56, 56], [16, 1, 5, 5], "Conv 5x5 depthwise"),
        ([1, 16, 1, 1], [8, 16, 1, 1], "Conv 1x1 of one pixel"),
        ([1, 16], [16, 8], "Conv"),
    ],
)
def test_convolutions_are_told_apart_by_what_they_cost(picture: list[int], weights: list[int], expected: str) -> None:
    event = {"op_name": "Conv", "input_type_shape": [{"float": picture}, {"float": weights}]}
    assert study("0007_operator_times").kind(event) == expected
