"""Discs and squares in a photo: where are they? The photos are made here, and the graph removes double boxes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torchvision
from torch import nn
from torch.nn import functional

from lading import Budget, ModelSpec, Quantization, TensorSpec, Variant
from lading.answers.boxes import overlaps
from lading.preprocess import Preprocess
from lading.spec import Array, Example

CLASSES = ("disc", "square")
COUNTS = {"train": 1500, "valid": 200, "test": 600}
SIDE, STRIDE = 96, 8
CELLS = SIDE // STRIDE
MOST = 8
"""Boxes of an answer; those that are not needed are zeros."""
MOST_THINGS = 3
OVERLAP, LEAST_SCORE = 0.5, 0.2


class Detector(nn.Module):
    """float32 (batch, 3, 96, 96) to boxes (batch, 8, 6): left, top, right, bottom, score, class.

    Each cell of 8 x 8 pixels says how likely the middle of a thing is in it, which thing, and how far its edges are.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, width, step in ((3, 16, 2), (16, 24, 2), (24, 48, 2), (48, 48, 1), (48, 48, 1)):
            layers += [nn.Conv2d(before, width, 3, step, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.head = nn.Conv2d(48, len(CLASSES) + 4, 1)
        middles = (torch.arange(CELLS) + 0.5) / CELLS
        grid = torch.stack([middles.repeat(CELLS), middles.repeat_interleave(CELLS)], 1)
        self.middles: torch.Tensor
        self.register_buffer("middles", grid, persistent=False)

    def forward(self, photo: torch.Tensor) -> torch.Tensor:
        cells: torch.Tensor = self.head(self.features(photo)).flatten(2).transpose(1, 2)
        if self.training:
            return cells  # the loss compares cells, which have a gradient
        scores, kinds = cells[..., : len(CLASSES)].sigmoid().max(2)
        return without_doubles(boxes_of(cells, self.middles), scores, kinds)


def boxes_of(cells: torch.Tensor, middles: torch.Tensor) -> torch.Tensor:
    """Edges as shares of the frame: (batch, cells, 4)."""
    reach = functional.softplus(cells[..., len(CLASSES) :])
    return torch.cat([middles - reach[..., :2] / 4, middles + reach[..., 2:] / 4], 2).clamp(0, 1)


def without_doubles(boxes: torch.Tensor, scores: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
    """The best boxes that do not overlap others of their class, and zeros: (batch, 8, 6)."""
    batch, count = scores.shape
    # Boxes of another photo or class are moved where they overlap nothing.
    apart = 2.0 * (torch.arange(batch)[:, None] * len(CLASSES) + kinds)
    kept = torchvision.ops.nms((boxes + apart[..., None]).flatten(0, 1), scores.flatten(), OVERLAP)
    alone = torch.zeros(batch * count).index_fill(0, kept, 1.0).reshape(batch, count)
    best, places = (scores * alone * (scores >= LEAST_SCORE)).topk(MOST, 1)
    found = torch.gather(boxes, 1, places[..., None].expand(-1, -1, 4))
    kind = torch.gather(kinds, 1, places).to(torch.float32)
    return torch.cat([found, best[..., None], kind[..., None]], 2) * (best > 0)[..., None]


class Detection(ModelSpec):
    """Where are the discs and squares?"""

    name = "detection"
    description = "up to three discs and squares in a photo"
    inputs = (
        TensorSpec(
            name="photo",
            dtype="float32",
            shape=("batch", 3, SIDE, SIDE),
            content="image",
            preprocess=Preprocess(fit="letterbox", fill=(114, 114, 114), layout="NCHW", scale=1 / 255),
        ),
    )
    outputs = (TensorSpec(name="boxes", dtype="float32", shape=("batch", MOST, 6), content="boxes", classes=CLASSES),)
    variants = (
        Variant(name="fp32", max_score_drop=0.0, required=True),
        Variant(name="int8", quantization=Quantization(method="static"), max_score_drop=0.03),
    )
    budget = Budget(min_score=0.7)
    score_name = "F1 at IoU 0.5"

    def build(self) -> nn.Module:
        return Detector()

    def dataset(self, split: str) -> list[Example]:
        rng = np.random.default_rng(list(COUNTS).index(split))
        made = [scene(SIDE, SIDE, rng) for _ in range(COUNTS[split])]
        return [({"photo": as_input(pixels)}, {"boxes": boxes}) for pixels, boxes in made]

    def loss(self, outputs: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor]) -> torch.Tensor:
        cells, boxes = outputs["boxes"], targets["boxes"]
        if cells.shape[1] == MOST:  # in evaluation, the answer itself
            return (cells[..., 4].gt(0).sum(1) - boxes[..., 4].sum(1)).abs().float().mean()
        middles = (torch.arange(CELLS, device=cells.device) + 0.5) / CELLS
        grid = torch.stack([middles.repeat(CELLS), middles.repeat_interleave(CELLS)], 1)
        centre = (boxes[..., :2] + boxes[..., 2:4]) / 2
        cell = (centre * CELLS).long().clamp(0, CELLS - 1)
        place = cell[..., 1] * CELLS + cell[..., 0]  # (batch, things)
        there = boxes[..., 4] > 0
        wanted = torch.zeros_like(cells[..., : len(CLASSES)])
        picture, thing = there.nonzero(as_tuple=True)
        wanted[picture, place[picture, thing], boxes[picture, thing, 5].long()] = 1.0
        scores = cells[..., : len(CLASSES)]
        right = torch.where(wanted > 0, scores.sigmoid(), 1 - scores.sigmoid())
        # Most cells are empty, so what is easily right counts little (focal loss, arXiv:1708.02002).
        empty = (-((1 - right) ** 2) * right.clamp_min(1e-6).log()).sum() / there.sum().clamp_min(1)
        found = boxes_of(cells, grid)[picture, place[picture, thing]]
        apart = torchvision.ops.generalized_box_iou_loss(found, boxes[picture, thing, :4], reduction="mean")
        loss: torch.Tensor = empty + apart
        return loss

    def score(self, outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
        """Right boxes of all boxes: found with their class and an IoU of at least 0.5."""
        right = every = 0
        for answered, given in zip(outputs["boxes"], targets["boxes"], strict=True):
            found, wanted = answered[answered[:, 4] > 0], given[given[:, 4] > 0]
            every += len(found) + len(wanted)
            same = found[:, None, 5] == wanted[None, :, 5]
            right += int(((overlaps(found, wanted) >= 0.5) & same).any(axis=0).sum())
        return 2 * right / max(1, every)


def as_input(pixels: Array) -> Array:
    """Pixels, uint8 (height, width, 3), as the preprocessing of the input declares it."""
    return np.ascontiguousarray((pixels * (1 / 255)).astype(np.float32).transpose(2, 0, 1))


def scene(height: int, width: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Things on a rough background: uint8 (height, width, 3), and float32 (3, 6), the boxes in shares of the photo."""
    rows, columns = np.mgrid[:height, :width]
    pixels = np.full((height, width, 3), rng.uniform(90, 160, 3)) + rng.normal(0, 10, (height, width, 1))
    boxes = np.zeros((MOST_THINGS, 6), np.float32)
    for _ in range(rng.integers(1, MOST_THINGS + 1)):
        radius = rng.uniform(0.08, 0.18) * min(height, width)
        down, across = rng.uniform(radius, height - radius), rng.uniform(radius, width - radius)
        edges = (
            (across - radius) / width,
            (down - radius) / height,
            (across + radius) / width,
            (down + radius) / height,
        )
        taken = boxes[boxes[:, 4] > 0]
        if len(taken) and overlaps(np.array([edges]), taken).max() > 0:
            continue  # things do not hide each other
        kind = int(rng.integers(len(CLASSES)))
        far = (rows - down) ** 2 + (columns - across) ** 2 if kind == 0 else None
        inside = (
            far < radius**2 if far is not None else np.maximum(np.abs(rows - down), np.abs(columns - across)) < radius
        )
        pixels[inside] += rng.choice((-70, 70)) + rng.normal(0, 15, 3)
        boxes[len(taken)] = (*edges, 1.0, kind)
    return np.clip(pixels, 0, 255).astype(np.uint8), boxes
