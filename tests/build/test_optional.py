"""A variant that nobody requires and that cannot be made is refused in a sentence, and the build goes on."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from lading.artifact import Artifact
from lading.build.build import build
from lading.build.channels import check_pruned, remove_channels
from lading.build.dry_run import dry_run
from lading.build.optional import REFUSING
from lading.build.records import read_export
from lading.build.train.checkpoint import new_card, save_checkpoint
from lading.build.train.config import compose
from lading.build.train.train import train
from lading.errors import ExportError, LadingError, PruneError, SpecError
from lading.spec import Array, Budget, Example, ModelSpec, Quantization, TensorSpec, Variant
from tests.given.quick_verify import quick_verify
from tests.given.tiny import fit

FP32 = Variant(name="fp32", max_score_drop=0.0, required=True)
PRUNED = Variant(name="pruned30", pruning=0.3, max_score_drop=0.5)
BOTH = Variant(name="pruned30-int8", pruning=0.3, quantization=Quantization(method="static", calibration_examples=16))
TARGET = "tests/given/tiny.py:TinyImage"
FAST = [
    "data.workers=0",
    "trainer.progress=false",
    "logger.wandb=false",
    "prune.max_epochs=1",
    "prune.round_to=1",
]


class Recurrent(nn.Module):
    """torch-pruning fails on an LSTM of two directions."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(8, 16, bidirectional=True, batch_first=True), nn.Linear(32, 2)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.head(self.lstm(rows)[0].mean(1)).softmax(1)
        return answer


class Enlarging(nn.Module):
    """A pruned transposed convolution cannot be loaded again."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 16, 3)
        self.up, self.head = nn.ConvTranspose2d(16, 16, 2, stride=2), nn.Linear(16, 2)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        wide = self.up(self.first(rows[:, None]).relu()).relu()
        answer: torch.Tensor = self.head(self.last(wide).relu().mean((2, 3))).softmax(1)
        return answer


class Heads(nn.Module):
    """There is only the layer that makes the output, which stays whole."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 2)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.head(rows.flatten(1)).softmax(1)
        return answer


class Literal(nn.Module):
    """The width of a layer is written into forward: 16 channels, however many are left."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(64, 16), nn.Linear(16, 16), nn.Linear(16, 2)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        hidden = self.first(rows.flatten(1)).relu().view(-1, 16)
        answer: torch.Tensor = self.head(self.second(hidden).relu()).softmax(1)
        return answer


class Branching(nn.Module):
    """Once it is pruned, forward decides by the values of a tensor: it cannot be exported any more."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(64, 16), nn.Linear(16, 16), nn.Linear(16, 2)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        hidden = self.second(self.first(rows.flatten(1)).relu()).relu()
        if self.second.weight.shape[0] < 16 and hidden.sum() < 0:
            hidden = hidden * 2
        answer: torch.Tensor = self.head(hidden).softmax(1)
        return answer


