"""Bytes of a picture to a tensor: the one function that training and serving share."""

from __future__ import annotations

import contextlib
import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lading.budget import Budget
from lading.content.image import decode_image
from lading.errors import BodyTooLargeError, RequestError
from tests.given.hostile_pictures import every_format

QUADRANTS = np.zeros((120, 80, 3), np.uint8)
QUADRANTS[:60, :40], QUADRANTS[:60, 40:], QUADRANTS[60:, :40] = (250, 0, 0), (0, 250, 0), (0, 0, 250)


def encoded(pixels: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_every_format_fills_the_models_frame(kind: str) -> None:
    pixels = decode_image(encoded(QUADRANTS, kind), height=32, width=32)
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8
    assert pixels[4, 4].argmax() == 0
    assert pixels[4, 28].argmax() == 1
    assert pixels[28, 4].argmax() == 2
    assert pixels[28, 28].max() < 40


@pytest.mark.parametrize(("orientation", "corner"), [(1, 0), (2, 1), (3, None), (4, 2), (6, 2), (8, 1)])
def test_the_cameras_rotation_is_honoured(orientation: int, corner: int | None) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decode_image(encoded(QUADRANTS, "JPEG", exif=exif), height=32, width=32)
    top_left = pixels[4, 4]
    assert (top_left.max() < 40) if corner is None else (top_left.argmax() == corner)


def test_a_rotation_that_only_xmp_tells_of_is_honoured_too() -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="3"/></x:xmpmeta>'
    pixels = decode_image(encoded(QUADRANTS, "JPEG", xmp=xmp), height=32, width=32)
    assert pixels[4, 4].max() < 40
    assert pixels[28, 28].argmax() == 0


def test_a_jpeg_of_too_many_pixels_is_refused_with_and_without_exif() -> None:
    exif = Image.Exif()
    exif[0x0112] = 1
    for data in (encoded(QUADRANTS, "JPEG"), encoded(QUADRANTS, "JPEG", exif=exif)):
        with pytest.raises(BodyTooLargeError, match="80 x 120 = 9600 pixels; at most 9000"):
            decode_image(data, height=32, width=32, budget=Budget(pixels=9000))


def test_a_large_jpeg_is_decoded_at_a_reduced_scale_to_the_same_picture() -> None:
    large = np.kron(QUADRANTS, np.ones((20, 20, 1), np.uint8))
    reduced = decode_image(encoded(large, "JPEG"), height=32, width=32).astype(int)
    exact = decode_image(encoded(large, "PNG"), height=32, width=32).astype(int)
    assert np.abs(reduced - exact).mean() < 3


@pytest.mark.parametrize(
    "shape", [(256, 192), (448, 448), (300, 900), (100, 80), (64, 500), (32, 64), (1, 1), (3, 1000)]
)
def test_resizing_is_pillows_antialiased_bilinear_filter(shape: tuple[int, int]) -> None:
    rows, columns = shape
    soft = np.random.default_rng(0).integers(0, 256, (rows // 8 + 1, columns // 8 + 1, 3), dtype=np.uint8)
    picture = Image.fromarray(soft).resize((columns, rows), Image.Resampling.BICUBIC)
    expected = np.asarray(picture.resize((64, 48), Image.Resampling.BILINEAR, reducing_gap=2.0)).astype(int)
    found = decode_image(encoded(np.asarray(picture)), height=48, width=64).astype(int)
    assert np.abs(found - expected).max() <= 4
    assert np.abs(found - expected).mean() < 0.7


def test_many_threads_decode_at_once_to_the_same_pixels() -> None:
    rng = np.random.default_rng(0)
    pictures = [encoded(rng.integers(0, 256, (300 + 8 * n, 500, 3), dtype=np.uint8), "JPEG") for n in range(8)]
    alone = [decode_image(picture, height=224, width=224) for picture in pictures]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda picture: decode_image(picture, height=224, width=224), pictures * 4))
    assert all(np.array_equal(found, alone[place % 8]) for place, found in enumerate(together))


def test_a_rotation_that_comes_late_in_a_jpegs_header_is_honoured() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    plain = encoded(QUADRANTS, "JPEG", exif=exif)
    comments = (b"\xff\xfe" + (60_002).to_bytes(2, "big") + b"x" * 60_000) * 3
    pixels = decode_image(plain[:2] + comments + plain[2:], height=32, width=32)
    assert pixels[4, 4].max() < 40


def test_transparency_is_laid_over_white() -> None:
    clear = np.zeros((8, 8, 4), np.uint8)
    assert decode_image(encoded(clear), height=4, width=4).min() == 255


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "I;16"])
def test_other_colour_modes_become_rgb(mode: str) -> None:
    stream = io.BytesIO()
    source = Image.fromarray(QUADRANTS)
    image = Image.fromarray(np.full((8, 8), 40000, np.uint16)) if mode == "I;16" else source.convert(mode)
    image.save(stream, "JPEG" if mode == "CMYK" else "PNG")
    pixels = decode_image(stream.getvalue(), height=8, width=8)
    assert pixels.shape == (8, 8, 3)
    if mode == "I;16":
        assert abs(int(pixels[0, 0, 0]) - 40000 // 256) <= 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the picture is empty"),
        (b"not a picture", "not a picture that can be read: send a JPEG, PNG or WebP file"),
        (encoded(QUADRANTS, "GIF"), "this is a GIF file, which cannot be read"),
        (encoded(QUADRANTS)[:200], "cannot be decoded"),
        (encoded(QUADRANTS, "JPEG")[:-300], "cannot be decoded"),
    ],
)
def test_what_is_no_whole_picture_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        decode_image(data, height=32, width=32)


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    header_only = encoded(np.zeros((2000, 2000, 3), np.uint8))[:100]
    with pytest.raises(BodyTooLargeError, match="2000 x 2000 = 4000000 pixels; at most 1000000 are accepted"):
        decode_image(header_only, height=32, width=32, budget=Budget(pixels=1_000_000))


SEEDS = tuple(every_format(24, 16).values())


@given(st.sampled_from(SEEDS), st.binary(max_size=60), st.integers(0, 600))
def test_damaged_pictures_never_raise_anything_else(data: bytes, noise: bytes, place: int) -> None:
    damaged = data[:place] + noise + data[place + len(noise) :]
    with contextlib.suppress(RequestError):
        assert decode_image(damaged, height=8, width=8).shape == (8, 8, 3)


@given(st.sampled_from(SEEDS), st.integers(0, 600), st.integers(1, 200), st.integers(0, 300))
def test_pictures_with_a_repeated_or_a_missing_part_never_raise_anything_else(
    data: bytes, place: int, size: int, times: int
) -> None:
    damaged = data[:place] + data[place : place + size] * times + data[place + size :]
    with contextlib.suppress(RequestError):
        assert decode_image(damaged, height=8, width=8, budget=Budget(decode_bytes=64_000_000)).shape == (8, 8, 3)


@pytest.mark.parametrize("name", every_format())
def test_every_kind_of_file_is_decoded(name: str) -> None:
    assert decode_image(every_format()[name], height=8, width=8).shape == (8, 8, 3)
