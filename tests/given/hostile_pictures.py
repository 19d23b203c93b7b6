"""Pictures whose decoding costs far more than their bytes suggest, and files that are damaged in one place.

Large pictures are written row by row or bit by bit, so that a test does not pay what it wants to see refused.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by PNG colour type
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_BLOCK = b"\0" * 2**20


class PngMode(NamedTuple):
    """Colour type and bits per sample, as in a PNG's header."""

    colour: int
    depth: int
    transparent: bool = False
    """With a tRNS chunk."""


PNG_MODES: dict[str, PngMode] = {
    "1": PngMode(0, 1),
    "L": PngMode(0, 8),
    "L+tRNS": PngMode(0, 8, True),
    "L2": PngMode(0, 2),
    "L4": PngMode(0, 4),
    "I;16": PngMode(0, 16),
    "RGB": PngMode(2, 8),
    "RGB+tRNS": PngMode(2, 8, True),
    "RGB;16": PngMode(2, 16),
    "P": PngMode(3, 8),
    "P1": PngMode(3, 1),
    "P4": PngMode(3, 4),
    "P+tRNS": PngMode(3, 8, True),
    "LA": PngMode(4, 8),
    "LA;16": PngMode(4, 16),
    "RGBA": PngMode(6, 8),
    "RGBA;16": PngMode(6, 16),
}
"""Every kind of PNG that encoders write, by a name after Pillow's."""


