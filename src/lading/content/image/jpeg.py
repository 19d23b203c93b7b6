"""JPEG: the header and the number of scans are read before a pixel is decoded, because they decide what decoding costs.

A baseline photo is decoded row by row at a reduced scale, so it needs little more memory than its result. A picture of
several scans (a progressive one) first becomes coefficients of two bytes per sample at full scale, and each scan visits
all of them.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

from lading.answers import View
from lading.budget import Budget
from lading.content.image.frame import fit_array, fit_image, frame_bytes, picture_bytes
from lading.content.image.orientation import MAX_METADATA, read_orientation
from lading.content.image.placement import Placement, Wanted
from lading.content.image.resizer import Pixels
from lading.content.image.stream import Stream
from lading.errors import PictureError

try:
    import simplejpeg
except ImportError:  # Pillow decodes all JPEGs then, at a scale of 1/2, 1/4 or 1/8 instead of eighths
    simplejpeg = None

SIGNATURE = b"\xff\xd8\xff"
MAX_SCANS = 32
"""libjpeg's own progressive pictures have 10 scans. A scan of 50 bytes can cost a pass over 60 MB of coefficients."""
MAX_SEGMENTS = 1000
"""Segments before and between the scans. A photo has about 10, and up to 256 more with a colour profile."""
_GAP = 2**16
"""Bytes of junk that may come before a marker."""
_EXIF, _XMP, _ADOBE = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"Adobe"
_MARKER = re.compile(rb"\xff[\x01-\xfe]")
_END_OF_PIXELS = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # ff00 is a byte of pixels, ffd0 to ffd7 are restart markers
_WINDOW = 2**20
_START_OF_SCAN, _END, _PROGRESSIVE, _COMMENT = 0xDA, 0xD9, 0xC2, 0xFE
_APP1, _APP14, _APP15 = 0xE1, 0xEE, 0xEF
_START = 0xFF
_HEAD = struct.Struct(">BBH").unpack_from  # of a segment: 0xFF, its kind, its length without these two bytes
_ALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a length
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_DECODABLE = {0xC0, 0xC1, _PROGRESSIVE}  # 8 bits a sample, Huffman-coded
_SAMPLINGS = frozenset(across << 4 | down for across in range(1, 5) for down in range(1, 5))
_ROWS_AT_ONCE = 64
"""Rows that libjpeg holds at once while it decodes: of coefficients, of samples, and of output."""


