"""The content type ``image``: JPEG, PNG or WebP files to uint8 RGB. Training and serving use the same function.

The picture is stretched to the model's height and width, so that no part of it is cut off. A large JPEG is decoded at
the smallest scale that is at least twice the target. Larger pictures are then reduced by a whole factor, and an
antialiased bilinear filter does the rest. EXIF rotation is applied, and transparency becomes white.
"""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Callable, Mapping

import numpy as np
import simplejpeg
from cykooz_resizer import CropBox, FilterType, ImageData, PixelType, ResizeAlg, ResizeOptions, Resizer
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter, ImageOps, UnidentifiedImageError

from lading.content import MAX_PIXELS, ContentType, Corrupt, register
from lading.errors import BodyTooLargeError, PictureError, RequestError
from lading.spec import Array, TensorSpec

FORMATS = ("JPEG", "PNG", "WEBP")
_JPEG = b"\xff\xd8\xff"
_ORIENTED = (b"Exif\0\0", b"http://ns.adobe.com/xap")
"""First bytes of EXIF and XMP. A JPEG without both has no orientation, so Pillow need not parse its header."""
_MARKER, _APP1, _START_OF_SCAN = b"\xff", b"\xe1", b"\xda"
_EXIF_ORIENTATION = 0x0112
# Pillow's own limit would raise another error first. Our limit is checked before any pixel is decoded.
Image.MAX_IMAGE_PIXELS = None
_BILINEAR = ResizeAlg.convolution(FilterType.bilinear)
_WHOLE = ResizeOptions(resize_alg=_BILINEAR, use_alpha=False)
_JPEG_QUALITY = 90
_SAMPLED = 28 * 28
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
_GAP = 2  # the reduced picture is at least this many times the target, so that the bilinear filter decides the result


class _OfThread(threading.local):
    """One resizer per thread: it reuses its buffers, so two threads must not share it."""

    def __init__(self) -> None:
        self.resizer = Resizer()


_own = _OfThread()


