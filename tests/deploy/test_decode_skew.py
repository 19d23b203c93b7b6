"""Decoding is compared with training's pixels: over every port, and by the doctor."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lading.artifact import Artifact
from lading.cli.main import main
from lading.deploy.decode_reference import reference_tensor
from lading.deploy.decode_skew import decode_skew
from lading.errors import DataError, SpecError
from lading.predictor import Predictor
from lading.protocol.client import Client
from tests.given.live_server import LiveServer, live_server
from tests.given.packed_onnx import packed_pictures
from tests.given.small_artifacts import colour_artifact, table_artifact

READER = """
from pathlib import Path
import numpy as np
from lading.content.image import as_tensor
from lading import TensorSpec
from tests.given.tiny import TinyImage
SPEC = TensorSpec(name="image", dtype="uint8", shape=("batch", 16, 16, 3), content="image")
class Photos(list):
    def read(self, file):
        pixels = as_tensor(Path(file), SPEC)
        return {"image": pixels[..., ::-1] if SWAPPED else pixels}
class Own(TinyImage):
    def dataset(self, split):
        return Photos()
"""


def photo(seed: int, orientation: int = 1) -> bytes:
    """A soft picture with one strong colour."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 120, (9, 12, 3), dtype=np.uint8)
    pixels[..., seed % 3] += 100
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    Image.fromarray(pixels).resize((240, 180), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=80, exif=exif)
    return stream.getvalue()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    (folder / "more").mkdir()
    for seed in range(12):
        (folder / ("more" if seed % 2 else "") / f"{seed}.jpg").write_bytes(photo(seed, 1 + seed % 8))
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return packed_pictures(tmp_path_factory.mktemp("colours"), "imagenet")


@pytest.fixture(scope="module")
def server(colours: Artifact) -> Iterator[LiveServer]:
    with live_server(colours) as live:
        yield live


def test_every_port_decodes_as_declared(colours: Artifact, server: LiveServer) -> None:
    data = photo(1, 6)
    tensor = reference_tensor(data, colours.manifest.inputs[0])
    expected = Predictor(colours)({"input": tensor[None]})["y"]
    text = base64.b64encode(data).decode()
    plain = server.client.post("/predict", json={"input": text}).json()["outputs"]["y"]
    classified = server.client.post("/classify", content=data, headers={"content-type": "image/jpeg"}).json()
    with Client(server.url, server.grpc) as client:
        answers = [
            client.infer("colours", {"input": data})["y"],
            client.infer("colours", {"input": data}, binary=False)["y"],
            client.infer_grpc("colours", {"input": data})["y"],
        ]
    for answer in (np.array(plain), *answers):
        assert np.abs(answer - expected).max() < 0.01
        assert np.abs(answer - answers[0]).max() < 1e-6
    assert classified["y"] == ("red", "green", "blue")[int(expected.argmax())]
    assert abs(classified["confidence"] - answers[0].max()) < 1e-5


def test_a_server_says_how_it_reads_pictures(server: LiveServer) -> None:
    model = server.client.get("/model").json()
    assert model["inputs"][0]["preprocess"]["fit"] == "crop"
    assert model["file"]["preprocess"].startswith("crop,resize=18,bilinear,antialias=yes,reduced=no,RGB,exif=yes,NCHW")


def test_what_is_declared_changes_no_answer(colours: Artifact, server: LiveServer, photos: Path) -> None:
    for target in (str(colours.path), server.url):
        found = decode_skew(target, photos)
        assert (found.files, found.changed) == (12, ())
        assert 0 < found.max_difference < 0.01


def test_a_reader_that_does_otherwise_is_found(photos: Path, tmp_path: Path) -> None:
    artifact = colour_artifact(tmp_path / "colour")
    (tmp_path / "own.py").write_text("SWAPPED = False" + READER)
    same = decode_skew(str(artifact.path), photos, model=f"{tmp_path}/own.py:Own")
    assert (same.share, same.max_difference) == (0, 0)
    (tmp_path / "swapped.py").write_text("SWAPPED = True" + READER)
    other = decode_skew(str(artifact.path), photos, model=f"{tmp_path}/swapped.py:Own")
    assert other.share > 0.5
    assert "swapped.py:Own's data set" in other.read_by


def test_the_doctor_refuses_more_changed_answers_than_allowed(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact = colour_artifact(tmp_path / "colour")
    (tmp_path / "swapped.py").write_text("SWAPPED = True" + READER)
    words = ["doctor", str(artifact.path), "--decode", str(photos)]

    def run(*more: str) -> int | str | None:
        monkeypatch.setattr("sys.argv", ["lading", *words, *more])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code

    assert run() in {0, None}
    assert "changed answers" in capsys.readouterr().out
    assert run("--model", f"{tmp_path}/swapped.py:Own") == 3
    assert "at most 0.10% is allowed. Declare in TensorSpec.preprocess" in " ".join(capsys.readouterr().err.split())
    assert run("--model", f"{tmp_path}/swapped.py:Own", "--allow", "1") in {0, None}


def test_a_file_that_the_server_refuses_is_a_changed_answer(colours: Artifact, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(photo(0))
    stream = io.BytesIO()
    Image.new("RGB", (40, 40)).save(stream, "GIF")
    (tmp_path / "b.jpg").write_bytes(stream.getvalue())
    assert decode_skew(str(colours.path), tmp_path).changed == ("b.jpg",)


def test_what_cannot_be_compared_is_told(colours: Artifact, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file in .* that ends in .jpg"):
        decode_skew(str(colours.path), tmp_path)
    table = table_artifact(tmp_path / "table")
    with pytest.raises(SpecError, match="does not take one picture, but"):
        decode_skew(str(table.path), photos)
    with pytest.raises(SpecError, match=r"has no method read\(file\)"):
        decode_skew(str(colours.path), photos, model="tests/given/tiny.py:TinyImage")