class Frame(NamedTuple):
    """Size and channels of the picture."""

    columns: int
    rows: int
    samplings: bytes
    """One byte per channel: blocks of it in a coded unit, across (upper four bits) and down."""
    progressive: bool

    @property
    def coefficients(self) -> int:
        """Bytes of all coefficients, which libjpeg pads to whole coded units."""
        across = 8 * max(one >> 4 for one in self.samplings)
        down = 8 * max(one & 15 for one in self.samplings)
        blocks = sum((one >> 4) * (one & 15) for one in self.samplings) * -(-self.columns // across)
        return 128 * blocks * -(-self.rows // down)


class Header(NamedTuple):
    """What precedes the pixels."""

    frame: Frame
    several_scans: bool
    """All coefficients are kept until the last scan was read."""
    exif: bytes
    xmp: bytes
    scan: int
    """Where the first scan begins."""


def decode_jpeg(data: bytes, wanted: Wanted, budget: Budget) -> tuple[Pixels, View]:
    """Decode a JPEG to RGB pixels of shape (height, width, 3), and say what of it they show.

    Raises:
        PictureError: it is incomplete, of a rare kind, or has too many scans.
        BodyTooLargeError: it does not fit the budget.
        ExpiredError: the deadline passed.
    """
    header = read_header(data)
    frame = header.frame
    budget.spend_pixels(frame.columns, frame.rows, "picture")
    oriented = wanted.how.exif and (header.exif or header.xmp)
    orientation = read_orientation(header.exif, header.xmp) if oriented else 1
    upright = (frame.columns, frame.rows) if orientation < 5 else (frame.rows, frame.columns)
    wanted = wanted.around(*upright)
    if header.several_scans:
        check_scans(data, header.scan)
    reduced = wanted.how.reduced
    # A whole picture is turned after it was resized, so that any orientation needs no copy of its pixels.
    plain = simplejpeg is not None and len(frame.samplings) == 3 and (orientation == 1 or not reduced)
    placed = _as_decoded(wanted, frame, orientation)
    eighths = (_eighths(frame, placed) if plain else _draft_eighths(frame, placed)) if reduced else 8
    columns, rows = -(-frame.columns * eighths // 8), -(-frame.rows * eighths // 8)
    grey = len(frame.samplings) == 1
    decoded = columns * rows * 3 if plain else len(data) + picture_bytes(columns, rows, 1 if grey else 4)
    meanwhile = len(frame.samplings) * _ROWS_AT_ONCE * frame.columns
    if header.several_scans:
        meanwhile += frame.coefficients
    budget.hold(decoded + max(meanwhile, frame_bytes(columns, rows, wanted)), "picture")
    budget.check_time()
    wanted = wanted._replace(full=upright)
    if plain:
        least = {"min_height": 2 * placed.tall, "min_width": 2 * placed.wide} if reduced else {}
        pixels: Pixels = simplejpeg.decode_jpeg(data, colorspace="RGB", min_factor=1, strict=True, **least)
        return fit_array(pixels, wanted, orientation, budget), wanted.view
    with Image.open(Stream(_without_metadata(data, header.scan), budget), formats=("JPEG",)) as image:
        if reduced:
            image.draft("RGB", (2 * placed.wide, 2 * placed.tall))
        image.load()
        return fit_image(image, wanted, orientation, budget), wanted.view


def _as_decoded(wanted: Wanted, frame: Frame, orientation: int) -> Placement:
    """Where the picture lies, before it is turned."""
    if orientation < 5 or wanted.how.fit == "stretch":
        return wanted.placement(frame.columns, frame.rows)
    placed = wanted.placement(frame.rows, frame.columns)
    return placed._replace(wide=placed.tall, tall=placed.wide)


def encode_jpeg(pixels: Pixels, quality: int) -> bytes:
    """Encode RGB pixels, uint8 of shape (height, width, 3), without reducing their colours."""
    if simplejpeg is not None:
        file: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=quality)
        return file
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def read_header(data: bytes) -> Header:
    """Read the segments before the first scan, as libjpeg does.

    Raises:
        PictureError: the header is incomplete, or says that the pixels are coded in a rare way.
    """
    frame: Frame | None = None
    exif = xmp = b""
    for at, end in _segments(data):
        kind = data[at + 1]
        if kind == _START_OF_SCAN:
            if frame is None or end < at + 5:
                break
            return Header(frame, frame.progressive or data[at + 4] < len(frame.samplings), exif, xmp, at)
        if kind in _FRAMES:
            if frame is not None:
                break
            frame = _frame(data[at:end])
        elif kind == _APP1:
            if data.startswith(_EXIF, at + 4):
                exif += data[at + 4 + len(_EXIF) if exif else at + 4 : end]
                if len(exif) > MAX_METADATA:
                    raise PictureError(f"the picture has more than {MAX_METADATA} bytes of EXIF: remove its metadata")
            elif data.startswith(_XMP, at + 4):
                xmp = data[at + 4 + len(_XMP) : end]
    raise _incomplete()


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of each segment before the pixels, and of the first scan's header."""
    at, last = 2, len(data) - 4
    for _ in range(MAX_SEGMENTS):
        if at > last:
            raise _incomplete()
        start, kind, size = _HEAD(data, at)
        if start != _START or not 0 < kind < _START:
            at = _next_marker(data, at)
            if at > last:
                raise _incomplete()
            _, kind, size = _HEAD(data, at)
        if kind in _ALONE:
            at += 2
            continue
        end = at + 2 + size
        if size < 2 or end > len(data):
            raise _incomplete()
        yield at, end
        at = end
    raise PictureError(f"the JPEG has more than {MAX_SEGMENTS} segments before its pixels: save it again")


def _without_metadata(data: bytes, scan: int) -> bytes:
    """The file without the segments that decoding does not need, because Pillow parses them, at any cost."""
    parts = [data[:2]]
    for at, end in _segments(data):
        if at == scan:
            break
        kind = data[at + 1]
        if not (_APP1 <= kind <= _APP15 or kind == _COMMENT) or (kind == _APP14 and data.startswith(_ADOBE, at + 4)):
            parts.append(data[at:end])
    return b"".join([*parts, memoryview(data)[scan:]])


def _frame(segment: bytes) -> Frame:
    kind = segment[1]
    if len(segment) < 10 or len(segment) != 10 + 3 * segment[9]:
        raise _incomplete()
    if kind not in _DECODABLE or segment[4] != 8:
        raise PictureError(
            f"this kind of JPEG (frame type {kind - 0xC0}, {segment[4]} bits) is not read: save it as a baseline or "
            f"progressive JPEG with 8 bits per sample"
        )
    samplings = segment[11::3]
    rows, columns = int.from_bytes(segment[5:7], "big"), int.from_bytes(segment[7:9], "big")
    if not rows or not columns or not samplings or not _SAMPLINGS.issuperset(samplings):
        raise _incomplete()
    return Frame(columns, rows, samplings, kind == _PROGRESSIVE)


def _incomplete() -> PictureError:
    return PictureError("the picture cannot be decoded: the JPEG's header is incomplete or damaged")


def check_scans(data: bytes, at: int) -> None:
    """Count the scans from the first one, which begins at ``at``, to the end of the picture.

    Raises:
        PictureError: there are more than :data:`MAX_SCANS`.
    """
    if _count_at_most(data, b"\xff\xda", at, MAX_SCANS) <= MAX_SCANS:
        return
    # Thumbnails and films that follow the picture also have such bytes, so count precisely.
    scans = 0
    for _ in range(MAX_SEGMENTS):
        kind = data[at + 1]
        scans += kind == _START_OF_SCAN
        if scans > MAX_SCANS:
            raise PictureError(
                f"the JPEG has more than {MAX_SCANS} scans: save it as a baseline JPEG, or with the usual 10 scans"
            )
        if kind == _END:
            return
        at += 2 if kind in _ALONE else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if kind != _START_OF_SCAN:
            at = _next_marker(data, at)
            continue
        found = None
        while found is None and at < len(data):
            found = _END_OF_PIXELS.search(data, at, at + _WINDOW)
            at = at + _WINDOW - 1 if found is None else found.start()
        if found is None:
            return
    raise PictureError(f"the JPEG has more than {MAX_SEGMENTS} segments: save it again")


def _count_at_most(data: bytes, marker: bytes, at: int, enough: int) -> int:
    """Count in steps, so that a file of nothing but markers does not hold Python's lock."""
    found = 0
    while at < len(data) and found <= enough:
        found += data.count(marker, at, at + _WINDOW + 1)
        at += _WINDOW
    return found


def _next_marker(data: bytes, at: int) -> int:
    found = _MARKER.search(data, at, at + _GAP)
    if found is None:
        raise _incomplete()
    return found.start()


def _eighths(frame: Frame, placed: Placement) -> int:
    """The scale at which simplejpeg decodes, in eighths: the smallest that is at least twice the result."""
    needed = max(8 * (2 * placed.wide - 1) // frame.columns, 8 * (2 * placed.tall - 1) // frame.rows) + 1
    return min(needed, 8)


def _draft_eighths(frame: Frame, placed: Placement) -> int:
    """The scale at which Pillow decodes, in eighths: a power of two."""
    scale = min(frame.columns // (2 * placed.wide), frame.rows // (2 * placed.tall))
    return next((8 // divisor for divisor in (8, 4, 2) if scale >= divisor), 8)