def decode_image(data: bytes, *, height: int, width: int, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode a JPEG, PNG or WebP file into RGB pixels.

    Args:
        data: the encoded file.
        height: rows of the result.
        width: columns of the result.
        max_pixels: maximum number of pixels, checked before any of them is decoded.

    Returns:
        uint8 of shape (height, width, 3).

    Raises:
        RequestError: not a picture, another format, or an incomplete file.
        BodyTooLargeError: the picture has more than ``max_pixels``.
    """
    if not data:
        raise PictureError("the picture is empty: send the bytes of a JPEG, PNG or WebP file")
    try:
        if data.startswith(_JPEG) and not _may_be_turned(data):
            rows, columns, colorspace, _ = simplejpeg.decode_jpeg_header(data, strict=True)
            if colorspace in ("YCbCr", "RGB"):
                _refuse_large(columns, rows, max_pixels)
                return _resize(_decode_jpeg(data, height, width), height, width)
        # Pillow reads only the header here: size and orientation are known before any pixel is decoded.
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
    """Whether a JPEG has EXIF or XMP before its pixels, or a structure that only Pillow can read."""
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
        # The last pixel of a reduced row or column may cover fewer pixels than the others.
        box = CropBox(0, 0, columns / factors[0], rows / factors[1])
        options = ResizeOptions(resize_alg=_BILINEAR, use_alpha=False, crop_box=box)
        pixels = np.asarray(Image.fromarray(pixels).reduce(factors))
        rows, columns = pixels.shape[:2]
    elif (rows, columns) == (height, width):
        return pixels
    resized = ImageData(width, height, PixelType.U8x3)
    _own.resizer.resize(ImageData(columns, rows, PixelType.U8x3, pixels.tobytes()), resized, options)
    return np.frombuffer(resized.get_buffer(), np.uint8).reshape(height, width, 3)


def picture_descriptors(picture: Array) -> NDArray[np.float64]:
    """Compute the drift features of uint8 (height, width, 3): float64 (6,), on the scale of pixels, 0 to 255.

    ``Pictures.feature_names`` has their names.
    """
    # About 800 pixels are enough: their mean has an error of 1/30 of the contrast, and pictures differ by far more.
    # Sharpness also needs the pixel below each of them.
    height, width, _ = picture.shape
    step = max(1, math.isqrt(height * width // _SAMPLED))
    pixels = picture[: max(1, height - 1) : step, ::step].transpose(2, 0, 1)
    planes = np.empty((2, *pixels.shape), np.uint8)
    planes[0], planes[1] = pixels, picture[min(1, height - 1) :: step, ::step].transpose(2, 0, 1)
    planes = planes.reshape(2, 3, -1)
    count = planes.shape[2]
    # einsum and not a matrix product, for the reason given in lading.drift.sketch
    luma, below = np.einsum("c,pcn->pn", _LUMA, planes.astype(np.float32))
    red, green, blue = planes[0].sum(axis=1) / count
    brightness = luma.sum() / count
    sharpness = np.abs(below - luma).sum() / count
    luma -= brightness
    contrast = math.sqrt((luma * luma).sum() / count)
    saturation = (planes[0].max(axis=0) - planes[0].min(axis=0)).sum() / count
    return np.array((brightness, contrast, sharpness, saturation, red - blue, green - (red + blue) / 2))


def _picture(change: Callable[[Image.Image, int], Image.Image]) -> Corrupt:
    def corrupt(array: Array, severity: int, _: np.random.Generator) -> Array:
        return np.asarray(change(Image.fromarray(array), severity).convert("RGB"))

    return corrupt


def _darker(picture: Image.Image, severity: int) -> Image.Image:
    return ImageEnhance.Brightness(picture).enhance((0.8, 0.65, 0.5, 0.35, 0.2)[severity - 1])


def _brighter(picture: Image.Image, severity: int) -> Image.Image:
    return ImageEnhance.Brightness(picture).enhance((1.2, 1.4, 1.7, 2.0, 2.5)[severity - 1])


def _less_contrast(picture: Image.Image, severity: int) -> Image.Image:
    return ImageEnhance.Contrast(picture).enhance((0.8, 0.6, 0.45, 0.3, 0.15)[severity - 1])


def _less_colour(picture: Image.Image, severity: int) -> Image.Image:
    return ImageEnhance.Color(picture).enhance((0.8, 0.6, 0.4, 0.2, 0.0)[severity - 1])


def _blur(picture: Image.Image, severity: int) -> Image.Image:
    # In pixels of a picture 224 wide, as in the paper; smaller pictures get less blur.
    radius = (0.7, 1.2, 2.0, 3.0, 4.5)[severity - 1] * picture.width / 224
    return picture.filter(ImageFilter.GaussianBlur(radius))


def _coarser(picture: Image.Image, severity: int) -> Image.Image:
    share = (0.7, 0.5, 0.35, 0.25, 0.18)[severity - 1]
    small = picture.resize((max(1, round(picture.width * share)), max(1, round(picture.height * share))))
    return small.resize(picture.size, Image.Resampling.BILINEAR)


def _jpeg(picture: Image.Image, severity: int) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=(50, 30, 18, 12, 7)[severity - 1])
    return Image.open(buffer)


def _turned(picture: Image.Image, severity: int) -> Image.Image:
    return picture.rotate((5, 10, 18, 30, 45)[severity - 1], Image.Resampling.BILINEAR, fillcolor=(127, 127, 127))


def _noise(array: Array, severity: int, rng: np.random.Generator) -> Array:
    sigma = (6, 12, 20, 32, 50)[severity - 1]
    return np.asarray(np.clip(array + rng.normal(0, sigma, array.shape), 0, 255).astype(np.uint8))


CORRUPTIONS: Mapping[str, Corrupt] = {
    "darker": _picture(_darker),
    "brighter": _picture(_brighter),
    "less contrast": _picture(_less_contrast),
    "less colour": _picture(_less_colour),
    "blur": _picture(_blur),
    "coarser": _picture(_coarser),
    "JPEG": _picture(_jpeg),
    "turned": _picture(_turned),
    "noise": _noise,
}


class Pictures(ContentType):
    """Pictures as uint8 (batch, height, width, 3), with a fixed height and width."""

    name = "image"
    noun = "picture"
    formats = "JPEG, PNG or WebP"
    media_types = ("image/jpeg", "image/png", "image/webp")
    suffixes = (".jpg", ".jpeg", ".png", ".webp")
    sample = "photo.jpg"
    note = "EXIF rotation is honoured."
    feature_names = ("brightness", "contrast", "sharpness", "saturation", "warmth", "tint")
    corruptions = CORRUPTIONS
    error = PictureError
    decode_ms = 1.2
    decode_bytes = 3

    def problem(self, spec: TensorSpec) -> str | None:
        if spec.dtype != "uint8" or len(spec.shape) != 4 or spec.shape[-1] != 3:
            return f"an image is uint8 with shape (batch, height, width, 3), not {spec.shape}"
        if not all(isinstance(dim, int) for dim in spec.shape[1:]):
            return f"an image needs a fixed height and width, not {spec.shape}"
        return None

    def claims(self, spec: TensorSpec) -> bool:
        return self.problem(spec) is None

    def accepts(self, media_type: str) -> bool:
        # Any image type: clients send JPEGs as image/jpg or image/*, and decoding shows what the bytes are.
        return media_type.startswith("image/")

    def sniff(self, data: bytes) -> bool:
        return data.startswith((_JPEG, b"\x89PNG\r\n\x1a\n")) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")

    def decode(self, data: bytes, spec: TensorSpec, max_pixels: int = MAX_PIXELS) -> Array:
        height, width = _size(spec)
        return decode_image(data, height=height, width=width, max_pixels=max_pixels)

    def encode(self, example: Array) -> bytes:
        file: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(example), quality=_JPEG_QUALITY)
        return file

    def draw(self, spec: TensorSpec, rng: np.random.Generator) -> bytes:
        return self.encode(rng.integers(0, 256, size=(*_size(spec), 3), dtype=np.uint8))

    def features(self, example: Array) -> NDArray[np.float64]:
        return picture_descriptors(example)


def _size(spec: TensorSpec) -> tuple[int, int]:
    height, width = spec.shape[1], spec.shape[2]
    assert isinstance(height, int)
    assert isinstance(width, int)
    return height, width


register(Pictures())
