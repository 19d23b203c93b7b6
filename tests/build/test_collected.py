"""What a service collected becomes examples: the next model learns what clients said about the answers of this one."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from lading.artifact import Artifact, write_artifact
from lading.build.collected import ENOUGH, VARIABLE, Collected, as_extended, extended, load_spec, read_collected
from lading.content.image import picture_descriptors
from lading.drift.reference import Reference
from lading.errors import DataError
from lading.spec import Described, Example
from tests.given.bucket import s3_bucket
from tests.given.live_server import live_server
from tests.given.small_artifacts import colour_artifact, table_artifact
from tests.given.tiny import TinyImage, TinyTable

IMAGE = "tests/given/tiny.py:TinyImage"


def served_as(name: str, artifact: Artifact, folder: Path) -> Artifact:
    """The same artifact under another name, as if it had been built from another spec."""
    files: dict[str, bytes | Path] = {file: artifact.path / file for file in artifact.manifest.files}
    return write_artifact(folder, artifact.manifest.model_copy(update={"name": name}), files)


def picture(seed: int) -> bytes:
    """Noise, so that no two pictures are equal after they were kept as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def ask(client: httpx.Client, number: int, truth: dict[str, Any] | None) -> None:
    name = f"id-{number}"
    answer = client.post("/classify", content=picture(number), headers={"x-request-id": name})
    assert answer.status_code == 200, answer.text
    if truth:
        told = client.post("/feedback", json={"request_id": name, "truth": truth})
        assert told.status_code == 200, told.text


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of the tiny picture model: sixty pictures with a truth about both outputs, and more without."""
    folder = tmp_path_factory.mktemp("collected")
    artifact = served_as("tiny-image", colour_artifact(folder / "plain"), folder / "artifact")
    settings: dict[str, Any] = {"payload_log": str(folder / "log"), "payload_images": "files", "feedback": 1000}
    with live_server(artifact, drift=False, **settings) as live:
        for number in range(60):
            ask(live.client, number, {"colour": "green", "shade": "bright"})
        for number in range(60, 70):
            ask(live.client, number, {"colour": "green"})
            ask(live.client, 100 + number, None)
    return folder / "log"


def test_answers_with_a_truth_become_examples_of_every_split(collected: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = TinyImage()
    monkeypatch.setenv(VARIABLE, str(collected))
    spec = load_spec(IMAGE)
    added = {split: len(spec.dataset(split)) - len(own.dataset(split)) for split in ("train", "valid", "test")}
    assert sum(added.values()) == 60
    assert added["train"] > added["test"] > 0
    inputs, targets = spec.dataset("train")[-1]
    assert inputs["image"].shape == (16, 16, 3)
    assert inputs["image"].dtype == np.uint8
    assert {name: int(value) for name, value in targets.items()} == {"colour": 1, "shade": 1}
    assert type(targets["colour"]) is np.ndarray or isinstance(targets["colour"], np.generic)


def test_the_same_request_is_always_in_the_same_split(collected: Path) -> None:
    one, other = (read_collected(TinyImage(), str(collected)) for _ in range(2))
    for split in ("train", "valid", "test"):
        pairs = zip(one.split(split), other.split(split), strict=True)
        assert all(np.array_equal(first[0]["image"], second[0]["image"]) for first, second in pairs)
    seen = {example[0]["image"].tobytes() for example in one.train}
    assert not seen & {example[0]["image"].tobytes() for example in one.unseen}


def test_the_drift_reference_is_made_of_unseen_requests_when_there_are_enough(collected: Path) -> None:
    few = read_collected(TinyImage(), str(collected))
    spec = extended(TinyImage(), few)
    assert len(spec.reference()) == len(TinyImage().reference()) + len(few.unseen)
    many = Collected(few.train, few.valid, few.test, few.unseen * ENOUGH)
    reference = extended(TinyImage(), many).reference()
    assert [reference[index] for index in range(len(reference))] == many.unseen


def test_only_the_newest_unseen_requests_are_in_the_reference(collected: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Older ones may be from before a shift."""
    every = read_collected(TinyImage(), str(collected))
    monkeypatch.setattr("lading.build.collected.UNSEEN", 5)
    newest = read_collected(TinyImage(), str(collected))
    assert len(every.unseen) > len(newest.unseen) == 5
    pairs = zip(every.unseen[:5], newest.unseen, strict=True)
    assert all(np.array_equal(first[0]["image"], second[0]["image"]) for first, second in pairs)
    assert len(newest.test) == len(every.test)


