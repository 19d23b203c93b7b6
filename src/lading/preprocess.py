"""How a picture becomes a tensor: declared in ``TensorSpec.preprocess``, used by training and by servers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, model_validator

Layout = Literal["NHWC", "NCHW"]
LEVELS = 255
"""The highest level of a pixel."""


class Preprocess(BaseModel, frozen=True, extra="forbid"):
    """How a decoded picture becomes the tensor of a model. The defaults are those of a tensor that declares nothing.

    The steps, in this order: turn it upright, lay transparency over white, resize it as ``fit`` says, round to whole
    levels from 0 to 255, choose ``colours``, and compute ``(level * scale - mean) / std``.
    """

    fit: Literal["stretch", "crop", "letterbox"] = "stretch"
    """``stretch`` to the tensor's height and width; ``crop`` the centre after the short side is ``resize``; or shrink
    it to fit and fill the rest with ``fill`` (``letterbox``)."""
    resize: int | None = None
    """Pixels of the short side before the centre is cropped; default: as few as cover the tensor."""
    fill: tuple[int, int, int] = (0, 0, 0)
    """RGB of a letterbox's margins, 0 to 255."""
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"
    antialias: bool = True
    """Widen the filter when a picture shrinks, as Pillow does and as ``antialias=True`` does in torchvision. Without
    it, as in OpenCV, a pixel of the tensor is made of the nearest 1 (nearest), 4 or 16 (bicubic) pixels."""
    reduced: bool = True
    """Large pictures are first reduced to a size of at least twice the result: JPEGs while they are decoded, others by
    averages. It takes a fraction of the time and memory. ``False`` resizes the whole picture, as most training does."""
    colours: Literal["RGB", "BGR", "grey"] = "RGB"
    """Channels of the tensor. ``grey`` is the luma of ITU-R BT.601, in one channel."""
    exif: bool = True
    """Turn a photo upright as its EXIF or XMP says."""
    layout: Layout = "NHWC"
    scale: float = 1.0
    """Factor of the levels, such as 1/255."""
    mean: tuple[float, ...] = (0.0,)
    """Subtracted after ``scale``: one number, or one a channel in the order of the tensor."""
    std: tuple[float, ...] = (1.0,)
    """Divided by at last: one number, or one a channel."""

    @model_validator(mode="after")
    def _consistent(self) -> Preprocess:
        if self.resize is not None and (self.fit != "crop" or self.resize < 1):
            raise ValueError(f"resize={self.resize} is the short side in pixels before a crop, and fit is {self.fit!r}")
        if not all(0 <= level <= LEVELS for level in self.fill):
            raise ValueError(f"fill={self.fill} is a colour: red, green and blue from 0 to {LEVELS}")
        if any(self.fill) and self.fit != "letterbox":
            raise ValueError(f"fill={self.fill} has no effect with fit={self.fit!r}: only a letterbox has margins")
        if self.interpolation == "nearest" and self.antialias:
            raise ValueError("interpolation='nearest' takes single pixels: set antialias=False")
        if self.interpolation == "lanczos" and not self.antialias:
            raise ValueError("interpolation='lanczos' is always antialiased: leave antialias out")
        if self.reduced and not self.antialias:
            raise ValueError("antialias=False takes single pixels, and a reduced picture has others: set reduced=False")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in {1, self.channels} or not all(map(math.isfinite, values)):
                raise ValueError(f"{name}={values} needs 1 number, or {self.channels}: one for each channel")
        if not all(value > 0 for value in self.std) or not math.isfinite(self.scale) or self.scale == 0:
            raise ValueError(f"scale={self.scale:g} and std={self.std}: the scale is not 0, and the std above 0")
        return self

    @property
    def channels(self) -> int:
        return 1 if self.colours == "grey" else 3

    @property
    def normalises(self) -> bool:
        """Whether levels become other numbers."""
        return self.scale != 1 or any(self.mean) or any(value != 1 for value in self.std)

    def size(self, shape: tuple[int | str, ...]) -> tuple[int, int]:
        """Height and width of a tensor of this shape, batch dim included.

        Raises:
            ValueError: they are not fixed, or it has other channels or another number of dims.
        """
        height, width, channels = (1, 2, 3) if self.layout == "NHWC" else (2, 3, 1)
        wanted = "(batch, height, width, {})" if self.layout == "NHWC" else "(batch, {}, height, width)"
        if len(shape) != 4 or shape[channels] != self.channels:
            raise ValueError(f"{self.layout} in {self.colours} has shape {wanted.format(self.channels)}, not {shape}")
        rows, columns = shape[height], shape[width]
        if not (isinstance(rows, int) and isinstance(columns, int)):
            raise ValueError(f"an image needs a fixed height and width, not {shape}")
        return rows, columns

    def __str__(self) -> str:
        """In the words of ``lading pack --image``: ``crop,resize=256,bilinear,antialias,RGB``."""
        words = [self.fit, *([f"resize={self.resize}"] if self.resize else [])]
        words += [f"fill={_numbers(self.fill)}"] if self.fit == "letterbox" else []
        words += [self.interpolation, f"antialias={_yes(self.antialias)}", f"reduced={_yes(self.reduced)}"]
        words += [self.colours, f"exif={_yes(self.exif)}", self.layout]
        if self.normalises:
            words += [f"scale={self.scale:.10g}", f"mean={_numbers(self.mean)}", f"std={_numbers(self.std)}"]
        return ",".join(words)


DEFAULT = Preprocess()
"""What a tensor with pictures and without ``preprocess`` does."""


def preset(name: str, side: int) -> dict[str, Any]:
    """Fields of :class:`Preprocess` that networks of a family were trained with.

    Args:
        name: one of :data:`PRESETS`.
        side: the longer of the tensor's height and width, in pixels.
    """
    fields = dict(PRESETS[name])
    return fields | {"resize": round(side / fields["resize"])} if "resize" in fields else fields


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "imagenet": {
        "fit": "crop",
        "resize": 0.875,
        "reduced": False,
        "scale": 1 / LEVELS,
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
    },
    "clip": {
        "fit": "crop",
        "interpolation": "bicubic",
        "reduced": False,
        "scale": 1 / LEVELS,
        "mean": (0.48145466, 0.4578275, 0.40821073),
        "std": (0.26862954, 0.26130258, 0.27577711),
    },
    "inception": {"fit": "crop", "resize": 0.875, "reduced": False, "scale": 2 / LEVELS, "mean": (1.0,)},
    "yolo": {
        "fit": "letterbox",
        "fill": (114, 114, 114),
        "antialias": False,
        "reduced": False,
        "scale": 1 / LEVELS,
    },
}
"""Fields by the name of a family. ``resize`` is the share of the short side that the crop keeps."""


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _numbers(values: tuple[float, ...]) -> str:
    return ":".join(f"{value:.10g}" for value in values)
