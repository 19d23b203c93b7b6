"""WebP: decoded by the libwebp that Pillow brings along, without Pillow's canvases of 17 bytes a pixel.

Pillow reads every WebP as an animation: it allocates two canvases before its size can be checked, and copies each frame
twice. So the file is cut down to its first frame, and libwebp decodes that into one array. Where Pillow's libwebp
cannot be called, Pillow decodes the frame: the result is the same, but the memory limit allows smaller pictures only.

Lossless pixels, and the transparency of a lossy file, have prefix codes, whose memory no header shows. A file whose
codes could exceed the budget is decoded in a process with a memory limit.
"""

from __future__ import annotations

import ctypes
import struct
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

from lading.answers import View
from lading.budget import Budget
from lading.content.image.decode_process import DAMAGED, INTERPRETER, LATE, can_decode_apart, decode_apart
from lading.content.image.frame import fit_array, fit_image, frame_bytes
from lading.content.image.orientation import MAX_METADATA, read_orientation
from lading.content.image.placement import Wanted
from lading.content.image.resizer import Pixels
from lading.content.image.stream import Stream
from lading.errors import BodyTooLargeError, ExpiredError, PictureError

MAX_CHUNKS = 1000
"""Before the first frame is complete."""
_ANIMATED, _TRANSPARENT = 0x02, 0x10
_LOSSLESS, _CODES = 4.25, 2**24
"""What libwebp takes next to its result for a lossless file: bytes per pixel, and bytes of ordinary prefix codes."""
_GROUPS, _BLOCK, _GROUP_BITS = 2**16, 4, 20
"""Most groups of prefix codes, pixels per side of the smallest block with its own, bits of the shortest group."""
_GROUP, _LONG_CODES, _BIT, _TRANSFORMS = 6000, 15_000, 32, 8
"""Bytes of a group, of its longest codes, of the long codes that one bit of the file makes, of a block's transforms."""
_FEW_CODES = 2**22
"""Bytes of prefix codes that must be left for the process; it gets what is left."""
_LONGEST_S = 10.0
"""Seconds that the process may take for a request without a deadline."""
_ALPHA = 6
"""The same for the transparency of a lossy file: its plane, and its lossless decoder."""
_ROWS = 256
"""The same for the rows of a lossy file: bytes per column."""
_PILLOW = 20
"""Bytes per pixel in Pillow: two canvases of the animation decoder, a copy as bytes, and the picture."""