def test_the_reference_has_the_features_of_the_pictures_that_clients_sent(collected: Path) -> None:
    """Not those of the files in the log, which were coded anew: live requests would differ from them at once."""
    found = read_collected(TinyImage(), str(collected))
    spec = extended(TinyImage(), Collected(unseen=found.unseen * ENOUGH, described=found.described * ENOUGH))
    dataset = spec.reference()
    assert isinstance(dataset, Described)
    sent = {picture_descriptors(np.asarray(Image.open(io.BytesIO(picture(n))))).round(2).tobytes() for n in range(200)}
    known = [dataset.described(index) for index in range(len(dataset))]
    assert {np.concatenate([*one.values()]).round(2).tobytes() for one in known} <= sent
    given: list[Example] = [(inputs, {}) for inputs, _ in found.unseen * ENOUGH]
    reference = Reference.fit(TinyImage.inputs, (), given, described=known)
    for name in ("image.sharpness", "image.contrast"):
        assert reference.features[name].mean == pytest.approx(np.mean([one[name] for one in known]))


def test_a_model_with_other_options_keeps_what_was_collected(collected: Path) -> None:
    found = read_collected(TinyImage(), str(collected))
    other = as_extended(extended(TinyImage(), found), TinyImage())
    assert len(other.dataset("train")) == len(TinyImage().dataset("train")) + len(found.train)
    assert as_extended(TinyImage(), other) is other


def test_a_log_in_a_bucket_is_read(collected: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_bucket(monkeypatch) as bucket:
        for file in collected.rglob("*.*"):
            bucket.objects[str(file.relative_to(collected))] = file.read_bytes()
        found = read_collected(TinyImage(), "s3://lading-log")
    assert len(found.train) == len(read_collected(TinyImage(), str(collected)).train)


def test_numbers_become_targets_of_the_models_own_form(tmp_path: Path) -> None:
    artifact = served_as("tiny-table", table_artifact(tmp_path / "plain"), tmp_path / "artifact")
    with live_server(artifact, payload_log=str(tmp_path / "log"), feedback=100) as live:
        for number in range(30):
            name = f"id-{number}"
            live.client.post("/predict", json={"features": [[1, 2, 3, number]]}, headers={"x-request-id": name})
            live.client.post("/feedback", json={"request_id": name, "truth": {"total": 1.5}})
    # The table model that is served calls its output total, and the spec calls it value.
    with pytest.raises(DataError, match="holds no truth about value"):
        read_collected(TinyTable(), str(tmp_path / "log"))


@pytest.mark.parametrize(
    ("images", "feedback", "sentence"),
    [("features", True, "set LADING_PAYLOAD_IMAGES=files"), ("files", False, "holds no truth about colour, shade")],
)
def test_a_log_that_cannot_be_learned_from_is_refused(
    tmp_path: Path, images: str, feedback: bool, sentence: str
) -> None:
    artifact = served_as("tiny-image", colour_artifact(tmp_path / "plain"), tmp_path / "artifact")
    log = tmp_path / "log"
    with live_server(artifact, payload_log=str(log), payload_images=images, feedback=10, drift=False) as live:
        ask(live.client, 1, {"colour": "red", "shade": "dark"} if feedback else None)
    with pytest.raises(DataError, match=sentence):
        read_collected(TinyImage(), str(log))


def test_a_log_of_another_model_is_refused(collected: Path) -> None:
    with pytest.raises(DataError, match="holds no answer of tiny-table"):
        read_collected(TinyTable(), str(collected))


def test_rows_whose_pictures_are_gone_are_left_out_and_others_teach(collected: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    shutil.copytree(collected, log)
    (file, *_) = log.rglob("date=*/*.parquet")
    file.with_name("torn.parquet").write_bytes(b"PAR1")
    whole = read_collected(TinyImage(), str(log))
    pictures = sorted(log.rglob("pictures/*"))
    for picture_ in pictures[: len(pictures) // 2]:
        picture_.unlink()
    rest = read_collected(TinyImage(), f"{log}/")
    assert 0 < len(rest.train) < len(whole.train)
    for picture_ in pictures[len(pictures) // 2 :]:
        picture_.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        read_collected(TinyImage(), f"{log}/.")
