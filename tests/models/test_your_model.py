"""``docs/your-model.md`` is true: its commands take the three kinds of files, and each library's network goes in."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import lightning
import pytest
import torch
import torchvision
from torch import nn
from typer.testing import CliRunner

from lading.artifact import Artifact
from lading.build.train.checkpoint import load_checkpoint
from lading.cli import app
from lading.import_string import load_spec
from tests.given.hubs import hubs

__all__ = ["hubs"]
ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "your-model.md"
LIBRARY = re.compile(
    r"^([\w.]+)[^\n]*:\n\n```python\n((?:(?!```).)*?def build\(\):\n.*?)^```$", re.DOTALL | re.MULTILINE
)
RUN = """
import sys
from pathlib import Path
import torch
from lading.build.export.export import export_module
from lading.build.train.checkpoint import load_checkpoint
from lading.import_string import load_spec

torch.manual_seed(0)
spec = load_spec(sys.argv[1])
network = spec.build().network
torch.save({"epoch": 1, "model": network.state_dict()}, "weights.pth")
module, _ = load_checkpoint(spec, Path("weights.pth"))
photo = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
pixels = ((photo.float() / 255 - module.mean) / module.std).permute(0, 3, 1, 2)
with torch.no_grad():
    assert torch.equal(module(photo), network.eval()(pixels).softmax(1))
export_module(spec, module, Path("fp32.onnx"))
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def libraries() -> dict[str, str]:
    return dict(LIBRARY.findall(PAGE.read_text()))


class Trained(lightning.LightningModule):
    """A network as Lightning's users wrap it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.model = network

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        loss: torch.Tensor = self.model(batch[0]).square().mean()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the page's model file."""
    (tmp_path / "photos.py").write_text(blocks("python")[0])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(line: str) -> str:
    result = CliRunner().invoke(app, line.split()[1:])
    assert result.exit_code == 0, f"{line}\n{result.output}\n{result.exception!r}"
    return result.output


def told(text: str, folder: Path) -> str:
    """The words of a text, whatever the width of the terminal, without the folder and the digests of one machine."""
    return re.sub(r"sha256:\w+", "sha256:...", " ".join(text.replace(f"{folder}/", "").split()))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_three_ways_in(folder: Path) -> None:
    network = torchvision.models.resnet18(num_classes=3)
    torch.save(network.state_dict(), "resnet18.pth")
    trainer = lightning.Trainer(
        max_epochs=1, logger=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu"
    )
    rows = torch.utils.data.TensorDataset(torch.rand(4, 3, 64, 64))
    trainer.fit(Trained(network), torch.utils.data.DataLoader(rows, batch_size=4))
    trainer.save_checkpoint("last.ckpt")
    transcripts = blocks("text")[:3]  # one of each way in; an error follows them
    for commands, transcript in zip(blocks("bash"), transcripts, strict=True):
        said = told("".join(run(line) for line in commands.splitlines()), folder)
        for line in transcript.splitlines():
            assert told(line, folder) in said, commands
    spec = load_spec(f"{folder / 'photos.py'}:Photos")
    module, card = load_checkpoint(spec, folder / "lightning.safetensors")
    photo = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    mean, std = (module.get_buffer(name) for name in ("mean", "std"))
    pixels = ((photo.float() / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.no_grad():
        assert torch.allclose(module(photo), network.eval()(pixels).softmax(1), atol=1e-6)
    assert card.config["imported"]["file"] == "last.ckpt"
    assert Artifact.load(folder / "artifacts" / "photos").manifest.name == "photos"


def test_the_page_has_a_build_for_each_library() -> None:
    assert libraries().keys() == {"torchvision", "timm", "torch.hub", "transformers"}


@pytest.mark.slow
@pytest.mark.parametrize("library", ["torchvision", "timm", "torch.hub", "transformers"])
def test_a_network_of_each_library_goes_in(library: str, folder: Path, hubs: Path) -> None:
    # The hub is out of reach, so the repository is a folder here.
    build = re.sub(r'"pytorch/vision:[^"]*"', f'"{hubs}/repository"', libraries()[library])
    build = build.replace("weights=None", 'source="local", weights=None')
    helper = next(block for block in blocks("python") if block.startswith("class Logits"))
    file = folder / "photos.py"
    page = file.read_text().replace("torchvision.models.resnet18(num_classes=3)", "build()")
    file.write_text(f"{page}\n\n{helper}\n\n{build}")
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{hubs}", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RUN, f"{file}:Photos"],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (folder / "fp32.onnx").is_file()
