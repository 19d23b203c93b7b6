"""A content type from another package works like a built-in one: served, documented, watched, logged, load-tested."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from lading import content
from lading.artifact import Artifact
from lading.build.verify.shift import corruptions_of
from lading.content import check_contents, content_type, content_types
from lading.deploy.load.bodies import INPUTS, bodies, examples
from lading.deploy.load.shapes import KINDS
from lading.deploy.load.signature import from_server, read_files
from lading.errors import ClientError, SpecError
from lading.protocol.client import Client
from lading.score.score import Options, score
from lading.spec import TensorSpec
from tests.given.bentoml_process import served
from tests.given.content_round_trip import check_round_trip
from tests.given.live_server import LiveServer, live_server, wait_until
from tests.given.payload_rows import rows_in
from tests.given.small_artifacts import sound_artifact
from tests.given.wav import WAV, install

ROOT = Path(__file__).parents[2]
SOUND = TensorSpec(name="sound", dtype="float32", shape=("batch", 400), content="wav")
LOUD = WAV.encode(np.tile(np.array([0.8, -0.8], np.float32), 200))
QUIET = WAV.encode(np.zeros(400, np.float32))


@pytest.fixture(autouse=True, scope="module")
def _installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The package is on the path of this process and of those that it starts."""
    content_types()  # the built-in types register once per process, so they must not be in the copy only
    folder = install(tmp_path_factory.mktemp("packages"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content, "_TYPES", dict(content._TYPES))
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")]))
        yield


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder: Path = tmp_path_factory.mktemp("sound")
    return sound_artifact(folder / "sound")


@pytest.fixture(scope="module")
def live(artifact: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    log: Path = tmp_path_factory.mktemp("log")
    with live_server(
        artifact, payload_log=str(log), payload_images="files", payload_rotate_s=0.01, drift_window=50
    ) as server:
        yield server


def test_it_is_found_by_its_name_and_checks_its_tensors() -> None:
    assert content_type("wav") is WAV
    assert [one.name for one in content_types()] == ["audio", "image", "text", "wav"]
    check_round_trip(SOUND)
    with pytest.raises(SpecError, match="tensor 'sound': a recording is float32"):
        check_contents([SOUND.model_copy(update={"dtype": "uint8"})])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("smell = no.such.module:SMELL", "'smell' cannot be imported from no.such.module:SMELL: No module named 'no'"),
        ("smell = tests.given.wav:WAV", "tests.given.wav:WAV is not a ContentType object with the name 'smell'"),
    ],
)
def test_a_broken_package_is_named(line: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (install(tmp_path) / "lading_wav-1.0.dist-info" / "entry_points.txt").write_text(f"[lading.content]\n{line}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SpecError, match=reason):
        content_type("smell")


@pytest.mark.parametrize(("file", "level"), [(LOUD, "loud"), (QUIET, "quiet")])
def test_plain_http_the_protocol_and_grpc_read_the_same_file(live: LiveServer, file: bytes, level: str) -> None:
    form = live.client.post("/classify", files={"file": ("voice.wav", file, "audio/wav")}).json()
    raw = live.client.post("/classify", content=file).json()
    assert form["level"] == raw["level"] == level
    expected = pytest.approx(list(raw["probabilities"]["level"].values()), abs=1e-5)
    text = base64.b64encode(file).decode()
    with Client(live.url, live.grpc) as client:
        model = live.artifact.manifest.name
        for outputs in (
            client.predict({"sound": file}),
            client.infer(model, {"sound": file}),
            client.infer(model, {"sound": file}, binary=True),
            client.infer_grpc(model, {"sound": file}),
        ):
            assert outputs["level"][0].tolist() == expected
    assert live.client.post("/predict", json={"sound": f"data:audio/wav;base64,{text}"}).status_code == 200


@pytest.mark.slow
def test_bentomls_port_reads_it_in_a_process_that_finds_the_package(artifact: Artifact) -> None:
    with served(cwd=ROOT, LADING_ARTIFACT=str(artifact.path)) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200, 60)
        assert client.post("/classify", content=LOUD, headers={"content-type": "audio/wav"}).json()["level"] == "loud"


def test_an_error_uses_the_types_own_words(live: LiveServer) -> None:
    refused = live.client.post("/classify", content=b"nothing", headers={"content-type": "audio/wav"})
    assert refused.status_code == 400
    assert "this is not a WAV file" in refused.json()["error"]
    other = live.client.post("/classify", content=b"nothing", headers={"content-type": "image/png"})
    assert other.status_code == 415
    assert "send a WAV file as the body (curl --data-binary @voice.wav)" in other.json()["error"]
    row = live.client.post("/predict", json={"sound": ["nothing"]}).json()["error"]
    assert row.startswith("input 'sound', recording 0: ")
    with Client(live.url, live.grpc) as client, pytest.raises(ClientError, match="'sound', recording 0: this is not"):
        client.infer_grpc("small-sound", {"sound": b"nothing"})


def test_the_docs_and_the_page_know_its_formats(live: LiveServer) -> None:
    described = live.client.get("/docs.json").json()
    classify = described["paths"]["/classify"]["post"]
    assert {"audio/wav", "audio/x-wav", "multipart/form-data"} == set(classify["requestBody"]["content"])
    assert classify["summary"] == "Classify one recording"
    assert described["components"]["schemas"]["Inputs"]["properties"]["sound"]["anyOf"][0]["description"] == "WAV"
    assert "picture" not in str(described)
    assert live.client.get("/model").json()["file"] == {
        "noun": "recording",
        "formats": "WAV",
        "media_types": ["audio/wav", "audio/x-wav"],
        "suffixes": [".wav"],
        "sample": "voice.wav",
        "textual": False,
    }


def test_a_load_test_sends_its_files(live: LiveServer, tmp_path: Path) -> None:
    (tmp_path / "loud.wav").write_bytes(LOUD)
    signature = from_server(live.url)
    for files in ([], read_files(str(tmp_path))):
        made = examples(signature, files)
        assert len(made) == INPUTS
        assert all(WAV.sniff(one["sound"]) for one in made)  # type: ignore[arg-type]
        for kind in KINDS:
            if kind == "grpc":
                continue
            request = bodies(signature, kind, made)[0]
            answer = live.client.post(request.path, content=request.content, headers=dict(request.headers))
            assert answer.status_code == 200, answer.text


def test_its_features_are_watched_for_drift_and_logged(live: LiveServer) -> None:
    for _ in range(60):
        assert live.client.post("/classify", content=LOUD).status_code == 200
    wait_until(lambda: "have drifted" in live.client.get("/report").text)
    report = live.client.get("/report").text
    assert "sound.loudness" in report
    assert "sound.crossings" in report
    folder = Path(live.app.settings.payload_log or "")
    wait_until(lambda: any(folder.rglob("recordings/*.wav")))
    wait_until(lambda: bool(rows_in(folder, "small-sound")))
    row = rows_in(folder, "small-sound")[0]
    assert row["input.sound.loudness"] == pytest.approx([0.8], abs=0.01)
    assert "input.sound" not in row


def test_verify_and_scoring_read_it(artifact: Artifact, tmp_path: Path) -> None:
    assert set(corruptions_of([SOUND], [])) == {"quieter"}
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.wav").write_bytes(LOUD)
    (tmp_path / "in" / "b.wav").write_bytes(QUIET)
    done = score(artifact, tmp_path / "in", tmp_path / "out.jsonl", Options(), Console(quiet=True))
    assert done.finished.rows == 2
    assert '"level_label":"loud"' in (tmp_path / "out.jsonl").read_text().splitlines()[0].replace(": ", ":")
