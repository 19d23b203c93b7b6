"""What a declared preprocessing makes of a picture, computed a second time, plainly and with Pillow alone.

Nothing here is shared with the server's decoder: the whole picture is decoded, turned and resized at once, whatever
memory that takes. ``lading doctor --decode`` and tests compare the two.
"""

from __future__ import annotations

import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lading.preprocess import Preprocess
from lading.spec import Array, TensorSpec

_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def reference_tensor(data: bytes, spec: TensorSpec) -> Array:
    """One picture as the training pipeline reads it: of the spec's dtype and shape, without the batch dim."""
    how = spec.preprocess or Preprocess()
    size = how.size(spec.shape)
    with Image.open(io.BytesIO(data)) as image:
        upright = ImageOps.exif_transpose(image) if how.exif else image
        rgb = _over_white(upright)
    framed = _framed(rgb, how, *size) if size else _kept(rgb, how)
    if how.colours == "grey":
        pixels = np.asarray(Image.fromarray(framed).convert("L"))[..., None]
    else:
        pixels = framed[..., ::-1] if how.colours == "BGR" else framed
    if spec.dtype != "uint8":
        pixels = (pixels.astype(np.float64) * how.scale - np.array(how.mean)) / np.array(how.std)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1) if how.layout == "NCHW" else pixels, spec.numpy_dtype)


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).astype(np.int64) // 256).clip(0, 255).astype(np.uint8)).convert("RGB")
    if "A" in image.mode or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _framed(rgb: Image.Image, how: Preprocess, height: int, width: int) -> NDArray[np.uint8]:
    columns, rows = rgb.size
    if how.fit == "stretch":
        return _resized(rgb, width, height, how)
    if how.fit == "letterbox":
        ratio = min(width / columns, height / rows)
        small = _resized(rgb, max(1, round(columns * ratio)), max(1, round(rows * ratio)), how)
        framed = np.full((height, width, 3), how.fill, np.uint8)
        top, left = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
        framed[top : top + small.shape[0], left : left + small.shape[1]] = small
        return framed
    if how.resize is None:
        ratio = max(width / columns, height / rows)
        wide, tall = max(width, int(columns * ratio + 1e-9)), max(height, int(rows * ratio + 1e-9))
    else:  # as torchvision.transforms.Resize
        short = min(columns, rows)
        wide, tall = (how.resize if size == short else int(how.resize * size / short) for size in (columns, rows))
    resized = _resized(rgb, wide, tall, how)
    top, left = round((tall - height) / 2.0), round((wide - width) / 2.0)  # as torchvision.transforms.CenterCrop
    return resized[top : top + height, left : left + width]


def _kept(rgb: Image.Image, how: Preprocess) -> NDArray[np.uint8]:
    """In its own proportions, with margins on the right and at the bottom."""
    wide, tall = rgb.size
    if how.shortest is not None:  # as torchvision.transforms.v2.Resize(shortest, max_size=longest)
        short, long = min(rgb.size), max(rgb.size)
        larger = int(how.shortest * long / short)
        small, large = (how.shortest, larger)
        if larger > how.longest:
            small, large = int(how.longest * short / long), how.longest
        wide, tall = (max(1, small if size == short else large) for size in rgb.size)
    seen = _resized(rgb, wide, tall, how)
    height, width = (math.ceil(side / how.multiple) * how.multiple for side in (tall, wide))
    framed = np.full((height, width, 3), how.fill, np.uint8)
    framed[:tall, :wide] = seen
    return framed


def _resized(rgb: Image.Image, width: int, height: int, how: Preprocess) -> NDArray[np.uint8]:
    if how.antialias:
        # Columns first, as Pillow did up to version 12. Later ones choose the order, and a sharp filter clips between.
        narrow = rgb.resize((width, rgb.height), _FILTERS[how.interpolation])
        return np.asarray(narrow.resize((width, height), _FILTERS[how.interpolation]))
    if how.interpolation == "nearest":
        lines, columns = (
            [(2 * place + 1) * old // (2 * size) for place in range(size)]
            for old, size in ((rgb.height, height), (rgb.width, width))
        )
        return np.asarray(rgb)[lines][:, columns]
    pixels = np.asarray(rgb).astype(np.float64)
    for axis, size in ((0, height), (1, width)):
        pixels = _taken(pixels, axis, size, cubic=how.interpolation == "bicubic")
    return np.rint(pixels).clip(0, 255).astype(np.uint8)


def _taken(pixels: NDArray[np.float64], axis: int, size: int, *, cubic: bool) -> NDArray[np.float64]:
    """Interpolate along one axis without a wider filter, as torch does with ``align_corners=False``."""
    old = pixels.shape[axis]
    weights = np.zeros((size, old))
    for place in range(size):
        middle = (place + 0.5) * old / size - 0.5
        for tap in range(math.floor(middle) - 1, math.floor(middle) + 3):
            far = abs(middle - tap)
            if not cubic:
                weight = max(0.0, 1 - far)
            elif far <= 1:
                weight = 1.25 * far**3 - 2.25 * far**2 + 1
            else:
                weight = -0.75 * (far**3 - 5 * far**2 + 8 * far - 4) if far < 2 else 0.0
            weights[place, min(max(tap, 0), old - 1)] += weight
    return np.moveaxis(np.tensordot(weights, pixels, (1, axis)), 0, axis)
