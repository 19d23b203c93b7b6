"""What is verified is what is served."""

from __future__ import annotations

import ast
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from lading.artifact import MANIFEST, Artifact, tensors_to_bytes, write_artifact
from lading.errors import ArtifactError, NotReadyError, RequestError
from lading.predictor import Predictor, open_session
from lading.tensors.agreement import max_abs_difference
from tests.given.tiny import TinyImage


def pictures(count: int) -> np.ndarray:
    return np.stack([inputs["image"] for inputs, _ in TinyImage().dataset("test")[:count]])


def test_a_batch_is_answered_by_output_name(tiny_artifact: Artifact) -> None:
    outputs = Predictor(tiny_artifact)({"image": pictures(5)})
    assert {name: array.shape for name, array in outputs.items()} == {"colour": (5, 3), "shade": (5, 2)}
    np.testing.assert_allclose(outputs["colour"].sum(axis=1), 1, atol=1e-5)


def test_an_example_is_answered_alike_alone_and_in_a_batch(tiny_artifact: Artifact) -> None:
    predictor = Predictor(tiny_artifact)
    together = predictor({"image": pictures(4)})["colour"]
    alone = [predictor({"image": pictures(4)[index : index + 1]})["colour"][0] for index in range(4)]
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_a_misshapen_input_is_refused_before_it_is_run(tiny_artifact: Artifact) -> None:
    with pytest.raises(RequestError, match="input 'image' has shape"):
        Predictor(tiny_artifact)({"image": np.zeros((1, 8, 8, 3), np.uint8)})


def test_threads_share_one_predictor(tiny_artifact: Artifact) -> None:
    predictor = Predictor(tiny_artifact)
    expected = predictor({"image": pictures(3)})["shade"]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: predictor({"image": pictures(3)})["shade"], range(40)))
    assert all(np.array_equal(answer, expected) for answer in answers)


def test_the_golden_outputs_are_reproduced(tiny_artifact: Artifact) -> None:
    Predictor(tiny_artifact).check_golden()


def test_a_machine_that_answers_otherwise_is_not_ready(tiny_artifact: Artifact, tmp_path: Path) -> None:
    files: dict[str, bytes | Path] = {name: tiny_artifact.path / name for name in tiny_artifact.manifest.files}
    wrong = {name: array + np.float32(0.01) for name, array in tiny_artifact.golden_outputs().items()}
    other = write_artifact(tmp_path / "a", tiny_artifact.manifest, files | {"golden/fp32.npz": tensors_to_bytes(wrong)})
    with pytest.raises(NotReadyError, match=r"'fp32' does not reproduce its golden output 'colour'.*by 0\.01"):
        Predictor(other).check_golden()


def test_a_graph_without_a_declared_output_is_refused(tiny_artifact: Artifact, tmp_path: Path) -> None:
    path = Path(shutil.copytree(tiny_artifact.path, tmp_path / "a"))
    content = json.loads((path / MANIFEST).read_text())
    content["outputs"][0]["name"] = "hue"
    (path / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(ArtifactError, match="has no output 'hue', but the manifest lists it"):
        Predictor(Artifact.load(path))


def test_a_file_that_is_no_graph_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"nothing")
    with pytest.raises(ArtifactError, match=r"no\.onnx cannot be opened by ONNX Runtime"):
        open_session(tmp_path / "no.onnx")


def test_differences_are_infinite_between_shapes_and_none_between_equal_words() -> None:
    assert max_abs_difference(np.zeros(2), np.zeros(3)) == float("inf")
    assert max_abs_difference(np.array(["a"]), np.array(["a"])) == 0
    assert max_abs_difference(np.array(["a"]), np.array(["b"])) == float("inf")
    assert max_abs_difference(np.zeros(0), np.zeros(0)) == 0
    assert max_abs_difference(np.array([np.nan, 1]), np.array([np.nan, 3])) == 2
    assert max_abs_difference(np.array([np.nan]), np.array([1.0])) == float("inf")


def test_one_function_opens_every_session() -> None:
    """What is calibrated, scored, timed, packed and served then has the same options, so the same answers."""
    package = Path(__file__).parents[1] / "src" / "lading"
    opened = {
        str(file.relative_to(package))
        for file in package.rglob("*.py")
        for call in ast.walk(ast.parse(file.read_text()))
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith(("InferenceSession", "SessionOptions"))
    }
    assert opened == {"predictor.py"}
