"""A model of recordings: every port, the page, scoring, load tests, drift and shift read the same file alike."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from lading.build.verify.shift import corruptions_of
from lading.deploy.load.bodies import bodies, examples
from lading.deploy.load.shapes import KINDS
from lading.deploy.load.signature import from_server, read_files
from lading.drift.reference import Reference
from lading.predictor import Predictor
from lading.score.score import Options, score
from lading.spec import Array, Evaluated, Example, TensorSpec, Variant
from tests.given.bento_in_process import bento_in_process
from tests.given.browser import browser
from tests.given.live_server import LiveServer, live_server
from tests.given.packed_graph import answers_of_all_ports, packed_graph

__all__ = ["browser"]

RATE, SAMPLES = 8000, 2000
LEVEL = """
    size = Abs (sound) mean = ReduceMean <keepdims = 1> (size, last)
    slope = Constant <value = float[1, 2] {-20.0, 20.0}> () sloped = MatMul (mean, slope)
    offset = Constant <value = float[1, 2] {2.0, -2.0}> () scores = Add (sloped, offset)
    level = Softmax <axis = 1> (scores)
"""


class Levels(Evaluated):
    """Is a sound quiet or loud?"""

    name = "levels"
    inputs = (TensorSpec(name="sound", dtype="float32", shape=("batch", SAMPLES), content="audio", rate=RATE),)
    outputs = (TensorSpec(name="level", dtype="float32", shape=("batch", 2), labels=("quiet", "loud")),)
    variants = (Variant(name="fp32", max_score_drop=0.0, required=True),)

    def dataset(self, split: str) -> list[Example]:
        rng = np.random.default_rng(len(split))
        volumes = rng.uniform(0.01, 0.9, 120)
        return [
            ({"sound": rng.uniform(-v, v, SAMPLES).astype(np.float32)}, {"level": np.asarray(int(v > 0.2))})
            for v in volumes
        ]

    def score(self, outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
        return float(np.mean(outputs["level"].argmax(1) == targets["level"]))


def recording(volume: float, kind: str = "WAV", rate: int = 44_100, channels: int = 2) -> bytes:
    wave = volume * np.sin(2 * np.pi * 300 * np.arange(rate) / rate)
    data = io.BytesIO()
    soundfile.write(data, np.repeat(wave[:, None], channels, axis=1), rate, format=kind)
    return data.getvalue()


LOUD, QUIET = recording(0.8), recording(0.01)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder: Path = tmp_path_factory.mktemp("levels")
    with live_server(packed_graph(Levels(), (LEVEL,), folder)) as server:
        yield server


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG"])
def test_every_port_and_encoding_reads_the_file_alike(live: LiveServer, kind: str) -> None:
    file = recording(0.8, kind)
    raw = live.client.post("/classify", content=file).json()
    form = live.client.post("/classify", files={"file": ("a", file)}).json()
    alone = live.client.post("/predict", content=file, headers={"content-type": f"audio/{kind.lower()}"}).json()
    assert raw["level"] == form["level"] == alone["labels"]["level"][0] == "loud"
    expected = pytest.approx(list(raw["probabilities"]["level"].values()), abs=1e-5)
    assert alone["outputs"]["level"][0] == expected
    for port, answered in answers_of_all_ports(live, {"sound": file}).items():
        assert answered["level"][0].tolist() == expected, port


def test_bentomls_port_reads_it(live: LiveServer) -> None:
    with bento_in_process(live.artifact) as (bento, _):
        answer = bento.client.post("/classify", content=LOUD, headers={"content-type": "audio/wav"})
        assert answer.json()["level"] == "loud"


def test_what_cannot_be_read_is_refused_by_name(live: LiveServer) -> None:
    answer = live.client.post("/classify", content=b"RIFF", headers={"content-type": "audio/wav"})
    assert answer.status_code == 400
    assert "send a WAV, FLAC or Ogg file" in answer.json()["error"]
    with_silence = io.BytesIO()
    soundfile.write(with_silence, np.zeros(60_000_000, np.int16), RATE, format="FLAC")
    answer = live.client.post("/classify", content=with_silence.getvalue())
    assert answer.status_code == 413
    assert "samples; at most" in answer.json()["error"]


@settings(max_examples=15, deadline=None)
@given(size=st.integers(1, 8), seed=st.integers(0, 1000))
def test_a_batch_is_answered_as_its_rows_are_alone(live: LiveServer, size: int, seed: int) -> None:
    batch = np.random.default_rng(seed).uniform(-0.5, 0.5, (size, SAMPLES)).astype(np.float32)
    predictor = Predictor(live.artifact)
    alone = [predictor({"sound": batch[[row]]})["level"][0] for row in range(size)]
    np.testing.assert_allclose(predictor({"sound": batch})["level"], np.stack(alone), atol=1e-6)


def test_the_description_has_its_rate_and_formats(live: LiveServer) -> None:
    model = live.client.get("/model").json()
    assert model["inputs"][0]["rate"] == RATE
    assert model["file"]["formats"] == "WAV, FLAC or Ogg"
    content = live.client.get("/docs.json").json()["paths"]["/classify"]["post"]["requestBody"]["content"]
    assert {"audio/wav", "audio/flac", "audio/ogg"} <= set(content)


def test_load_tests_scoring_drift_and_shift_know_it(live: LiveServer, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.wav").write_bytes(LOUD)
    (tmp_path / "in" / "b.flac").write_bytes(recording(0.01, "FLAC"))
    signature = from_server(live.url)
    for files in ([], read_files(str(tmp_path / "in"))):
        made = examples(signature, files)
        for kind in KINDS:
            if kind != "grpc":
                request = bodies(signature, kind, made)[0]
                answer = live.client.post(request.path, content=request.content, headers=dict(request.headers))
                assert answer.status_code == 200, answer.text
    done = score(live.artifact, tmp_path / "in", tmp_path / "out.jsonl", Options(), Console(quiet=True))
    assert done.finished.rows == 2
    features = Reference.of(live.artifact).features
    assert {f"sound.{name}" for name in ("level", "peak", "crossings", "centroid", "silence")} <= set(features)
    assert "muffled" in corruptions_of(Levels.inputs, [])


def test_the_page_takes_a_recording(browser: Any, live: LiveServer) -> None:
    page = browser.new_context().new_page()
    page.goto(live.url)
    page.wait_for_selector("#drop:not([hidden])")
    assert "Drop a recording here" in page.inner_text("#formats")
    page.set_input_files("#file", {"name": "a.wav", "mimeType": "audio/wav", "buffer": LOUD})
    page.wait_for_selector("#result:not([hidden])")
    assert page.inner_text("#result .answer") == "loud"
