"""`make matrix` sees a runtime that gives another answer or does not open a graph, and keeps the package's bounds."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import onnx
import pytest

from lading.artifact import read_tensors, tensors_to_bytes
from tools.runtimes.__main__ import BATCHES, ROOT, answers, exported, failures, requirements
from tools.runtimes.networks import NETWORKS, Network

NAME = "lstm"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("exported")
    assert exported(made, [NAME]) == {}
    return made


def copy(folder: Path, place: Path) -> Path:
    for file in folder.iterdir():
        (place / file.name).write_bytes(file.read_bytes())
    return place


def test_every_answer_of_the_runtime_here_is_torchs(folder: Path) -> None:
    version, found = answers(Path(sys.executable), folder)
    assert list(found) == [NAME]
    assert [int(batch) for batch in found[NAME]] == list(BATCHES)
    assert failures(version, found) == []


def test_another_answer_is_a_failure(folder: Path, tmp_path: Path) -> None:
    place = copy(folder, tmp_path)
    saved = read_tensors(place / f"{NAME}-2.npz")
    changed = saved | {"answer": saved["answer"] * np.float32(1.001)}
    (place / f"{NAME}-2.npz").write_bytes(tensors_to_bytes(changed))
    (sentence,) = failures(*answers(Path(sys.executable), place))
    assert f"{NAME} in onnxruntime" in sentence
    assert "batch 2" in sentence


def test_a_graph_that_the_runtime_does_not_open_is_a_failure_in_one_sentence(folder: Path, tmp_path: Path) -> None:
    place = copy(folder, tmp_path)
    model = onnx.load(place / f"{NAME}.onnx")
    model.ir_version = 39
    onnx.save(model, place / f"{NAME}.onnx")
    sentences = failures(*answers(Path(sys.executable), place))
    assert len(sentences) == len(BATCHES)
    assert all("is too new: it has IR 39" in sentence for sentence in sentences)


@pytest.mark.parametrize("name", NETWORKS)
def test_no_network_answers_all_inputs_alike(name: str) -> None:
    import torch

    spec = Network(name)
    given = np.stack([inputs[spec.inputs[0].name] for inputs, _ in spec.dataset("test")])
    with torch.inference_mode():
        answer = spec.build()(torch.from_numpy(given)).numpy()
    assert np.abs(answer - answer[0]).max() > 0.05 * np.abs(answer).max()


def test_the_oldest_and_the_newest_runtime_are_those_of_the_package() -> None:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (bound,) = (line for line in dependencies if line.startswith("onnxruntime"))
    assert requirements() == {"oldest": bound.replace(">=", "==") + ".*", "newest": bound}


def test_a_runtime_answers_without_torch_or_onnx() -> None:
    code = "import sys, tools.runtimes.answer; print([name for name in ('torch', 'onnx') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
