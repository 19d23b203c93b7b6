"""``docs/pictures.md`` is true: its commands build the two examples, every port answers, and torchvision's go in."""

from __future__ import annotations

import io
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
import torchvision
from PIL import Image

from examples.detection import CLASSES, MOST, Detection, scene
from examples.segmentation import Segmentation, picture
from lading.answers import broken_promise
from lading.answers.boxes import overlaps
from lading.artifact import Artifact
from lading.build.dry_run import dry_run
from lading.build.export.export import export_module
from lading.predictor import Predictor
from lading.spec import Array, ModelSpec, TensorSpec
from tests.given.live_server import live_server
from tests.given.packed_graph import answers_of_all_ports

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "pictures.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def command(word: str) -> list[str]:
    """The words of the page's command that holds this one."""
    lines = [line for block in blocks("bash") for line in block.splitlines() if word in line]
    return shlex.split(lines[0])


def run(words: list[str], folder: Path) -> str:
    """Run ``lading ...`` as the page says."""
    assert words[0] == "lading"
    done = subprocess.run([sys.executable, "-m", *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def file_of(pixels: Array, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def test_the_made_up_photos_are_what_their_targets_say() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        pixels, boxes = scene(60, 90, rng)
        assert pixels.shape == (60, 90, 3)
        used = boxes[boxes[:, 4] > 0]
        assert 1 <= len(used) <= 3
        assert (used[:, :2] >= 0).all()
        assert (used[:, 2:4] <= 1).all()
        assert overlaps(used, used).sum() == pytest.approx(len(used), abs=1e-6), "they do not hide each other"
        pixels, mask = picture(70, 90, rng)
        assert mask.shape == pixels.shape[:2]
        assert set(np.unique(mask)) == {0, 1, 2}


@pytest.mark.slow
@pytest.mark.parametrize("spec", [Detection(), Segmentation()], ids=lambda spec: spec.name)
def test_what_they_declare_fits_together(spec: ModelSpec) -> None:
    dry_run(spec)


@pytest.mark.slow
def test_the_detector_is_built_and_every_port_finds_the_things_of_a_photo(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    run(command("examples/detection.py"), tmp_path)
    artifact = Artifact.load(tmp_path / "artifacts" / "detection")
    rng = np.random.default_rng(9)
    found = every = 0
    with live_server(artifact) as live:
        for turn in range(8):
            pixels, boxes = scene(*((192, 120), (96, 96), (90, 150), (300, 310))[turn % 4], rng)
            wanted = boxes[boxes[:, 4] > 0]
            answers = answers_of_all_ports(live, {"photo": file_of(pixels)})
            seen = answers.pop("predict")["boxes"][0]
            frames = [answered["boxes"] for answered in answers.values()]
            for frame in frames:
                assert frame.shape == (1, MOST, 6)
                np.testing.assert_allclose(frame, frames[0], atol=1e-6)
            seen = seen[seen[:, 4] > 0.4]
            same = overlaps(wanted, seen) * (wanted[:, None, 5] == seen[None, :, 5])
            every += len(wanted)
            found += int((same.max(axis=1, initial=0) > 0.5).sum())
        curl = command("curl -F")
        file = str(ROOT / curl[2].partition("@")[2])
        done = subprocess.run(
            ["curl", "-s", "-F", f"photo=@{file}", live.url + "/predict"], capture_output=True, check=True
        )
        assert b'"found":{"boxes":[[' in done.stdout
    assert found >= 0.8 * every, "boxes of /predict are where the things are in photos of any shape"
    spec = artifact.manifest.outputs[0]
    assert spec.classes == CLASSES


@pytest.mark.slow
def test_the_segmentation_is_built_and_every_port_takes_photos_of_any_size(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    run(command("examples/segmentation.py"), tmp_path)
    artifact = Artifact.load(tmp_path / "artifacts" / "segmentation")
    rng = np.random.default_rng(9)
    with live_server(artifact) as live:
        for height, width in ((64, 64), (75, 133), (200, 90)):
            pixels, mask = picture(height, width, rng)
            answers = answers_of_all_ports(live, {"photo": file_of(pixels)})
            found = answers.pop("predict")["mask"][0]
            assert found.shape == mask.shape
            for place in (1, 2):
                both, either = (found == place) & (mask == place), (found == place) | (mask == place)
                assert both.sum() > 0.6 * either.sum()
            for port, answered in answers.items():
                frame = answered["mask"][0]
                assert frame.shape == (-(-height // 8) * 8, -(-width // 8) * 8), port
                np.testing.assert_array_equal(frame[:height, :width], found, err_msg=port)
    shutil.copy(artifact.onnx_file("fp32"), tmp_path / "segmentation.onnx")
    run(command("segmentation.onnx"), tmp_path)
    again = Artifact.load(tmp_path / "artifacts" / "segmentation")
    how = again.manifest.inputs[0].preprocess
    assert how is not None
    assert str(how).startswith("keep,longest=512,multiple=8")
    mixed = {"photo": np.zeros((2, 3, 40, 88), np.float32)}
    assert Predictor(again)(mixed)[again.manifest.outputs[0].name].shape == (2, 40, 88)


@pytest.mark.slow
def test_ssdlite_of_the_page_answers_as_torchvision_and_is_exported(tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    exec(next(block for block in blocks("python") if "class Found" in block), names)
    names["LEAST_SCORE"] = 0.001  # torchvision's
    torch.manual_seed(0)
    found = names["build"]().eval()
    for layer in found.modules():
        if isinstance(layer, torch.nn.Conv2d):  # random weights whose answers differ by photo
            torch.nn.init.normal_(layer.weight, 0, 1.2 / (layer.weight[0].numel()) ** 0.5)
    for scores in found.network.head.classification_head.module_list:
        scores[-1].weight.data *= 6
    photos = torch.rand(2, 3, 320, 320)
    with torch.no_grad():
        wanted = found.network(list(photos))
        got = found((photos - 0.5) / 0.5).numpy()
    for one, answered in zip(wanted, got, strict=True):
        best = int(one["scores"].argmax())
        np.testing.assert_allclose(answered[0, :4] * 320, one["boxes"][best], atol=1e-2)
        assert answered[0, 4] == pytest.approx(float(one["scores"][best]), abs=1e-5)
        assert answered[0, 5] == int(one["labels"][best]) - 1, "without the background"

    class Spec(ModelSpec):
        name = "ssdlite"
        inputs = (TensorSpec(name="photo", dtype="float32", shape=("batch", 3, 320, 320)),)
        outputs = (
            TensorSpec(
                name="boxes",
                dtype="float32",
                shape=("batch", 100, 6),
                content="boxes",
                classes=tuple(f"kind{place}" for place in range(90)),
            ),
        )

        def build(self) -> torch.nn.Module:
            return torch.nn.Identity()

        def dataset(self, split: str) -> list[Any]:
            raise KeyError(split)

        def loss(self, outputs: object, targets: object) -> torch.Tensor:
            raise NotImplementedError

        def score(self, outputs: object, targets: object) -> float:
            raise NotImplementedError

    export_module(Spec(), found, tmp_path / "ssdlite.onnx")
    session = ort.InferenceSession(str(tmp_path / "ssdlite.onnx"), providers=["CPUExecutionProvider"])
    answered = session.run(None, {"photo": ((photos - 0.5) / 0.5).numpy()})[0]
    np.testing.assert_allclose(answered, got, atol=1e-4)
    assert broken_promise(Spec.outputs, {"boxes": answered}) is None


@pytest.mark.slow
def test_faster_rcnn_is_served_one_by_one_for_photos_of_any_size(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = torchvision.models.detection.fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=4
    ).eval()
    outputs = ["boxes", "labels", "scores"]
    script = {"photo": {1: "height", 2: "width"}, **{name: {0: "found"} for name in outputs}}
    with pytest.warns():  # torch's tracer, of shapes in Python
        torch.onnx.export(
            network,
            ([torch.rand(3, 200, 300)],),
            tmp_path / "fasterrcnn.onnx",
            dynamo=False,
            opset_version=17,
            input_names=["photo"],
            output_names=outputs,
            dynamic_axes=script,
        )
    assert "served one by one" in run(command("fasterrcnn.onnx"), tmp_path)
    with live_server(Artifact.load(tmp_path / "artifacts" / "fasterrcnn")) as live:
        for size in ((200, 300), (240, 180)):
            pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
            photo = torch.from_numpy((pixels / 255).astype(np.float32).transpose(2, 0, 1).copy())
            with torch.no_grad():
                wanted = network([photo])[0]
            for port, answered in answers_of_all_ports(live, {"photo": file_of(pixels)}).items():
                assert answered["boxes"].shape == (1, *wanted["boxes"].shape), port
                np.testing.assert_allclose(answered["scores"][0], wanted["scores"], atol=1e-4, err_msg=port)
