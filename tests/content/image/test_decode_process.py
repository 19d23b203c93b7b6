"""A WebP whose prefix codes may exceed the budget is decoded in a process with a memory limit and a clock."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, _webp

from lading.budget import Budget
from lading.content.image import decode_image
from lading.content.image.decode_process import DAMAGED, DECODED, FAILED, LATE, OUT_OF_MEMORY, decode_apart
from lading.errors import BodyTooLargeError, ExpiredError, PictureError
from tests.given import hostile_pictures as hostile
from tests.given.decode_peak import peaks
from tests.given.pictures import encoded

DEFAULT = 64_000_000


def noise(columns: int, rows: int) -> Image.Image:
    rough = np.random.default_rng(0).normal(0, 12, (rows, columns, 3))
    return Image.fromarray((hostile.soft_pixels(columns, rows) + rough).clip(0, 255).astype(np.uint8))


def clear(columns: int, rows: int) -> Image.Image:
    picture = noise(columns, rows)
    picture.putalpha(Image.fromarray(hostile.soft_pixels(columns, rows)).getchannel(0))
    return picture


def screenshot() -> Image.Image:
    picture = Image.fromarray(hostile.soft_pixels(1920, 1080)).quantize(64).convert("RGB")
    picture.paste(noise(600, 400), (300, 300))
    return picture


def children() -> set[int]:
    """Processes that this one started and that are not gone, ended or not."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it ended meanwhile
            continue
        found |= {int(status.parent.name)} if parent == os.getpid() else set()
    return found


@pytest.fixture(autouse=True)
def no_child_is_left() -> Iterator[None]:
    before = children()
    yield
    assert children() <= before


def ending(file: bytes, side: int, *, memory: int = DEFAULT, seconds: float = 10, library: str = _webp.__file__) -> int:
    ended, shared = decode_apart(library, file, rows=side, stride=3 * side, channels=3, memory=memory, seconds=seconds)
    assert (shared is not None) == (ended == DECODED)
    return ended


@pytest.mark.parametrize("transparency", [False, True])
def test_a_file_of_many_groups_of_codes_is_refused_and_takes_no_memory(transparency: bool, tmp_path: Path) -> None:
    file = hostile.webp_of_many_groups(transparency=transparency)
    (peak,) = peaks(tmp_path, {"groups.webp": file}, decode_bytes=DEFAULT).values()
    assert peak.error == "BodyTooLargeError"
    assert peak.taken < 3_000_000
    with pytest.raises(BodyTooLargeError, match="than the 64 MB that are accepted: send a JPEG, PNG or lossy WebP"):
        decode_image(file, height=8, width=8, budget=Budget(decode_bytes=DEFAULT))


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(encoded("WEBP", noise(640, 480), lossless=True), id="photo"),
        pytest.param(encoded("WEBP", screenshot(), lossless=True, method=0), id="screenshot"),
        pytest.param(encoded("WEBP", clear(640, 480), lossless=True), id="lossless and transparent"),
        pytest.param(encoded("WEBP", clear(640, 480)), id="lossy and transparent"),
    ],
)
@pytest.mark.parametrize("size", [(224, 224), (480, 640)])
def test_ordinary_files_have_the_same_pixels_from_the_process(
    file: bytes, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    height, width = size
    here = decode_image(file, height=height, width=width, budget=Budget(decode_bytes=2**40))
    monkeypatch.setattr("lading.content.image.webp._decode", None)
    apart = decode_image(file, height=height, width=width, budget=Budget(decode_bytes=DEFAULT))
    assert np.array_equal(here, apart)


def test_a_damaged_file_is_the_clients_error() -> None:
    sound = encoded("WEBP", noise(640, 480), lossless=True)
    for damaged in (sound[:150] + bytes(400) + sound[550:], sound[:30] + os.urandom(len(sound) - 30)):
        with pytest.raises(PictureError, match="incomplete or damaged"):
            decode_image(damaged, height=8, width=8, budget=Budget(decode_bytes=DEFAULT))


def test_the_deadline_ends_the_process() -> None:
    file = encoded("WEBP", noise(640, 480), lossless=True)
    with pytest.raises(ExpiredError):
        decode_image(file, height=8, width=8, budget=Budget(decode_bytes=DEFAULT, deadline=time.perf_counter() + 0.005))


@pytest.mark.parametrize("memory", [2**22, 2**25])
def test_the_process_has_no_more_memory_than_it_was_given(memory: int) -> None:
    assert ending(hostile.webp_of_many_groups(), 1024, memory=memory) == OUT_OF_MEMORY


def test_how_the_process_ends_says_why() -> None:
    file = hostile.flat_webp(64, 64)
    assert ending(file, 64) == DECODED
    assert ending(file, 63) == DAMAGED
    assert ending(file, 64, seconds=0) == LATE
    assert ending(file, 64, library="/no/such/library") == FAILED
    assert ending(hostile.webp_of_many_groups(), 1024, memory=2**40) == DECODED


def test_a_file_of_16_mb_and_a_result_of_20_mb_pass() -> None:
    file = encoded("WEBP", noise(2560, 2600), lossless=True, method=0)
    assert len(file) > 16_000_000
    picture = decode_image(file, height=224, width=224, budget=Budget(decode_bytes=120_000_000))
    assert picture.shape == (224, 224, 3)


def test_a_second_transparency_does_not_hide_behind_the_first() -> None:
    file = hostile.webp_of_many_groups(64, transparency=True)
    place = file.index(b"ALPH")
    for first in (b"", b"\0" + bytes(64 * 64)):
        parts = file[12:place] + b"ALPH" + len(first).to_bytes(4, "little") + first + b"\0" * (len(first) % 2)
        body = b"WEBP" + parts + file[place:]
        with pytest.raises(PictureError, match="several ALPH chunks"):
            decode_image(b"RIFF" + len(body).to_bytes(4, "little") + body, height=8, width=8)


@pytest.mark.parametrize("transparency", [False, True])
def test_without_libwebp_a_file_of_many_groups_is_refused_by_its_header(
    transparency: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lading.content.image.webp._LIBRARY", None)
    file = hostile.webp_of_many_groups(transparency=transparency)
    with pytest.raises(BodyTooLargeError, match=r"takes \d{3} MB; at most 64 MB"):
        decode_image(file, height=8, width=8, budget=Budget(decode_bytes=DEFAULT))
    assert decode_image(hostile.flat_webp(64, 64), height=8, width=8, budget=Budget(decode_bytes=DEFAULT)).any()
