"""Bytes of a picture to a uint8 tensor: the one function that training and serving share.

The whole picture is stretched to the model's height and width without keeping its aspect, so that no part of it is cut
off. Large JPEGs are decoded at a reduced scale first (the smallest that is still at least twice the target), then
resized with an antialiased bilinear filter. EXIF rotation is honoured, and transparency is laid over white.
"""

from __future__ import annotations

import io

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from lading.errors import BodyTooLargeError, PictureError, RequestError

MAX_PIXELS = 50_000_000
FORMATS = ("JPEG", "PNG", "WEBP")
_JPEG = b"\xff\xd8\xff"
_ORIENTED = (b"Exif\0\0", b"http://ns.adobe.com/xap")
"""EXIF and XMP: a JPEG without either has no orientation, and its header needs no second parser."""
_EXIF_ORIENTATION = 0x0112
# Pillow's own limit would answer before ours does, with another error; ours is checked before any pixel is decoded.
Image.MAX_IMAGE_PIXELS = None


def decode_image(data: bytes, *, height: int, width: int, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode a JPEG, PNG or WebP file into RGB pixels.

    Args:
        data: the encoded file.
        height: rows of the result.
        width: columns of the result.
        max_pixels: refuse a picture that claims more pixels than this, before any of them is decoded.

    Returns:
        uint8 of shape (height, width, 3).

    Raises:
        RequestError: not a picture, an unread format, or a torn file.
        BodyTooLargeError: more than ``max_pixels`` pixels.
    """
    if not data:
        raise PictureError("the picture is empty: send the bytes of a JPEG, PNG or WebP file")
    try:
        if data.startswith(_JPEG) and not any(mark in data for mark in _ORIENTED):
            rows, columns, colorspace, _ = simplejpeg.decode_jpeg_header(data, strict=True)
            if colorspace in ("YCbCr", "RGB"):
                _refuse_large(columns, rows, max_pixels)
                return _resize(Image.fromarray(_decode_jpeg(data, height, width)), height, width)
        # Pillow reads only the header here, so that size and orientation are known before pixels are touched.
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _refuse_large(*image.size, max_pixels)
            orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
            if image.format == "JPEG" and image.mode == "RGB" and orientation == 1:
                return _resize(Image.fromarray(_decode_jpeg(data, height, width)), height, width)
            return _resize(_to_rgb(image, height, width), height, width)
    except RequestError:
        raise
    except UnidentifiedImageError:
        raise PictureError("this is not a picture that can be read: send a JPEG, PNG or WebP file") from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise PictureError(f"the picture cannot be decoded: {error}") from None


def _refuse_large(columns: int, rows: int, max_pixels: int) -> None:
    pixels = columns * rows
    if pixels > max_pixels:
        raise BodyTooLargeError(
            f"the picture has {columns} x {rows} = {pixels} pixels; at most {max_pixels} are accepted"
        )


def _decode_jpeg(data: bytes, height: int, width: int) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
        data, colorspace="RGB", min_height=2 * height, min_width=2 * width, min_factor=1, strict=True
    )
    return pixels


def _to_rgb(image: Image.Image, height: int, width: int) -> Image.Image:
    image.draft("RGB", (2 * width, 2 * height))
    image.load()
    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
        layer = upright.convert("RGBA")
        paper = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(paper, layer).convert("RGB")
    if upright.mode in ("I;16", "I;16B", "I;16L", "I"):
        # Pillow clips 16-bit greys instead of scaling them.
        return Image.fromarray((np.asarray(upright).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)).convert(
            "RGB"
        )
    return upright.convert("RGB")


def _resize(image: Image.Image, height: int, width: int) -> NDArray[np.uint8]:
    if image.size == (width, height):
        return np.asarray(image)
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0))
