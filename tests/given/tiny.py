"""Three real models small enough to train in a test: pictures, a table, and graphs.

``python -m tests.given.tiny OUT`` writes the picture model's artifact.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lading.artifact import Artifact
from lading.build.examples import spread
from lading.spec import Array, Budget, Example, ModelSpec, Quantization, TensorSpec, Variant
from lading.tensors.ragged import collate

COLOURS = ("red", "green", "blue")
SHADES = ("dark", "bright")
TINY_VARIANTS: tuple[Variant, ...] = (
    Variant(name="fp32", max_score_drop=0.0, required=True),
    Variant(
        name="int8",
        quantization=Quantization(method="static", calibration_examples=32, form="thick"),  # timed forms take a second
        max_score_drop=0.05,
    ),
)


class ColourNet(nn.Module):
    """uint8 (batch, 16, 16, 3) to the probabilities of 3 colours and 2 shades."""

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, stride=2, padding=1),
            nn.Hardswish(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.colour = nn.Linear(channels, len(COLOURS))
        self.shade = nn.Linear(channels, len(SHADES))

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        pixels = image.permute(0, 3, 1, 2).float()
        features = self.features((pixels / 255.0 - 0.5) / 0.25)
        return self.colour(features).softmax(1), self.shade(features).softmax(1)


class TinyImage(ModelSpec):
    """Is a noisy picture red, green or blue, and dark or bright?"""

    name = "tiny-image"
    description = "colour and shade of a 16 x 16 picture"
    inputs = (TensorSpec(name="image", dtype="uint8", shape=("batch", 16, 16, 3), content="image"),)
    outputs: tuple[TensorSpec, ...] = (
        TensorSpec(name="colour", dtype="float32", shape=("batch", 3), labels=COLOURS),
        TensorSpec(name="shade", dtype="float32", shape=("batch", 2), labels=SHADES),
    )
    variants = TINY_VARIANTS
    budget = Budget(min_score=0.9)
    score_name = "accuracy"

    def build(self) -> nn.Module:
        return ColourNet()

    def dataset(self, split: str) -> list[Example]:
        rng = _rng(split)
        return [_picture(rng) for _ in range({"train": 96, "valid": 32}.get(split, 48))]

    def loss(self, outputs: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return sum(
            (nn.functional.nll_loss(outputs[name].clamp_min(1e-9).log(), targets[name]) for name in outputs),
            start=torch.zeros(()),
        )

    def score(self, outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
        return float(np.mean([np.mean(outputs[name].argmax(1) == targets[name]) for name in outputs]))


class WatchedImage(TinyImage):
    """The same pictures, with a reference that is large enough for thresholds of drift."""

    light = 1.0

    def pictures(self, count: int, seed: int) -> list[Example]:
        rng = np.random.default_rng(seed)
        return [_picture(rng, self.light) for _ in range(count)]

    def dataset(self, split: str) -> list[Example]:
        return self.pictures({"train": 96, "valid": 32}.get(split, 48), sum(split.encode()))

    def reference(self) -> list[Example]:
        return self.pictures(400, 0)


class DimmedImage(WatchedImage):
    """The same once somebody has turned the light down: bright ones are as dark as dark ones were."""

    light = 0.45


class TinyTable(ModelSpec):
    """A regression over four float features; unlabelled output."""

    name = "tiny-table"
    inputs = (TensorSpec(name="features", dtype="float32", shape=("batch", 4), minimum=-10, maximum=10),)
    outputs = (TensorSpec(name="value", dtype="float32", shape=("batch", 1), unit="m"),)
    variants = TINY_VARIANTS
    score_name = "minus mean absolute error"

    def build(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))

    def dataset(self, split: str) -> list[Example]:
        rng = _rng(split)
        features = rng.normal(size=(64, 4)).astype(np.float32)
        values = (features @ np.array([1.0, -2.0, 0.5, 0.0], np.float32))[:, None]
        return [({"features": row}, {"value": value}) for row, value in zip(features, values, strict=True)]

    def loss(self, outputs: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return nn.functional.mse_loss(outputs["value"], targets["value"])

    def score(self, outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
        return -float(np.abs(outputs["value"] - targets["value"]).mean())


class DegreeNet(nn.Module):
    """One round of message passing, then a sum over each graph's nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(4, 8)
        self.update = nn.Linear(8, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, nodes: torch.Tensor, edges: torch.Tensor, owner: torch.Tensor) -> torch.Tensor:
        hidden = self.embed(nodes).relu()
        source, target = edges[0], edges[1]
        index = target[:, None].expand(-1, hidden.shape[1])
        hidden = (hidden + torch.zeros_like(hidden).scatter_add(0, index, self.update(hidden)[source])).relu()
        # How many graphs there are is in the data alone: owners count up from 0.
        graphs = torch.arange(int(owner[-1].item()) + 1)
        member = (graphs[:, None] == owner[None, :]).to(hidden.dtype)
        logits: torch.Tensor = self.head(member @ hidden)
        return logits.softmax(1)


