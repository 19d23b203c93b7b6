"""What ``lading pack`` is told about a bare graph: recordings and kinds of answers, by name or where one fits."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import soundfile

from lading.build.onnx_declared import Declared, Given, read_given
from lading.build.onnx_file import pack_onnx
from lading.build.onnx_reader import read_bare
from lading.content.audio import decode_audio
from lading.errors import LadingError
from lading.spec import TensorSpec
from tests.given.live_server import live_server
from tests.given.onnx_text import parse, save
from tests.given.packed_graph import answers_of_all_ports
from tests.given.quick_verify import quick_verify

HEARD = "a = Abs (sound) level = ReduceMean <keepdims = 1> (a, last)"
DIRECTION = "y = LpNormalization <axis = 1, p = 2> (x)"
FOUND = "y = Sigmoid (x)"
CLASSES = "f = Identity (x) y = ArgMax <axis = 1, keepdims = 0> (f)"


def heard(folder: Path, shape: str = "N, 4000", kind: str = "float") -> Path:
    return save(parse(HEARD, f"{kind}[{shape}] sound", "float[N, 1] level", opset=18), folder / "heard.onnx")


def recording(said: str) -> Declared:
    return Declared(recordings=(read_given(said),))


def answer(said: str) -> Declared:
    return Declared(answers=(read_given(said),))


def test_an_option_is_a_name_and_words() -> None:
    assert read_given("voice=16000, middle") == Given("voice", ("16000", "middle"))
    assert read_given("embedding") == Given(None, ("embedding",))


def test_a_recording_gets_the_answer_of_its_samples_on_every_port(tmp_path: Path) -> None:
    file = heard(tmp_path)
    with quick_verify():
        artifact = pack_onnx(file, tmp_path / "artifact", name="heard", declared=recording("8000,middle"))
    (spec,) = artifact.manifest.inputs
    assert (spec.content, spec.rate, spec.fit) == ("audio", 8000, "middle")
    samples = np.sin(np.arange(16_000) / 5).astype(np.float32)
    sent = io.BytesIO()
    soundfile.write(sent, samples, 16_000, format="FLAC")
    wanted = ort.InferenceSession(file).run(
        None, {"sound": decode_audio(sent.getvalue(), rate=8000, samples=4000, fit="middle")[None]}
    )[0]
    with live_server(artifact) as live:
        for port, answered in answers_of_all_ports(live, {"sound": sent.getvalue()}).items():
            np.testing.assert_allclose(answered["level"], wanted, rtol=1e-5, err_msg=port)


def test_a_graph_of_any_length_gets_one(tmp_path: Path) -> None:
    assert read_bare(heard(tmp_path, "N, T"), declared=recording("8000,samples=4000")).inputs[0].shape == (
        "batch",
        4000,
    )


@pytest.mark.parametrize(
    ("said", "shape", "message"),
    [
        ("fast", "N, 4000", "'fast' is no rate from 1000 to 768000 samples a second: write"),
        ("8000,loud", "N, 4000", "the word 'loud' is unknown: write"),
        ("voice=8000", "N, 4000", "there is no input 'voice'; the inputs are sound"),
        ("8000", "N, 4000, 2", "no input has two dims, \\(batch, samples\\)"),
        ("8000", "N, T", "'sound' has no fixed length, .*: add samples=8000"),
        ("8000,samples=9", "N, 4000", "'sound' takes 4000 samples, not samples=9"),
        ("sound=8000", "N, 4000, 2", "a recording is float32 with shape \\(batch, samples\\)"),
    ],
)
def test_a_recording_that_does_not_fit_is_refused(said: str, shape: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(LadingError, match=message):
        read_bare(heard(tmp_path, shape), declared=recording(said))


def test_an_embedding_is_declared_and_kept_to_its_promise(tmp_path: Path) -> None:
    file = save(parse(DIRECTION, "float[N, 4] x", "float[N, 4] y"), tmp_path / "m.onnx")
    with quick_verify():
        manifest = pack_onnx(file, tmp_path / "artifact", name="m", declared=answer("y=embedding")).manifest
        assert manifest.outputs[0].content == "embedding"
        longer = save(parse("y = Identity (x)", "float[N, 4] x", "float[N, 4] y"), tmp_path / "longer.onnx")
        with pytest.raises(LadingError, match="output 'y' is no embedding in row 0: its length is"):
            pack_onnx(longer, tmp_path / "other", name="m", declared=answer("embedding"))


@pytest.mark.parametrize(
    ("graph", "shapes", "kind"),
    [(FOUND, ("N, 5, 6", "float[N, 5, 6]"), "boxes"), (CLASSES, ("N, 2, 4, 4", "int64[N, 4, 4]"), "mask")],
)
def test_labels_are_the_classes_of_what_is_found(
    graph: str, shapes: tuple[str, str], kind: str, tmp_path: Path
) -> None:
    file = save(parse(graph, f"float[{shapes[0]}] x", f"{shapes[1]} y"), tmp_path / "m.onnx")
    (found,) = read_bare(file, ["cat", "dog"], declared=answer(kind)).outputs
    assert (found.content, found.classes, found.labels) == (kind, ("cat", "dog"), None)
    with pytest.raises(LadingError, match=r"--answer of 'y': .*; give them with --labels"):
        read_bare(file, declared=answer(kind))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("vector", "there is no kind 'vector'; the kinds are boxes, embedding, mask: write \\[NAME=\\]KIND"),
        ("z=embedding", "there is no output 'z'; the outputs are y"),
        ("boxes", "no output has the dtype and shape of boxes; the outputs are y \\['float32', 'batch', 4\\]"),
        ("y=mask", "--answer of 'y': a mask is an integer tensor"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(said: str, message: str, tmp_path: Path) -> None:
    file = save(parse(DIRECTION, "float[N, 4] x", "float[N, 4] y"), tmp_path / "m.onnx")
    with pytest.raises(LadingError, match=message):
        read_bare(file, declared=answer(said))


def test_nothing_is_declared_that_nobody_said(tmp_path: Path) -> None:
    file = save(parse(DIRECTION, "float[N, 4] x", "float[N, 4] y"), tmp_path / "m.onnx")
    specs: list[TensorSpec] = [*read_bare(file).inputs, *read_bare(file).outputs]
    assert [spec.content for spec in specs] == [None, None]
