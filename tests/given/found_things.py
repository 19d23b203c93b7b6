"""A tiny detector with NonMaxSuppression in the graph, and a tiny segmentation by one convolution."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lading.spec import Array, Evaluated, Example, Quantization, TensorSpec, Variant

SIDE, MOST = 4, 5
RED_OR_BLUE = ("red", "blue")
PHOTO = TensorSpec(name="photo", dtype="uint8", shape=("batch", SIDE, SIDE, 3), content="image")
BOXES = TensorSpec(name="things", dtype="float32", shape=("batch", MOST, 6), content="boxes", classes=RED_OR_BLUE)
MASK = TensorSpec(
    name="ground", dtype="uint8", shape=("batch", SIDE, SIDE), content="mask", classes=("dark", "red", "blue")
)
FP32 = Variant(name="fp32", max_score_drop=0.0, required=True)


def _anchors() -> str:
    """Each pixel is the middle of a box of three by three."""
    rows = []
    for y in range(SIDE):
        for x in range(SIDE):
            rows += [max(0, x - 1) / SIDE, max(0, y - 1) / SIDE, min(SIDE, x + 2) / SIDE, min(SIDE, y + 2) / SIDE]
    return ", ".join(f"{number:.4f}" for number in rows)


DETECTOR = f"""
    anchors = Constant <value = float[16, 4] {{{_anchors()}}}> ()
    high = Constant <value = float {{255.0}}> () pixels = Cast <to = 1> (photo) light = Div (pixels, high)
    flat_shape = Constant <value = int64[3] {{0, 16, 3}}> () flat = Reshape (light, flat_shape)
    channel = Constant <value = int64[1] {{2}}> () scores = ReduceMax <keepdims = 0> (flat, channel)
    middle = Constant <value = int64[1] {{1}}> () for_nms = Unsqueeze (scores, middle)
    front = Constant <value = int64[1] {{0}}> () one_set = Unsqueeze (anchors, front)
    size = Shape (photo) batch = Slice (size, front, middle) rest = Constant <value = int64[2] {{16, 4}}> ()
    many = Concat <axis = 0> (batch, rest) all_sets = Expand (one_set, many)
    most = Constant <value = int64 {{5}}> () overlap = Constant <value = float {{0.3}}> ()
    sure = Constant <value = float {{0.3}}> ()
    chosen = NonMaxSuppression (all_sets, for_nms, most, overlap, sure)
    columns = Constant <value = int64[2] {{0, 2}}> () places = Gather <axis = 1> (chosen, columns)
    zero = Constant <value = float {{0.0}}> () zeros = Mul (scores, zero)
    count = Shape (places) number = Slice (count, front, middle)
    ones = ConstantOfShape <value = float[1] {{1.0}}> (number)
    kept = ScatterND (zeros, places, ones) masked = Mul (scores, kept)
    k = Constant <value = int64[1] {{5}}> () best, index = TopK (masked, k)
    corners = Gather <axis = 0> (anchors, index)
    first = Constant <value = int64 {{0}}> () third = Constant <value = int64 {{2}}> ()
    red = Gather <axis = 2> (flat, first) blue = Gather <axis = 2> (flat, third)
    bluer = Less (red, blue) of_all = Cast <to = 1> (bluer) of = GatherElements <axis = 1> (of_all, index)
    best_column = Unsqueeze (best, channel) of_column = Unsqueeze (of, channel)
    all_boxes = Concat <axis = 2> (corners, best_column, of_column)
    there = Greater (best_column, zero) there_float = Cast <to = 1> (there)
    things = Mul (all_boxes, there_float)
"""
"""Scores are the brightest channel. What is not kept gets a score of 0, and TopK pads to five boxes a picture."""
SEGMENTER = """
    pixels = Cast <to = 1> (photo) channels = Transpose <perm = [0, 3, 1, 2]> (pixels)
    weights = Constant <value = float[3, 3, 1, 1] {0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0}> ()
    bias = Constant <value = float[3] {60.0, 0.0, 0.0}> ()
    scores = Conv (channels, weights, bias) best = ArgMax <axis = 1, keepdims = 0> (scores)
    ground = Cast <to = 2> (best)
"""


def pictures(seed: int, count: int) -> Array:
    """Dark pictures with up to three red or blue pixels: uint8 (count, 4, 4, 3)."""
    rng = np.random.default_rng(seed)
    made = rng.integers(0, 40, (count, SIDE, SIDE, 3), dtype=np.uint8)
    for picture in made:
        for _ in range(rng.integers(0, 4)):
            picture[rng.integers(SIDE), rng.integers(SIDE), rng.choice([0, 2])] = rng.integers(120, 256)
    return made


def ground(photo: Array) -> Array:
    """The mask of pictures (batch, 4, 4, 3)."""
    scores = np.stack([np.full(photo.shape[:3], 60), photo[..., 0], photo[..., 2]])
    return np.asarray(scores.argmax(axis=0).astype(np.uint8))


class Things(Evaluated):
    """Where is something bright, and is it red or blue?"""

    name = "things"
    inputs = (PHOTO,)
    outputs = (BOXES,)
    variants = (FP32, Variant(name="coarse", quantization=Quantization(method="dynamic"), max_score_drop=1.0))

    def dataset(self, split: str) -> list[Example]:
        photos = pictures(len(split), 120)
        return [({"photo": photo}, {"things": np.asarray(photo.max() > 0.3 * 255)}) for photo in photos]

    def score(self, outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
        found = (outputs["things"][..., 4] > 0).any(axis=1)
        return float((found == targets["things"]).mean())


class Ground(Evaluated):
    """Is each pixel dark, red or blue?"""

    name = "ground"
    inputs = (PHOTO,)
    outputs = (MASK,)
    variants = (FP32,)

    def dataset(self, split: str) -> list[Example]:
        photos = pictures(len(split), 120)
        return [({"photo": photo}, {"ground": mask}) for photo, mask in zip(photos, ground(photos), strict=True)]

    def score(self, outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
        return float((outputs["ground"] == targets["ground"]).mean())
