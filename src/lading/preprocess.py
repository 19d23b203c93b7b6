"""How a picture becomes a tensor: declared in ``TensorSpec.preprocess``, used by training and by servers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, model_validator

Layout = Literal["NHWC", "NCHW"]
LEVELS = 255
"""The highest level of a pixel."""
LONGEST = 1333
"""Most pixels of a side where a declaration does not say: those of torchvision's and Detectron's detectors."""
LONGEST_OF_ALL = 16_384


class Preprocess(BaseModel, frozen=True, extra="forbid"):
    """How a decoded picture becomes the tensor of a model. The defaults are those of a tensor that declares nothing.

    The steps, in this order: turn it upright, lay transparency over white, resize it as ``fit`` says, round to whole
    levels from 0 to 255, choose ``colours``, and compute ``(level * scale - mean) / std``.
    """

    fit: Literal["stretch", "crop", "letterbox", "keep"] = "stretch"
    """``stretch`` to the tensor's height and width; ``crop`` the centre after the short side is ``resize``; or shrink
    it to fit and fill the rest with ``fill`` (``letterbox``). ``keep`` its proportions, for a tensor whose height and
    width have names instead of sizes."""
    resize: int | None = None
    """Pixels of the short side before the centre is cropped; default: as few as cover the tensor."""
    shortest: int | None = None
    """With ``keep``: pixels of the short side, or fewer where the long one would have more than ``longest``. Default:
    the picture keeps its size, and is refused if a side is longer than ``longest``."""
    longest: int = LONGEST
    """With ``keep``: most pixels of a side. It bounds the memory and the time that a request can take."""
    multiple: int = 1
    """With ``keep``: height and width become multiples of this by margins on the right and at the bottom."""
    fill: tuple[int, int, int] = (0, 0, 0)
    """RGB of the margins of a letterbox or of ``multiple``, 0 to 255."""
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
        if any(self.fill) and self.fit != "letterbox" and self.multiple == 1:
            raise ValueError(f"fill={self.fill} has no effect with fit={self.fit!r}: only a letterbox has margins")
        self._check_kept()
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

    def _check_kept(self) -> None:
        if self.fit != "keep" and (self.shortest, self.longest, self.multiple) != (None, LONGEST, 1):
            raise ValueError(f"shortest, longest and multiple are for fit='keep', and fit is {self.fit!r}")
        if not 1 <= self.longest <= LONGEST_OF_ALL or not 1 <= self.multiple <= self.longest:
            raise ValueError(
                f"longest={self.longest} is from 1 to {LONGEST_OF_ALL}, and multiple={self.multiple} from 1 to longest"
            )
        if self.shortest is not None and not 1 <= self.shortest <= self.longest:
            raise ValueError(f"shortest={self.shortest} is from 1 to longest={self.longest}")

    @property
    def kept(self) -> bool:
        """Whether height and width of the tensor follow from the picture."""
        return self.fit == "keep"

    @property
    def most(self) -> tuple[int, int]:
        """With ``keep``: most pixels of a tensor's long and of its short side, margins included."""
        return self._rounded(self.longest), self._rounded(self.shortest or self.longest)

    @property
    def most_pixels(self) -> int:
        """With ``keep``: most pixels of one tensor. A run never has more, however many pictures share it."""
        long, short = self.most
        return long * short

    @property
    def bound(self) -> str:
        """With ``keep``: how large pictures and tensors may be, in words."""
        long, short = self.most
        steps = f", in multiples of {self.multiple}" if self.multiple > 1 else ""
        if self.shortest is None:
            return f"at most {self.longest} pixels on a side{steps}"
        return f"of any size, resized to at most {long} x {short} pixels{steps}"

    def _rounded(self, side: int) -> int:
        return -(-side // self.multiple) * self.multiple

    def resized(self, columns: int, rows: int) -> tuple[int, int]:
        """With ``keep``: columns and rows of an upright picture of this size in the tensor, without margins.

        Raises:
            ValueError: it is too large; the clause says how large it may be.
        """
        short, long = sorted((columns, rows))
        if self.shortest is None:
            if long > self.longest:
                raise ValueError(f"at most {self.longest} on a side are accepted")
            return columns, rows
        # Whole numbers, as torchvision.transforms.v2.Resize(shortest, max_size=longest) has.
        wide = self.shortest * long // short
        narrow, wide = (self.shortest, wide) if wide <= self.longest else (self.longest * short // long, self.longest)
        narrow = max(1, narrow)
        return (narrow, wide) if columns <= rows else (wide, narrow)

    def framed(self, columns: int, rows: int) -> tuple[int, int]:
        """With ``keep``: height and width of the tensor of an upright picture of this size.

        Raises:
            ValueError: it is too large.
        """
        columns, rows = self.resized(columns, rows)
        return self._rounded(rows), self._rounded(columns)

    def sizes(self, height: int, width: int) -> str | None:
        """With ``keep``: why a tensor cannot have this height and width, as a clause; ``None``: it can."""
        long, short = self.most
        if max(height, width) > long or min(height, width) > short:
            of = f"{long} on the long side and {short} on the short one" if short < long else f"{long} on a side"
            return f"at most {of} are accepted"
        if height % self.multiple or width % self.multiple:
            return f"height and width must be multiples of {self.multiple}"
        return None

    def axes(self) -> tuple[int, int]:
        """Where height and width are in the shape, batch dim included."""
        return (1, 2) if self.layout == "NHWC" else (2, 3)

    @property
    def channels(self) -> int:
        return 1 if self.colours == "grey" else 3

    @property
    def normalises(self) -> bool:
        """Whether levels become other numbers."""
        return self.scale != 1 or any(self.mean) or any(value != 1 for value in self.std)

    def size(self, shape: tuple[int | str, ...]) -> tuple[int, int] | None:
        """Height and width of a tensor of this shape, batch dim included; ``None`` where they follow from the picture.

        Raises:
            ValueError: they contradict ``fit``, or it has other channels or another number of dims.
        """
        (height, width), channels = self.axes(), 3 if self.layout == "NHWC" else 1
        wanted = "(batch, height, width, {})" if self.layout == "NHWC" else "(batch, {}, height, width)"
        if len(shape) != 4 or shape[channels] != self.channels:
            raise ValueError(f"{self.layout} in {self.colours} has shape {wanted.format(self.channels)}, not {shape}")
        rows, columns = shape[height], shape[width]
        if isinstance(rows, int) and isinstance(columns, int):
            if self.kept:
                raise ValueError(f"fit='keep' needs names for height and width, such as 'height', not {shape}")
            return rows, columns
        if not self.kept:
            raise ValueError(
                f"an image needs a fixed height and width, not {shape}; pictures of any size need "
                "preprocess=Preprocess(fit='keep', longest=...)"
            )
        if not (isinstance(rows, str) and isinstance(columns, str)) or rows == columns:
            raise ValueError(f"fit='keep' needs two names for height and width, not {shape}")
        return None

    def __str__(self) -> str:
        """In the words of ``lading pack --image``: ``crop,resize=256,bilinear,antialias,RGB``."""
        words = [self.fit, *([f"resize={self.resize}"] if self.resize else [])]
        words += [f"shortest={self.shortest}"] if self.shortest else []
        words += [f"longest={self.longest}"] if self.kept else []
        words += [f"multiple={self.multiple}"] if self.multiple > 1 else []
        words += [f"fill={_numbers(self.fill)}"] if self.fit == "letterbox" or self.multiple > 1 else []
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