class _Frame(NamedTuple):
    """The first frame, which is all of a still picture."""

    columns: int
    rows: int
    lossless: bool
    transparent: bool
    chunks: tuple[tuple[bytes, memoryview], ...]
    """Those that libwebp needs."""

    def taken(self, channels: int) -> int:
        """Bytes that decoding takes next to the result."""
        pixels = self.columns * self.rows
        if _LIBRARY is None:
            return (_PILLOW - channels) * pixels
        if self.lossless:
            return int(_LOSSLESS * pixels)
        return _ROWS * self.columns + (_ALPHA * pixels if self.transparent else 0)

    def codes(self) -> int:
        """Bytes that its prefix codes take at most."""
        kind, payload = self.chunks[0]
        if kind == b"VP8 " or (kind == b"ALPH" and payload[0] & 3 != 1):
            return 0
        blocks = -(-self.columns // _BLOCK) * -(-self.rows // _BLOCK)
        most = min(_GROUPS, blocks)
        groups = min(most, 8 * len(payload) // _GROUP_BITS)
        bound = _GROUP * groups + min(8 * _BIT * len(payload), _LONG_CODES * most) + _TRANSFORMS * blocks
        return max(bound, _CODES) if self.lossless else bound

    def file(self) -> bytes:
        """The frame as a still picture without metadata."""
        size = _size_bytes(self.columns, self.rows)
        header = _chunk(b"VP8X", struct.pack("<I", _TRANSPARENT) + size) if len(self.chunks) > 1 else b""
        parts = [b"WEBP", header, *(_chunk(name, payload) for name, payload in self.chunks)]
        return _chunk(b"RIFF", b"".join(parts))


class _Picture(NamedTuple):
    """What the file says before any pixel is decoded."""

    columns: int
    rows: int
    left: int
    top: int
    animated: bool
    transparent: bool
    exif: bytes
    xmp: bytes


def decode_webp(data: bytes, wanted: Wanted, budget: Budget) -> tuple[Pixels, View]:
    """Decode a WebP to RGB pixels of shape (height, width, 3), and say what of it they show.

    Of an animated one it is the first frame.

    Raises:
        PictureError: it is incomplete or damaged.
        BodyTooLargeError: it does not fit the budget.
    """
    picture, frame = _read(data)
    columns, rows = picture.columns, picture.rows
    budget.spend_pixels(columns, rows, "picture")
    orientation = read_orientation(picture.exif, picture.xmp)
    upright = (columns, rows) if orientation < 5 or not wanted.how.exif else (rows, columns)
    wanted = wanted.around(*upright)
    whole = (frame.columns, frame.rows) == (columns, rows)
    channels = 4 if picture.transparent else 3
    decoded = channels * frame.columns * frame.rows + (0 if whole else channels * columns * rows)
    if picture.animated or _LIBRARY is None:
        decoded += 3 * len(data)
    fitting, taken, codes = frame_bytes(columns, rows, wanted), frame.taken(channels), frame.codes()
    here = decoded + max(taken + codes, fitting)
    apart = here > budget.decode_bytes and codes > 0 and _LIBRARY is not None and can_decode_apart()
    shared = decoded + len(data)
    budget.hold(max(shared + INTERPRETER + taken + _FEW_CODES, shared + fitting) if apart else here, "picture")
    wanted = wanted._replace(full=upright)
    file = frame.file() if picture.animated or _LIBRARY is None else data
    budget.check_time()
    if apart:
        pixels = _decode_apart(file, frame, channels, budget, budget.decode_bytes - shared - INTERPRETER)
    elif _LIBRARY is not None:
        pixels = _decode(file, frame, channels)
    else:
        with Image.open(Stream(file, budget), formats=("WEBP",)) as image:
            image.load()
            if whole:
                return fit_image(image, wanted, orientation, budget), wanted.view
            pixels = np.asarray(image.convert("RGBA" if channels == 4 else "RGB"))
    if not whole:
        canvas = np.zeros((rows, columns, channels), np.uint8)
        canvas[picture.top : picture.top + frame.rows, picture.left : picture.left + frame.columns] = pixels
        pixels = canvas
    return fit_array(pixels, wanted, orientation, budget), wanted.view


def _decode(file: bytes, frame: _Frame, channels: int) -> Pixels:
    assert _LIBRARY is not None
    pixels = np.empty((frame.rows, frame.columns, channels), np.uint8)
    decode = _LIBRARY.WebPDecodeRGBAInto if channels == 4 else _LIBRARY.WebPDecodeRGBInto
    if not decode(file, len(file), pixels.ctypes.data, pixels.nbytes, frame.columns * channels):
        raise _damaged()
    return pixels


def _decode_apart(file: bytes, frame: _Frame, channels: int, budget: Budget, memory: int) -> Pixels:
    """The same in a process that may take ``memory`` bytes in addition to the file and the pixels."""
    assert _LIBRARY is not None
    ending, shared = decode_apart(
        _LIBRARY._name,
        file,
        rows=frame.rows,
        stride=frame.columns * channels,
        channels=channels,
        memory=memory,
        seconds=min(_LONGEST_S, budget.deadline - time.perf_counter()),
    )
    if shared is not None:
        pixels = np.frombuffer(shared, np.uint8, frame.rows * frame.columns * channels)
        return pixels.reshape(frame.rows, frame.columns, channels)
    if ending == LATE:
        raise ExpiredError("the deadline passed while the WebP was being decoded")
    if ending == DAMAGED:
        raise _damaged()
    raise BodyTooLargeError(
        f"decoding the WebP takes more memory than the {budget.decode_bytes / 1e6:.0f} MB that are accepted: send a "
        "JPEG, PNG or lossy WebP"
    )


def _read(data: bytes) -> tuple[_Picture, _Frame]:
    """Read the chunks up to the first frame, and the metadata."""
    chunks: dict[bytes, memoryview] = {}
    for name, payload in _chunks(memoryview(data)[12:]):
        if name == b"ALPH" and name in chunks:  # libwebp takes the last one
            raise PictureError("the picture cannot be decoded: the WebP has several ALPH chunks")
        chunks.setdefault(name, payload)
    header = chunks.get(b"VP8X")
    if header is None:
        frame = _frame(chunks)
        return _Picture(frame.columns, frame.rows, 0, 0, False, frame.transparent, b"", b""), frame
    if len(header) < 10:
        raise _incomplete()
    size = columns, rows = _24_bits(header, 4) + 1, _24_bits(header, 7) + 1
    left = top = 0
    animated, transparent = bool(header[0] & _ANIMATED), True
    if animated:
        first = chunks.get(b"ANMF", memoryview(b""))
        if len(first) < 16:
            raise _incomplete()
        left, top = 2 * _24_bits(first, 0), 2 * _24_bits(first, 3)
        transparent = bool(header[0] & _TRANSPARENT)
        size = _24_bits(first, 6) + 1, _24_bits(first, 9) + 1
        chunks |= dict.fromkeys((b"VP8 ", b"VP8L", b"ALPH"), memoryview(b"")) | dict(_chunks(first[16:]))
    frame = _frame(chunks)
    if (frame.columns, frame.rows) != size or left + size[0] > columns or top + size[1] > rows:
        raise PictureError("the picture cannot be decoded: the sizes in the WebP contradict each other")
    transparent &= frame.transparent or size != (columns, rows)
    exif, xmp = (bytes(chunks.get(name, b"")[: MAX_METADATA + 1]) for name in (b"EXIF", b"XMP "))
    return _Picture(columns, rows, left, top, animated, transparent, exif, xmp), frame


def _frame(chunks: dict[bytes, memoryview]) -> _Frame:
    for kind, pixels in chunks.items():
        start = bytes(pixels[:10])
        if kind == b"VP8 " and start[3:6] == b"\x9d\x01\x2a" and len(start) == 10:
            columns, rows = (int.from_bytes(start[at : at + 2], "little") & 0x3FFF for at in (6, 8))
            alpha = chunks.get(b"ALPH")
            needed = ((kind, pixels),) if not alpha else ((b"ALPH", alpha), (kind, pixels))
            return _Frame(columns, rows, False, bool(alpha), needed)
        if kind == b"VP8L" and start[:1] == b"\x2f" and len(start) > 5:
            bits = int.from_bytes(start[1:5], "little")
            columns, rows = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
            return _Frame(columns, rows, True, bool(bits >> 28 & 1), ((kind, pixels),))
    raise _incomplete()


def _chunks(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """The chunks of a RIFF file or of a frame; an incomplete one ends them."""
    at = 0
    for _ in range(MAX_CHUNKS):
        name, size = bytes(view[at : at + 4]), int.from_bytes(view[at + 4 : at + 8], "little")
        payload = view[at + 8 : at + 8 + size]
        if len(name) < 4 or len(payload) < size:
            return
        yield name, payload
        at += 8 + size + size % 2


def _chunk(name: bytes, payload: bytes | memoryview) -> bytes:
    return b"".join([name, struct.pack("<I", len(payload)), payload, b"\0" * (len(payload) % 2)])


def _size_bytes(columns: int, rows: int) -> bytes:
    return (columns - 1).to_bytes(3, "little") + (rows - 1).to_bytes(3, "little")


def _24_bits(view: memoryview, at: int) -> int:
    return int.from_bytes(view[at : at + 3], "little")


def _damaged() -> PictureError:
    return PictureError("the picture cannot be decoded: the pixels of the WebP are incomplete or damaged")


def _incomplete() -> PictureError:
    return PictureError("the picture cannot be decoded: the WebP is incomplete")


def _library() -> ctypes.CDLL | None:
    """The libwebp that Pillow is linked with, whose calls release Python's lock."""
    try:
        from PIL import _webp

        library = ctypes.CDLL(_webp.__file__)  # a name is looked up in the libraries that it is linked with, too
        for decode in (library.WebPDecodeRGBInto, library.WebPDecodeRGBAInto):
            decode.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
            decode.restype = ctypes.c_void_p
    except (ImportError, OSError, AttributeError):
        return None
    return library


_LIBRARY = _library()
