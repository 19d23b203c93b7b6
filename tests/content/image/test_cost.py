"""What decoding costs is known before a pixel is decoded: memory, scans, chunks, and time."""

from __future__ import annotations

import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lading.budget import Budget
from lading.content.image import decode_image
from lading.content.image.jpeg import MAX_SCANS
from lading.errors import BodyTooLargeError, ExpiredError, PictureError
from tests.given import hostile_pictures as hostile
from tests.given.decode_peak import peaks
from tests.given.pictures import encoded

MARGIN = 5_000_000
"""Bytes by which the allocator may exceed a sum of sizes."""


def of_many_pixels(columns: int, rows: int) -> dict[str, bytes]:
    """A file of every kind of memory use: modes, several scans, transparency, rotation, one row, one column."""
    picture = Image.fromarray(hostile.soft_pixels(columns, rows))
    clear = picture.convert("RGBA")
    clear.putalpha(picture.getchannel(1))
    turned = Image.Exif()
    turned[0x0112] = 6
    files = {f"flat-{mode}.png": hostile.flat_png(columns, rows, mode) for mode in hostile.PNG_MODES}
    files |= {
        "interlaced.png": hostile.flat_png(columns, rows, "RGBA;16", interlaced=True),
        "row.png": hostile.flat_png(columns * rows // 4, 1, "RGBA;16"),
        "column.png": hostile.flat_png(1, columns * rows // 2, "RGBA"),
        "turned.png": encoded("PNG", picture, exif=turned, compress_level=1),
        "text.png": hostile.png_with_chunk(hostile.flat_png(columns, rows, "L"), b"tEXt", b"a\0" + bytes(2**20)),
        "flat.webp": hostile.flat_webp(columns, rows),
        "extended.webp": hostile.extended_webp(columns, rows),
        "animated.webp": hostile.flat_animated_webp(columns, rows, 20),
        "lossy.webp": encoded("WEBP", picture, method=0),
        "transparent.webp": encoded("WEBP", clear, method=0),
        "turned.webp": encoded("WEBP", picture, method=0, exif=turned),
        "groups.webp": hostile.webp_of_many_groups(512),
        "groups-alpha.webp": hostile.webp_of_many_groups(512, transparency=True),
        "flat.jpg": hostile.flat_jpeg(columns, rows),
        "flat-grey.jpg": hostile.flat_jpeg(columns, rows, grey=True),
        "turned.jpg": encoded("JPEG", picture, exif=turned),
        "cmyk.jpg": encoded("JPEG", picture.convert("CMYK")),
        "wide.jpg": encoded("JPEG", picture.resize((columns * 8, rows // 8))),
        "progressive.jpg": encoded("JPEG", picture, progressive=True),
        "progressive-444.jpg": encoded("JPEG", picture, progressive=True, subsampling=0),
        "progressive-grey.jpg": encoded("JPEG", picture.convert("L"), progressive=True),
        "progressive-cmyk.jpg": encoded("JPEG", picture.convert("CMYK"), progressive=True),
        "scans.jpg": hostile.jpeg_with_repeated_scans(columns, rows, 8),
    }
    return files


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return of_many_pixels(1600, 1200)


@pytest.mark.parametrize("size", [224, 640])
def test_decoding_takes_no_more_memory_than_the_budget_was_asked_for(
    files: dict[str, bytes], size: int, tmp_path: Path
) -> None:
    measured = peaks(tmp_path, files, size=size)
    assert not {name: peak for name, peak in measured.items() if peak.error}
    assert not {name: peak for name, peak in measured.items() if peak.taken > peak.held + MARGIN}


def test_a_file_that_does_not_fit_is_refused_before_it_takes_memory(files: dict[str, bytes], tmp_path: Path) -> None:
    measured = peaks(tmp_path, files, decode_bytes=2_500_000)
    assert {peak.error for peak in measured.values()} == {"BodyTooLargeError"}
    assert max(peak.taken for peak in measured.values()) < MARGIN


@pytest.mark.parametrize(
    "data",
    [
        hostile.flat_webp(16_383, 2930),
        hostile.flat_animated_webp(16_383, 2930, 3),
        *(hostile.flat_png(8000, 6000, mode) for mode in ("LA", "RGBA;16", "RGB+tRNS")),
    ],
)
def test_a_small_file_of_48_million_pixels_is_refused_by_its_memory(data: bytes) -> None:
    with pytest.raises(BodyTooLargeError, match=r"decoding the picture takes \d+ MB; at most 64 MB are accepted"):
        decode_image(data, height=224, width=224, budget=Budget(decode_bytes=64_000_000))


@pytest.mark.parametrize(
    "data",
    [hostile.flat_jpeg(8064, 6048), hostile.flat_jpeg(4032, 3024, grey=True), hostile.flat_png(4032, 3024, "RGB")],
)
def test_the_photos_of_a_phone_fit_the_default(data: bytes) -> None:
    budget = Budget(decode_bytes=64_000_000)
    assert decode_image(data, height=224, width=224, budget=budget).shape == (224, 224, 3)


def test_the_pixels_of_all_files_of_a_request_count_together() -> None:
    budget = Budget(pixels=10_000)
    for _ in range(2):
        decode_image(encoded(), height=8, width=8, budget=budget)
    decode_image(encoded(), height=8, width=8, budget=budget)
    with pytest.raises(BodyTooLargeError, match="64 x 48 = 3072 pixels; at most 784"):
        decode_image(encoded(), height=8, width=8, budget=budget)


@pytest.mark.parametrize("grey", [True, False])
@pytest.mark.parametrize("orientation", [1, 6])
def test_scans_are_counted_before_they_are_decoded(grey: bool, orientation: int) -> None:
    payload = b"Exif\0\0" + hostile.exif(orientation)
    allowed = hostile.jpeg_with_repeated_scans(200, 100, MAX_SCANS - 1, grey=grey)
    decode_image(hostile.jpeg_with_segments(allowed, 0xE1, payload), height=8, width=8)
    for times in (MAX_SCANS, 500, 20_000):
        hidden = hostile.jpeg_with_repeated_scans(200, 100, times, grey=grey)
        with pytest.raises(PictureError, match="more than 32 scans: save it as a baseline JPEG"):
            decode_image(hostile.jpeg_with_segments(hidden, 0xE1, payload), height=8, width=8)


def test_a_comment_that_looks_like_the_end_hides_no_scans() -> None:
    jpeg = hostile.jpeg_with_repeated_scans(200, 100, 200)
    second = jpeg.index(b"\xff\xda", jpeg.index(b"\xff\xda") + 2)
    hidden = jpeg[:second] + hostile.jpeg_segment(0xFE, b"\xff\xd9") + jpeg[second:]
    with pytest.raises(PictureError, match="more than 32 scans"):
        decode_image(hidden, height=8, width=8)


def test_what_follows_a_picture_is_not_counted() -> None:
    film = encoded("JPEG", progressive=True) + b"\xff\xda" * 1000
    assert decode_image(film, height=8, width=8).shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (hostile.jpeg_with_segments(encoded(), 0xFE, b"", 100_000), "more than 1000 segments"),
        (hostile.jpeg_with_segments(encoded(), 0xE1, b"Exif\0\0" + bytes(60_000), 20), "bytes of EXIF"),
        (hostile.png_with_chunk(hostile.SMALLEST, b"IDAT", b"", times=100_000), "more than 20000 chunks"),
        (hostile.png_with_chunk(hostile.SMALLEST, b"eXIf", bytes(300_000)), "eXIf of 300000 bytes"),
        (hostile.extended_webp(9, 9, flags=8, chunks=[(b"EXIF", bytes(300_000))]), "bytes of EXIF"),
        (encoded("JPEG").replace(b"\xff\xc0", b"\xff\xc9"), r"this kind of JPEG \(frame type 9, 8 bits\) is not read"),
        (encoded("JPEG").replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c"), r"frame type 0, 12 bits"),
    ],
)
def test_metadata_and_rare_kinds_are_refused_with_a_reason(data: bytes, message: str) -> None:
    with pytest.raises(PictureError, match=message):
        decode_image(data, height=8, width=8)


def test_texts_that_inflate_are_not_inflated(tmp_path: Path) -> None:
    bomb = b"a\0\0" + zlib.compress(bytes(1_000_000), 9)
    png = hostile.png_with_chunk(hostile.flat_png(64, 64), b"zTXt", bomb, times=200)
    late = hostile.png_with_chunk(png, b"zTXt", bomb, times=200, after_pixels=True)
    assert peaks(tmp_path, {"bomb": late})["bomb"].taken < MARGIN


class _Soon(Budget):
    """Its deadline passes after a number of checks, so that no test depends on a clock."""

    left = 0

    def check_time(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise ExpiredError("the deadline passed")


@pytest.mark.parametrize("left", [0, 1, 10])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_decoding_stops_at_the_deadline(kind: str, left: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (800, 800, 3), dtype=np.uint8)
    picture = Image.fromarray(noise).convert("RGB" if kind == "PNG" else "CMYK")
    budget = _Soon()
    budget.left = left
    with pytest.raises(ExpiredError):
        decode_image(encoded(kind, picture), height=8, width=8, budget=budget)


@pytest.mark.parametrize("name", hostile.every_format())
def test_nothing_is_decoded_after_the_deadline(name: str) -> None:
    budget = Budget(deadline=time.perf_counter() - 1)
    with pytest.raises(ExpiredError):
        decode_image(hostile.every_format()[name], height=8, width=8, budget=budget)
