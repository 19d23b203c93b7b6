"""A tiny segmentation of pictures of any size: the darker and the brighter side of a blurred picture."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from lading.artifact import Artifact
from lading.preprocess import Preprocess
from lading.spec import Array, Evaluated, Example, TensorSpec, Variant
from tests.given.packed_graph import packed_graph

LONGEST, MULTIPLE = 32, 2
SHAPES = ((8, 8), (8, 12), (16, 8), (6, 10))
"""Height and width of the examples."""
PHOTO = TensorSpec(
    name="photo",
    dtype="float32",
    shape=("batch", 3, "height", "width"),
    content="image",
    preprocess=Preprocess(fit="keep", longest=LONGEST, multiple=MULTIPLE, layout="NCHW", scale=1 / 255),
)
SIDES = TensorSpec(
    name="sides", dtype="uint8", shape=("batch", "height", "width"), content="mask", classes=("dark", "bright")
)
LIGHT = TensorSpec(name="light", dtype="float32", shape=("batch", 1))
SEGMENTER = """
    weights = Constant <value = float[1, 3, 1, 1] {0.5, 0.3, 0.2}> ()
    grey = Conv (photo, weights)
    blurred = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (grey)
    scales = Constant <value = float[4] {1.0, 1.0, 2.0, 2.0}> ()
    wide = Resize <mode = "nearest", nearest_mode = "floor", coordinate_transformation_mode = "asymmetric">
        (blurred, , scales)
    half = Constant <value = float {0.5}> () above = Greater (wide, half)
    one = Constant <value = int64[1] {1}> () flat = Squeeze (above, one) sides = Cast <to = 2> (flat)
    places = Constant <value = int64[2] {2, 3}> () light = ReduceMean <keepdims = 0> (grey, places)
"""


class Sides(Evaluated):
    """Which pixels are bright?"""

    name = "sides"
    inputs = (PHOTO,)
    outputs = (SIDES, LIGHT)
    variants = (Variant(name="fp32", max_score_drop=0.0, required=True),)

    def dataset(self, split: str) -> list[Example]:
        rng = np.random.default_rng(len(split))
        examples: list[Example] = []
        for turn in range(60):
            array = as_input(pixels(*SHAPES[turn % len(SHAPES)], rng))
            examples.append(({"photo": array}, {"light": np.asarray(array.mean(), np.float32)}))
        return examples

    def score(self, outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
        return float(1 - np.abs(outputs["light"][:, 0] - targets["light"]).mean())


def sides_artifact(folder: Path) -> Artifact:
    """Verified and packed."""
    return packed_graph(Sides(), (SEGMENTER,), folder)


def pixels(height: int, width: int, rng: np.random.Generator) -> Array:
    """Blocks of two by two pixels of one level: uint8 (height, width, 3)."""
    small = rng.integers(0, 256, (-(-height // 2), -(-width // 2), 3), dtype=np.uint8)
    return np.asarray(small.repeat(2, axis=0).repeat(2, axis=1)[:height, :width])


def as_input(picture: Array) -> Array:
    """Pixels (height, width, 3) as the tensor holds them."""
    return np.ascontiguousarray((picture * (1 / 255)).astype(np.float32).transpose(2, 0, 1))


def png(picture: Array) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    return stream.getvalue()