class Doubles(nn.Module):
    """float64 inside: it can be pruned like any other."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(64, 32), nn.Linear(32, 16), nn.Linear(16, 2)
        self.double()

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        hidden = self.second(self.first(rows.flatten(1).double()).relu()).relu()
        answer: torch.Tensor = self.head(hidden).softmax(1).float()
        return answer


class Rows(ModelSpec):
    """Are the numbers of a table about 0 or about 1?"""

    name = "rows"
    inputs = (TensorSpec(name="rows", dtype="float32", shape=("batch", 8, 8)),)
    outputs = (TensorSpec(name="level", dtype="float32", shape=("batch", 2), labels=("low", "high")),)
    variants: tuple[Variant, ...] = (FP32, PRUNED, BOTH)
    budget = Budget(min_score=0.5)
    network: type[nn.Module]

    def build(self) -> nn.Module:
        return self.network()

    def dataset(self, split: str) -> list[Example]:
        rng = np.random.default_rng(sum(split.encode()))
        levels = rng.integers(2, size=64)
        rows = (rng.normal(size=(64, 8, 8)) + levels[:, None, None]).astype(np.float32)
        return [({"rows": row}, {"level": np.asarray(level)}) for row, level in zip(rows, levels, strict=True)]

    def loss(self, outputs: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return nn.functional.nll_loss(outputs["level"].clamp_min(1e-9).log(), targets["level"])

    def score(self, outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
        return float(np.mean(outputs["level"].argmax(1) == targets["level"]))


def spec_with(network: type[nn.Module], variants: tuple[Variant, ...]) -> Rows:
    class Own(Rows):
        pass

    Own.network, Own.variants = network, variants
    return Own()


def built(network: type[nn.Module], folder: Path, *variants: Variant) -> tuple[Artifact, str]:
    """An artifact of a network, and what the build printed."""
    spec = spec_with(network, variants or Rows.variants)
    module = fit(spec, steps=30)
    checkpoint = save_checkpoint(folder / "rows.safetensors", module, new_card(spec, module))
    console = Console(file=io.StringIO(), width=200)
    out, work = folder / "artifact", folder / "work"
    with quick_verify():
        artifact = build(spec, TARGET, out=out, work=work, checkpoint=checkpoint, overrides=FAST, console=console)
    assert isinstance(console.file, io.StringIO)
    return artifact, console.file.getvalue()


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (Recurrent, "cannot be pruned: torch-pruning does not know a layer or an operator of it"),
        (Enlarging, "does not run once it is pruned: CheckpointError"),
        (Heads, "only 0% of the multiply-accumulates can be removed, but 30% are requested"),
        (Literal, "cannot be pruned"),
    ],
)
def test_a_network_that_cannot_be_pruned_is_told_before_it_is_fine_tuned(network: type[nn.Module], words: str) -> None:
    spec = spec_with(network, ())
    module = spec.build()
    with pytest.raises(PruneError, match=words):
        pruned(spec, module)


def pruned(spec: ModelSpec, module: nn.Module) -> None:
    remove_channels(spec, module, 0.3, round_to=1)
    check_pruned(spec, module)


def test_a_network_of_float64_is_pruned_like_any_other() -> None:
    spec = spec_with(Doubles, ())
    pruned(spec, spec.build())


def test_without_a_pruned_network_the_build_goes_on_and_says_why_there_is_none(tmp_path: Path) -> None:
    artifact, said = built(Heads, tmp_path)
    refused = {entry.variant.name: entry.reasons for entry in artifact.manifest.refused}
    assert refused.keys() == {"pruned30", "pruned30-int8"}
    assert refused["pruned30"] == refused["pruned30-int8"]
    assert refused["pruned30"][0].startswith("rows: only 0%")
    assert artifact.manifest.chosen == "fp32"
    assert read_export(tmp_path / "work" / "export").problems[0.3] == refused["pruned30"][0]
    assert said.index("there is no variant with 30% pruned: rows: only 0%") < said.index("export to ONNX")


def test_a_pruned_network_that_cannot_be_exported_is_refused_too(tmp_path: Path) -> None:
    artifact, _ = built(Branching, tmp_path)
    refused = {entry.variant.name: entry.reasons for entry in artifact.manifest.refused}
    assert "forward uses the values of a tensor in Python" in refused["pruned30"][0]


@pytest.mark.parametrize(("network", "error"), [(Heads, PruneError), (Branching, ExportError)])
def test_a_required_variant_still_stops_the_build(
    network: type[nn.Module], error: type[LadingError], tmp_path: Path
) -> None:
    with pytest.raises(error):
        built(network, tmp_path, FP32, PRUNED.model_copy(update={"required": True}))


def test_a_layer_to_protect_that_does_not_exist_is_wrong_usage_and_stops() -> None:
    class Misspelt(Rows):
        network = Heads
        prune_protect = ("heads",)

    with pytest.raises(SpecError, match="there is no such submodule") as stopped:
        remove_channels(Misspelt(), Misspelt().build(), 0.3)
    assert not isinstance(stopped.value, REFUSING)


@pytest.mark.parametrize("network", [Recurrent, Enlarging, Heads, Literal])
def test_a_dry_run_tells_what_cannot_be_pruned_and_leaves_the_module(network: type[nn.Module]) -> None:
    spec = spec_with(network, Rows.variants)
    module = spec.build()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    (sentence,) = dry_run(spec, module, round_to=1)
    with pytest.raises(PruneError) as stopped:
        pruned(spec, spec.build())
    assert _sizeless(sentence) == _sizeless(f"there will be no variant with 30% pruned: {stopped.value}")
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    required = spec_with(network, (FP32, PRUNED.model_copy(update={"required": True})))
    with pytest.raises(PruneError) as refused:
        dry_run(required, module, round_to=1)
    assert _sizeless(str(refused.value)) == _sizeless(str(stopped.value))


def _sizeless(sentence: str) -> str:
    """A trial takes larger steps, so other numbers of channels are left."""
    return re.sub(r"\[[\d, ]+\]|\d+(?=%)|(?<=size )\d+", "N", sentence)


def test_a_dry_run_has_nothing_to_tell_of_what_can_be_pruned() -> None:
    assert dry_run(spec_with(Doubles, Rows.variants), round_to=1) == []
    assert dry_run(spec_with(Heads, (FP32,))) == []


def test_what_cannot_be_pruned_is_told_before_the_first_epoch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["data.workers=0", "trainer.max_epochs=1", "trainer.progress=false", "logger.wandb=false"]
    train(spec_with(Heads, Rows.variants), compose(TARGET, words), tmp_path / "run")
    assert "there will be no variant with 30% pruned: rows: only 0%" in capsys.readouterr().out
    required = spec_with(Heads, (FP32, PRUNED.model_copy(update={"required": True})))
    with pytest.raises(PruneError):
        train(required, compose(TARGET, words), tmp_path / "none")
    assert not (tmp_path / "none").exists()
