"""Discs and bars in pictures of any size: which pixel shows which? The pictures are made here."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from lading import Budget, ModelSpec, Quantization, TensorSpec, Variant
from lading.preprocess import Preprocess
from lading.spec import Array, Example

CLASSES = ("background", "disc", "bar")
COUNTS = {"train": 600, "valid": 60, "test": 400}
SIZES = ((64, 64), (64, 96), (96, 64), (80, 120))
"""Height and width of the pictures that the network has not seen, in pixels."""


def block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())


class UNet(nn.Module):
    """float32 (batch, 3, height, width), sides in multiples of 8, to the class of each pixel."""

    def __init__(self) -> None:
        super().__init__()
        widths = (12, 16, 24, 32)
        self.down = nn.ModuleList([block(before, width) for before, width in zip((3, *widths), widths, strict=False)])
        self.up = nn.ModuleList(
            [block(below + beside, beside) for below, beside in zip(widths[:0:-1], widths[-2::-1], strict=True)]
        )
        self.head = nn.Conv2d(widths[0], len(CLASSES), 1)

    def forward(self, photo: torch.Tensor) -> torch.Tensor:
        seen = []
        features = photo
        for depth, layer in enumerate(self.down):
            features = layer(functional.max_pool2d(features, 2) if depth else features)
            seen.append(features)
        for layer, beside in zip(self.up, seen[-2::-1], strict=True):
            larger = functional.interpolate(features, scale_factor=2.0, mode="nearest")
            features = layer(torch.cat([larger, beside], 1))
        scores: torch.Tensor = self.head(features)
        # The loss needs scores, which have a gradient; clients get the classes.
        return scores if self.training else scores.argmax(1).to(torch.uint8)


class Segmentation(ModelSpec):
    """Which pixels show a disc, and which a bar?"""

    name = "segmentation"
    description = "discs and bars, in pictures of any size"
    inputs = (
        TensorSpec(
            name="photo",
            dtype="float32",
            shape=("batch", 3, "height", "width"),
            content="image",
            # The network halves a picture three times.
            preprocess=Preprocess(fit="keep", longest=512, multiple=8, layout="NCHW", scale=1 / 255),
        ),
    )
    outputs = (
        TensorSpec(name="mask", dtype="uint8", shape=("batch", "height", "width"), content="mask", classes=CLASSES),
    )
    variants = (
        Variant(name="fp32", max_score_drop=0.0, required=True),
        Variant(name="int8", quantization=Quantization(method="static"), max_score_drop=0.02),
    )
    budget = Budget(min_score=0.75)
    score_name = "mean IoU"

    def build(self) -> nn.Module:
        return UNet()

    def dataset(self, split: str) -> list[Example]:
        rng = np.random.default_rng(list(COUNTS).index(split))
        # A training batch has one size; later pictures may have any.
        sizes = SIZES[:1] if split == "train" else SIZES
        made = [picture(*sizes[turn % len(sizes)], rng) for turn in range(COUNTS[split])]
        return [({"photo": as_input(pixels)}, {"mask": mask}) for pixels, mask in made]

    def loss(self, outputs: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor]) -> torch.Tensor:
        found, wanted = outputs["mask"], targets["mask"]
        if not found.is_floating_point():
            return (found != wanted).float().mean()
        return functional.cross_entropy(found, wanted.long())

    def score(self, outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
        """Mean IoU of each picture's discs and bars. Masks of smaller pictures are filled up with background."""
        found, wanted = outputs["mask"], targets["mask"]
        overlaps = []
        for place in range(1, len(CLASSES)):
            both, either = (found == place) & (wanted == place), (found == place) | (wanted == place)
            overlaps.append(both.sum(axis=(1, 2)) / np.maximum(1, either.sum(axis=(1, 2))))
        return float(np.mean(overlaps))


def as_input(pixels: Array) -> Array:
    """Pixels, uint8 (height, width, 3), as the preprocessing of the input declares it."""
    return np.ascontiguousarray((pixels * (1 / 255)).astype(np.float32).transpose(2, 0, 1))


def picture(height: int, width: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """A disc and a bar on a rough background: uint8 (height, width, 3), and the class of each pixel (height, width)."""
    rows, columns = np.mgrid[:height, :width]
    pixels = np.full((height, width, 3), rng.uniform(90, 160, 3)) + rng.normal(0, 12, (height, width, 1))
    mask = np.zeros((height, width), np.uint8)
    radius = rng.uniform(8, 14)
    middle = rng.uniform(radius, np.array((height, width)) - radius)
    tall, wide = rng.permutation((rng.uniform(6, 10), rng.uniform(26, 40)))
    top, left = rng.uniform(0, (height - tall, width - wide))
    bar = (rows >= top) & (rows < top + tall) & (columns >= left) & (columns < left + wide)
    disc = (rows - middle[0]) ** 2 + (columns - middle[1]) ** 2 < radius**2
    for place, shape in ((2, bar), (1, disc)):
        mask[shape] = place
        pixels[shape] += rng.choice((-70, 70)) + rng.normal(0, 15, 3)
    return np.clip(pixels, 0, 255).astype(np.uint8), mask