class TinyGraph(ModelSpec):
    """Has a ring of nodes more than five members? Nodes and edges are ragged across requests."""

    name = "tiny-graph"
    inputs = (
        TensorSpec(name="nodes", dtype="float32", shape=("nodes", 4)),
        TensorSpec(name="edges", dtype="int64", shape=(2, "edges"), indexes="nodes"),
        TensorSpec(name="owner", dtype="int64", shape=("nodes",), owner_of="nodes"),
    )
    outputs = (TensorSpec(name="size", dtype="float32", shape=("batch", 2), labels=("small", "large")),)
    variants = TINY_VARIANTS[:1]
    score_name = "accuracy"

    def build(self) -> nn.Module:
        return DegreeNet()

    def dataset(self, split: str) -> list[Example]:
        rng = _rng(split)
        return [_ring(rng, int(rng.integers(3, 9))) for _ in range(48)]

    def loss(self, outputs: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return nn.functional.nll_loss(outputs["size"].clamp_min(1e-9).log(), targets["size"])

    def score(self, outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
        return float(np.mean(outputs["size"].argmax(1) == targets["size"]))


def fit(spec: ModelSpec, *, steps: int = 60, most: int = 1000) -> nn.Module:
    """Train a spec's module on its own training data in well under a second; the same weights every time."""
    state = torch.get_rng_state()
    torch.manual_seed(0)
    try:
        module = spec.build()
        training = spec.dataset("train")
        examples = spread(training, most)
        batch = collate(spec.inputs, [inputs for inputs, _ in examples])
        arguments = [torch.from_numpy(batch[tensor.name]) for tensor in spec.inputs]
        targets = {name: torch.from_numpy(np.stack([t[name] for _, t in examples])) for name in examples[0][1]}
        optimizer = torch.optim.Adam(module.parameters(), lr=0.03)
        names = [tensor.name for tensor in spec.outputs]
        for _ in range(steps):
            answer = module(*arguments)
            outputs = dict(zip(names, answer if isinstance(answer, tuple) else (answer,), strict=True))
            loss = spec.loss(outputs, targets)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    finally:
        torch.set_rng_state(state)
    return module.eval()


def _rng(split: str) -> np.random.Generator:
    return np.random.default_rng(sum(split.encode()))


def _picture(rng: np.random.Generator, light: float = 1.0) -> Example:
    colour, shade = int(rng.integers(3)), int(rng.integers(2))
    pixels = rng.integers(0, 60, size=(16, 16, 3))
    pixels[..., colour] += 80 if shade == 0 else 180
    return {"image": (light * pixels).astype(np.uint8)}, {"colour": np.asarray(colour), "shade": np.asarray(shade)}


def _ring(rng: np.random.Generator, size: int) -> Example:
    index = np.arange(size)
    edges = np.stack([index, np.roll(index, 1)]).astype(np.int64)
    nodes = rng.normal(size=(size, 4)).astype(np.float32)
    return {"nodes": nodes, "edges": edges}, {"size": np.asarray(size > 5, dtype=np.int64)}


def pack_tiny(path: Path) -> Artifact:
    """Export the picture model, and write it as an artifact with its fp32 variant."""
    import tempfile

    from lading.artifact import tensors_to_bytes, write_artifact
    from lading.artifact.manifest import Manifest, PackedVariant, Provenance
    from lading.build.export.export import export_module
    from lading.drift.reference import Reference
    from lading.predictor import open_session

    spec = TinyImage()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "fp32.onnx"
        export_module(spec, fit(spec), file)
        session = open_session(file)
        names = [tensor.name for tensor in spec.outputs]
        rows = [inputs for inputs, _ in spec.dataset("train")]
        answers = [dict(zip(names, session.run(names, collate(spec.inputs, [row])), strict=True)) for row in rows]
        firsts = [{name: array[0] for name, array in one.items()} for one in answers]
        singles = list(zip(rows, firsts, strict=True))
        golden = collate(spec.inputs, rows[:4])
        manifest = Manifest(
            name=spec.name,
            description=spec.description,
            inputs=spec.inputs,
            outputs=spec.outputs,
            chosen="fp32",
            score_name=spec.score_name,
            variants=(
                PackedVariant(
                    variant=spec.variants[0], file="variants/fp32.onnx", precision="fp32", passed=True, golden_atol=1e-4
                ),
            ),
            provenance=Provenance(created="2026-01-01T00:00:00+00:00"),
        )
        files: dict[str, bytes | Path] = {
            "variants/fp32.onnx": file,
            "golden/inputs.npz": tensors_to_bytes(golden),
            "golden/fp32.npz": tensors_to_bytes(dict(zip(names, session.run(names, golden), strict=True))),
            "reference.json": Reference.fit(spec.inputs, spec.outputs, singles).to_json().encode(),
        }
        return write_artifact(path, manifest, files)


if __name__ == "__main__":
    print(pack_tiny(Path(sys.argv[1])).digest)
