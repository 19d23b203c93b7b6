"""Bytes of a picture to a uint8 tensor: the one function that training and serving share.

The whole picture is stretched to the model's height and width without keeping its aspect, so that no part of it is cut
off. Large JPEGs are decoded at a reduced scale first (the smallest that is still at least twice the target). What is
still more than twice too large is reduced by a whole number, and the rest is resized with an antialiased bilinear
filter. EXIF rotation is honoured, and transparency is laid over white.
"""

from __future__ import annotations

import io
import threading

import numpy as np
import simplejpeg
from cykooz_resizer import CropBox, FilterType, ImageData, PixelType, ResizeAlg, ResizeOptions, Resizer
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from lading.errors import BodyTooLargeError, PictureError, RequestError
from lading.spec import MAX_PIXELS, TensorSpec

FORMATS = ("JPEG", "PNG", "WEBP")
_JPEG = b"\xff\xd8\xff"
_ORIENTED = (b"Exif\0\0", b"http://ns.adobe.com/xap")
"""How EXIF and XMP begin: a JPEG without either has no orientation, and its header needs no second parser."""
_MARKER, _APP1, _START_OF_SCAN = b"\xff", b"\xe1", b"\xda"
_EXIF_ORIENTATION = 0x0112
# Pillow's own limit would answer before ours does, with another error; ours is checked before any pixel is decoded.
Image.MAX_IMAGE_PIXELS = None
_BILINEAR = ResizeAlg.convolution(FilterType.bilinear)
_WHOLE = ResizeOptions(resize_alg=_BILINEAR, use_alpha=False)
_GAP = 2  # reducing by whole numbers leaves at least so many times the target, so that the filter decides what is seen


class _OfThread(threading.local):
    """A resizer keeps its buffers, and is not to be used by two threads at once."""

    def __init__(self) -> None:
        self.resizer = Resizer()


_own = _OfThread()


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
        if data.startswith(_JPEG) and not _may_be_turned(data):
            rows, columns, colorspace, _ = simplejpeg.decode_jpeg_header(data, strict=True)
            if colorspace in ("YCbCr", "RGB"):
                _refuse_large(columns, rows, max_pixels)
                return _resize(_decode_jpeg(data, height, width), height, width)
        # Pillow reads only the header here, so that size and orientation are known before pixels are touched.
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _refuse_large(*image.size, max_pixels)
            orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
            if image.format == "JPEG" and image.mode == "RGB" and orientation == 1:
                return _resize(_decode_jpeg(data, height, width), height, width)
            return _resize(np.asarray(_to_rgb(image, height, width)), height, width)
    except RequestError:
        raise
    except UnidentifiedImageError:
        raise PictureError("this is not a picture that can be read: send a JPEG, PNG or WebP file") from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise PictureError(f"the picture cannot be decoded: {error}") from None


def _may_be_turned(data: bytes) -> bool:
    """Whether a JPEG has EXIF or XMP before its pixels, or is built in a way that is left to Pillow to judge."""
    at = len(_JPEG) - 1
    while data[at : at + 1] == _MARKER:
        kind = data[at + 1 : at + 2]
        if kind == _START_OF_SCAN:
            return False
        if kind == _APP1 and data.startswith(_ORIENTED, at + 4):
            return True
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return True


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


def _resize(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    rows, columns = pixels.shape[:2]
    options = _WHOLE
    factors = max(1, columns // (_GAP * width)), max(1, rows // (_GAP * height))
    if factors != (1, 1):
        # The last pixel of a reduced row or column may stand for less than the others.
        box = CropBox(0, 0, columns / factors[0], rows / factors[1])
        options = ResizeOptions(resize_alg=_BILINEAR, use_alpha=False, crop_box=box)
        pixels = np.asarray(Image.fromarray(pixels).reduce(factors))
        rows, columns = pixels.shape[:2]
    elif (rows, columns) == (height, width):
        return pixels
    resized = ImageData(width, height, PixelType.U8x3)
    _own.resizer.resize(ImageData(columns, rows, PixelType.U8x3, pixels.tobytes()), resized, options)
    return np.frombuffer(resized.get_buffer(), np.uint8).reshape(height, width, 3)


def picture_size(spec: TensorSpec) -> tuple[int, int]:
    """Height and width of an image tensor, which are fixed."""
    height, width = spec.shape[1], spec.shape[2]
    assert isinstance(height, int)
    assert isinstance(width, int)
    return height, width


def looks_like_picture(body: bytes) -> bool:
    signatures = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
    return body.startswith(signatures) or (body[:4] == b"RIFF" and body[8:12] == b"WEBP")