def chunk(kind: bytes, payload: bytes = b"") -> bytes:
    """One chunk of a PNG, with a correct checksum."""
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def flat_png(columns: int, rows: int, mode: str = "RGB", *, interlaced: bool = False, idat: int = 2**31 - 1) -> bytes:
    """A PNG whose samples are all 0, in one of :data:`PNG_MODES`: about a thousandth of its pixels in bytes.

    Args:
        columns: of the picture.
        rows: of the picture.
        mode: key of :data:`PNG_MODES`.
        interlaced: by Adam7.
        idat: bytes of compressed pixels per chunk.
    """
    colour, depth, transparent = PNG_MODES[mode]
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    raw = 0
    for left, top, right, down in passes:
        across, along = -(-(columns - left) // right), -(-(rows - top) // down)
        if across > 0 and along > 0:
            raw += along * (1 + -(-across * depth * _CHANNELS[colour] // 8))
    pixels = b"".join(_deflated_zeros(raw))
    parts = [PNG_SIGNATURE, chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, depth, colour, 0, 0, interlaced))]
    if colour == 3:
        parts.append(chunk(b"PLTE", bytes(range(256)) * 3 if depth == 8 else bytes(3 * 2**depth)))
    if transparent:
        parts.append(chunk(b"tRNS", {0: b"\0\0", 2: b"\0\0\0\0\0\0", 3: bytes(range(256))}[colour]))
    parts.extend(chunk(b"IDAT", pixels[at : at + idat]) for at in range(0, len(pixels), idat))
    return b"".join([*parts, chunk(b"IEND")])


def _deflated_zeros(count: int) -> Iterator[bytes]:
    deflate = zlib.compressobj(9)
    for _ in range(count // len(_BLOCK)):
        yield deflate.compress(_BLOCK)
    yield deflate.compress(_BLOCK[: count % len(_BLOCK)])
    yield deflate.flush()


def png_with_chunk(png: bytes, kind: bytes, payload: bytes, *, after_pixels: bool = False, times: int = 1) -> bytes:
    """A PNG with one more chunk, before its first IDAT or after its last, or with many of them."""
    place = png.rindex(b"IEND") - 4 if after_pixels else png.index(b"IDAT") - 4
    return png[:place] + chunk(kind, payload) * times + png[place:]


def png_with_torn_exif(png: bytes, *, after_pixels: bool = False) -> bytes:
    """A PNG whose EXIF ends inside its TIFF header."""
    return png_with_chunk(png, b"eXIf", b"MM\0*\0", after_pixels=after_pixels)


def png_with_late_profile(png: bytes) -> bytes:
    """A PNG with a colour profile after its pixels that is no zlib stream."""
    return png_with_chunk(png, b"iCCP", b"profile\0\0not zlib", after_pixels=True)


def apng(columns: int, rows: int, frames: int = 3) -> bytes:
    """An animated PNG of a few frames that differ, as Pillow writes it."""
    return _animated("PNG", columns, rows, frames)


def animated_webp(columns: int, rows: int, frames: int = 3) -> bytes:
    """An animated WebP of a few frames that differ, as Pillow writes it."""
    return _animated("WEBP", columns, rows, frames)


def _animated(kind: str, columns: int, rows: int, frames: int) -> bytes:
    shades = [Image.new("RGB", (columns, rows), (60 * number % 256, 20, 200)) for number in range(frames)]
    buffer = io.BytesIO()
    shades[0].save(buffer, kind, save_all=True, append_images=shades[1:], duration=100)
    return buffer.getvalue()


def _bits(fields: Iterable[tuple[int, int]]) -> bytes:
    """Values and their widths as bytes, the lowest bit first."""
    text = "".join(f"{value:0{width}b}"[::-1] for value, width in fields)
    return int(text[::-1], 2).to_bytes(-(-len(text) // 8), "little")


def _vp8l(columns: int, rows: int) -> bytes:
    # No transforms, no colour cache, one prefix group; five codes of one symbol each, so a pixel takes no bits at all.
    fields = [(0x2F, 8), (columns - 1, 14), (rows - 1, 14), (1, 1), (0, 3), (0, 1), (0, 1), (0, 1)]
    fields += [(1, 1), (0, 1), (1, 1), (200, 8)] * 4 + [(1, 1), (0, 1), (0, 1), (0, 1)]
    return _bits(fields)


def _riff(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack("<I", len(payload)) + payload + b"\0" * (len(payload) % 2)


def flat_webp(columns: int, rows: int) -> bytes:
    """A lossless WebP of one colour: some 40 bytes for up to 16,384 x 16,384 pixels."""
    return _riff(b"RIFF", b"WEBP" + _riff(b"VP8L", _vp8l(columns, rows)))


def extended_webp(columns: int, rows: int, *, flags: int = 0x10, chunks: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    """The same with an extended header, as EXIF and transparency need it, and with more chunks before the pixels."""
    header = struct.pack("<I", flags) + (columns - 1).to_bytes(3, "little") + (rows - 1).to_bytes(3, "little")
    parts = [_riff(kind, payload) for kind, payload in chunks]
    body = b"".join([_riff(b"VP8X", header), *parts, _riff(b"VP8L", _vp8l(columns, rows))])
    return _riff(b"RIFF", b"WEBP" + body)


def flat_animated_webp(columns: int, rows: int, frames: int) -> bytes:
    """An animated WebP of one colour: about 70 bytes a frame, of any size."""
    size = (columns - 1).to_bytes(3, "little") + (rows - 1).to_bytes(3, "little")
    frame = _riff(b"ANMF", bytes(6) + size + (100).to_bytes(3, "little") + b"\0" + _riff(b"VP8L", _vp8l(columns, rows)))
    header = _riff(b"VP8X", struct.pack("<I", 0x12) + size) + _riff(b"ANIM", bytes(6))
    return _riff(b"RIFF", b"WEBP" + header + frame * frames)


def webp_of_many_groups(side: int = 1024, *, transparency: bool = False) -> bytes:
    """A sound WebP of one colour, where each block of 4 x 4 pixels has prefix codes of its own.

    Args:
        side: columns and rows, at most 1024.
        transparency: these are the codes of a lossy file's transparency.
    """
    blocks = (side // 4) ** 2
    # No transform, no colour cache, groups for blocks of 4 x 4. A pixel has the number of its group in green and red.
    fields = [(0, 1), (0, 1), (1, 1), (0, 3), (0, 1)]
    for symbols in (280, 256):  # a code of 8 bits for the first 256 symbols: only the lengths 0 and 8 occur
        fields += [(0, 1), (12 - 4, 4), *((int(number in (2, 11)), 3) for number in range(12)), (0, 1)]
        fields += [(2**256 - 1, symbols)]
    fields += [(0x111, 12)]  # three codes of one symbol
    turned = [int(f"{number:08b}"[::-1], 2) for number in range(256)]
    for number in range(blocks):
        fields += [(turned[number & 255], 8), (turned[number >> 8], 8)]
    fields += [(0x11111, 20)] * blocks  # five codes of one symbol for each
    if not transparency:
        size = [(0x2F, 8), (side - 1, 14), (side - 1, 14), (0, 4)]
        return _riff(b"RIFF", b"WEBP" + _riff(b"VP8L", _bits(size + fields)))
    lossy = _saved(Image.new("RGB", (side, side)), "WEBP")
    header = struct.pack("<I", 0x10) + 2 * (side - 1).to_bytes(3, "little")
    body = _riff(b"VP8X", header) + _riff(b"ALPH", b"\x01" + _bits(fields)) + lossy[12:]
    return _riff(b"RIFF", b"WEBP" + body)


def flat_jpeg(columns: int, rows: int, *, grey: bool = False) -> bytes:
    """A baseline JPEG of one colour: one byte for 64 pixels, 4:2:0 or grey."""
    small = encoded_jpeg(np.full((16, 16, 3), 128, np.uint8), "L" if grey else "RGB", subsampling=-1 if grey else 2)
    header = small[: small.index(b"\xff\xda")]
    scan = small[len(header) : len(header) + 2 + int.from_bytes(small[len(header) + 2 : len(header) + 4], "big")]
    side = 8 if grey else 16
    units = -(-columns // side) * -(-rows // side)
    # Each block: 00 for an unchanged mean and an end of block, 1010 for luma and 00 for chroma. No byte becomes ff.
    pixels = b"\x28\xa2\x8a" * -(-units // 4) if grey else b"\x28\xa2\x8a\x00" * units
    return jpeg_of_size(header, columns, rows) + scan + pixels + b"\xff\xd9"


def jpeg_of_size(jpeg: bytes, columns: int, rows: int) -> bytes:
    """A JPEG whose header claims another size."""
    for kind in (b"\xff\xc0", b"\xff\xc1", b"\xff\xc2"):
        place = jpeg.find(kind)
        if place >= 0:
            return jpeg[: place + 5] + struct.pack(">HH", rows, columns) + jpeg[place + 9 :]
    raise ValueError("the JPEG has no frame header")


def encoded_jpeg(pixels: NDArray[np.uint8], mode: str = "RGB", **options: object) -> bytes:
    """Pixels as a JPEG of a mode: ``L``, ``RGB`` or ``CMYK``, which Pillow marks as Adobe does."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def jpeg_with_repeated_scans(columns: int, rows: int, times: int, *, grey: bool = False) -> bytes:
    """A valid progressive JPEG of one colour with ``times`` scans after the first one.

    A scan takes some 50 bytes, and is a pass over the coefficients of all blocks.
    """
    components = (1,) if grey else (1, 2, 3)
    blocks = -(-columns // 8) * -(-rows // 8)
    frame = struct.pack(">BHHB", 8, rows, columns, len(components)) + b"".join(
        bytes([component, 0x11, 0]) for component in components
    )
    # The table of means has one code, 0 for "unchanged". That of the others has runs of empty blocks, by length.
    means = b"\0" + bytes([1] + [0] * 15) + b"\0"
    runs = b"\x10" + bytes([0, 0, 0, 15] + [0] * 12) + bytes(length << 4 for length in range(15))
    parts = [b"\xff\xd8", jpeg_segment(0xDB, b"\0" + bytes([1] * 64)), jpeg_segment(0xC2, frame)]
    parts += [jpeg_segment(0xC4, means + runs), _scan(components, 0, 0, 0), bytes(-(-blocks * len(components) // 8))]
    empty = _runs_of_empty_blocks(blocks)
    for number in range(times):
        # The lowest bit is refined, which looks at every coefficient; then the next first pass may follow.
        bits = 0x10 if number % 2 else 0x01
        parts += [_scan(components[number // 2 % len(components) :][:1], 1, 63, bits), empty]
    return b"".join([*parts, b"\xff\xd9"])


def _scan(components: Iterable[int], first: int, last: int, bits: int) -> bytes:
    chosen = [bytes([component, 0]) for component in components]
    return jpeg_segment(0xDA, bytes([len(chosen)]) + b"".join(chosen) + bytes([first, last, bits]))


def _runs_of_empty_blocks(blocks: int) -> bytes:
    """Huffman-coded runs: four bits for the length's width, and then its lower bits."""
    bits = ""
    while blocks:
        run = min(blocks, 2**15 - 1)
        width = run.bit_length() - 1
        bits += f"{width:04b}" + (f"{run - 2**width:0{width}b}" if width else "")
        blocks -= run
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")


def jpeg_segment(kind: int, payload: bytes) -> bytes:
    """One segment of a JPEG: a comment (0xfe), EXIF (0xe1) and the like."""
    return b"\xff" + bytes([kind]) + struct.pack(">H", len(payload) + 2) + payload


def jpeg_with_segments(jpeg: bytes, kind: int, payload: bytes, times: int = 1) -> bytes:
    """A JPEG with more segments right after its start."""
    return jpeg[:2] + jpeg_segment(kind, payload) * times + jpeg[2:]


def exif(orientation: int = 6) -> bytes:
    """EXIF that turns a picture, without the prefix that a JPEG needs."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes().removeprefix(b"Exif\0\0")


SMALLEST = flat_png(1, 1, "1")
"""A picture of about 70 bytes."""


def soft_pixels(columns: int, rows: int) -> NDArray[np.uint8]:
    """RGB pixels with smooth changes and a little noise, shape (rows, columns, 3): they compress like a photo."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (rows // 16 + 2, columns // 16 + 2, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((columns, rows), Image.Resampling.BICUBIC))


def every_format(columns: int = 80, rows: int = 60) -> dict[str, bytes]:
    """A small sound file of every kind that the server accepts, by name: seeds for mutation."""
    picture = Image.fromarray(soft_pixels(columns, rows))
    clear = picture.convert("RGBA")
    clear.putalpha(picture.getchannel(1))
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "a title", zip=True)
    turned = Image.Exif()
    turned[0x0112] = 6
    files = {
        "jpeg": _saved(picture, "JPEG"),
        "jpeg 4:4:4": _saved(picture, "JPEG", subsampling=0),
        "jpeg progressive": _saved(picture, "JPEG", progressive=True),
        "jpeg grey": _saved(picture.convert("L"), "JPEG"),
        "jpeg grey progressive": _saved(picture.convert("L"), "JPEG", progressive=True),
        "jpeg cmyk": _saved(picture.convert("CMYK"), "JPEG"),
        "jpeg cmyk progressive": _saved(picture.convert("CMYK"), "JPEG", progressive=True),
        "jpeg exif": _saved(picture, "JPEG", exif=turned),
        "jpeg restart": _saved(picture, "JPEG", restart_marker_blocks=2),
        "jpeg repeated scans": jpeg_with_repeated_scans(columns, rows, 5),
        "png text": _saved(picture, "PNG", pnginfo=text),
        "png exif": _saved(picture, "PNG", exif=turned),
        "png profile": _saved(picture, "PNG", icc_profile=b"\0" * 200),
        "png rgb": _saved(picture, "PNG"),
        "png rgba": _saved(clear, "PNG"),
        "png palette": _saved(picture.convert("P"), "PNG"),
        "apng": apng(columns, rows),
        "webp": _saved(picture, "WEBP"),
        "webp lossless": _saved(picture, "WEBP", lossless=True),
        "webp alpha": _saved(clear, "WEBP"),
        "webp exif": _saved(picture, "WEBP", exif=turned),
        "webp animated": animated_webp(columns, rows),
        "webp flat": flat_webp(columns, rows),
    }
    for mode in PNG_MODES:
        files[f"png flat {mode}"] = flat_png(columns, rows, mode)
        files[f"png interlaced {mode}"] = flat_png(columns, rows, mode, interlaced=True)
    return files


def _saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()
