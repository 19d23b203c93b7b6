"""The content type ``image``: JPEG, PNG or WebP files to tensors. Training and serving use the same function.

``TensorSpec.preprocess`` says how. By default the picture is stretched to the model's height and width, so that no part
of it is cut off, and becomes uint8 RGB. A large JPEG is decoded at the smallest scale that is at least twice the
target. Larger pictures are then reduced by a whole factor, and an antialiased bilinear filter does the rest. EXIF
rotation is applied, and transparency becomes white.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from lading.answers import View
from lading.budget import Budget
from lading.content import ContentType, Corrupt, content_of, register
from lading.content.image.jpeg import SIGNATURE as JPEG
from lading.content.image.jpeg import decode_jpeg, encode_jpeg
from lading.content.image.levels import number_table, to_picture, to_pixels, to_tensor
from lading.content.image.placement import Wanted
from lading.content.image.png import SIGNATURE as PNG
from lading.content.image.png import decode_png
from lading.content.image.resizer import Pixels
from lading.content.image.webp import decode_webp
from lading.errors import LadingError, PictureError, SpecError
from lading.errors.formats import format_of
from lading.preprocess import DEFAULT, Preprocess
from lading.spec import Array, TensorSpec

# Pillow's own limit would raise another error first. Our limit is checked before any pixel is decoded.
Image.MAX_IMAGE_PIXELS = None
_JPEG_QUALITY = 90
_SAMPLED = 28 * 28
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
Decode: TypeAlias = Callable[[bytes, Wanted, Budget], tuple[Pixels, View]]


def as_tensor(source: bytes | Path, spec: TensorSpec, budget: Budget | None = None) -> Array:
    """Read a photo as a server of the model will: what a data set calls.

    Args:
        source: the encoded file, or its path.
        spec: the tensor that it becomes, with ``content="image"``.
        budget: what decoding may cost; default: that of files that are trusted.

    Returns:
        An array of the spec's dtype and shape, without the batch dim.

    Raises:
        SpecError: the tensor cannot hold a picture.
        PictureError: not a picture, another format, or an incomplete file.
        BodyTooLargeError: the picture does not fit the budget.
    """
    content = content_of(spec)
    problem = f"its content is {spec.content!r}" if not isinstance(content, Pictures) else content.problem(spec)
    if content is None or problem is not None:
        raise SpecError(f"tensor {spec.name!r} cannot hold a picture: {problem}")
    data = source.read_bytes() if isinstance(source, Path) else source
    return content.decode(data, spec, budget or Budget())


def decode_image(
    data: bytes, *, height: int = 0, width: int = 0, budget: Budget | None = None, how: Preprocess = DEFAULT
) -> NDArray[np.uint8]:
    """Decode a JPEG, PNG or WebP file into RGB pixels.

    Args:
        data: the encoded file.
        height: rows of the result; with ``fit="keep"`` they follow from the picture.
        width: columns of the result.
        budget: what decoding may cost, checked before any pixel is decoded.
        how: the picture comes into the frame; colours and numbers follow in :func:`as_tensor`.

    Returns:
        uint8 of shape (height, width, 3).

    Raises:
        RequestError: not a picture, another format, or an incomplete file.
        BodyTooLargeError: the picture does not fit the budget.
    """
    return _placed(data, Wanted(height, width, how), budget or Budget())[0]


def _placed(data: bytes, wanted: Wanted, budget: Budget) -> tuple[Pixels, View]:
    """The pixels, and what of the picture they show."""
    decode = _decoder(data)
    if decode is None:
        known = format_of(data)
        what = f"this is {known}, which cannot be read" if known else "this is not a picture that can be read"
        what = what if data else "the picture is empty"
        raise PictureError(f"{what}: send a JPEG, PNG or WebP file")
    try:
        return decode(data, wanted, budget)
    except LadingError:
        raise
    except Exception as error:  # decoders raise almost anything for damaged bytes
        raise PictureError(f"the picture cannot be decoded: {str(error)[:200]}") from None


def _decoder(data: bytes) -> Decode | None:
    """What decodes a file with these first bytes."""
    if data.startswith(JPEG):
        return decode_jpeg
    if data.startswith(PNG):
        return decode_png
    return decode_webp if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


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
    """Pictures as uint8 (batch, height, width, 3), or as ``TensorSpec.preprocess`` says.

    Args:
        how: of the tensor whose examples it encodes and describes.
    """

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

    def __init__(self, how: Preprocess = DEFAULT) -> None:
        self.how = how

    def of(self, spec: TensorSpec) -> Pictures:
        return self if spec.preprocess is None else _declared(spec.preprocess, spec.dtype)

    def problem(self, spec: TensorSpec) -> str | None:
        how = spec.preprocess
        if how is None and (spec.dtype != "uint8" or len(spec.shape) != 4 or spec.shape[-1] != 3):
            return (
                f"an image is uint8 with shape (batch, height, width, 3), not {spec.dtype} with {spec.shape}; "
                "floats and other layouts need preprocess"
            )
        try:
            size = (how or DEFAULT).size(spec.shape)
        except ValueError as error:
            return str(error)
        return None if how is None else _contradiction(how, spec.dtype, size)

    def claims(self, spec: TensorSpec) -> bool:
        return self.problem(spec) is None

    def accepts(self, media_type: str) -> bool:
        # Any image type: clients send JPEGs as image/jpg or image/*, and decoding shows what the bytes are.
        return media_type.startswith("image/")

    def sniff(self, data: bytes) -> bool:
        return _decoder(data) is not None

    def decode(self, data: bytes, spec: TensorSpec, budget: Budget) -> Array:
        return self.decode_placed(data, spec, budget)[0]

    def decode_placed(self, data: bytes, spec: TensorSpec, budget: Budget) -> tuple[Array, View]:
        how = spec.preprocess or DEFAULT
        pixels, view = _placed(data, Wanted.of(how, spec.shape), budget)
        return (pixels if how is DEFAULT else to_tensor(pixels, how, spec.dtype)), view

    def encode(self, example: Array) -> bytes:
        pixels = to_pixels(example, self.how)
        return encode_jpeg(to_picture(pixels, Wanted(pixels.shape[0], pixels.shape[1], self.how)), _JPEG_QUALITY)

    def draw(self, spec: TensorSpec, rng: np.random.Generator) -> bytes:
        how = spec.preprocess or DEFAULT
        wanted = Wanted.of(how, spec.shape)
        size = (wanted.height, wanted.width) if not how.kept else _usual_size(how, rng)
        drawn = rng.integers(0, 256, size=(*size, 3), dtype=np.uint8)
        return encode_jpeg(to_picture(drawn, wanted), _JPEG_QUALITY)

    def features(self, example: Array) -> NDArray[np.float64]:
        return picture_descriptors(to_pixels(example, self.how))

    def describe(self) -> dict[str, Any]:
        described = super().describe() | {"preprocess": str(self.how)}
        return described | {"formats": f"{self.formats}, {self.how.bound}"} if self.how.kept else described


_USUAL = (480, 640)
"""Height and width of a photo that is made up for a model of pictures of any size."""


def _usual_size(how: Preprocess, rng: np.random.Generator) -> tuple[int, int]:
    """Height and width of a made-up photo, lying or standing, as large as the model takes at most."""
    short, long = (min(side, most) for side, most in zip(_USUAL, how.most[::-1], strict=True))
    return (short, long) if rng.random() < 0.5 else (long, short)


@lru_cache(256)
def _declared(how: Preprocess, dtype: str) -> Pictures:
    pictures = Pictures(how)
    pictures.note = "EXIF rotation is honoured." if how.exif else "EXIF rotation is ignored."  # type: ignore[misc]
    pictures.corruptions = {name: _of_tensors(change, how, dtype) for name, change in CORRUPTIONS.items()}  # type: ignore[misc]
    return pictures


def _of_tensors(change: Corrupt, how: Preprocess, dtype: str) -> Corrupt:
    def corrupt(array: Array, severity: int, rng: np.random.Generator) -> Array:
        return to_tensor(change(to_pixels(array, how), severity, rng), how, dtype)

    return corrupt


def _contradiction(how: Preprocess, dtype: str, size: tuple[int, int] | None) -> str | None:
    """Why a declaration does not fit its tensor."""
    if dtype != "uint8" and not dtype.startswith("float"):
        return f"pictures become uint8 or floats, not {dtype}"
    if dtype == "uint8" and how.normalises:
        return "scale, mean and std make floats, and the tensor is uint8: leave them out, or declare the graph's dtype"
    if how.resize is not None and size is not None and how.resize < max(size):
        return (
            f"the short side becomes resize={how.resize}, and a crop of {size[0]} x {size[1]} does not fit: set resize "
            f"to at least {max(size)}"
        )
    if dtype != "uint8" and not np.isfinite(number_table(how, dtype)).all():
        return f"scale={how.scale:g}, mean={how.mean} and std={how.std} make numbers that are too large for {dtype}"
    return None


register(Pictures())
