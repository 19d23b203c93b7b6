"""PNG: its chunks are read before a pixel is decoded, and Pillow gets only those that decide about the pixels.

All other chunks (texts, colour profiles, frames of an animation) can cost more than the picture, and any of them may be
damaged in a picture that is whole.
"""

from __future__ import annotations

from PIL import Image

from lading.answers import View
from lading.budget import Budget
from lading.content.image.frame import fit_image, frame_bytes, picture_bytes
from lading.content.image.orientation import MAX_METADATA, orientation_of
from lading.content.image.placement import Wanted
from lading.content.image.resizer import Pixels
from lading.content.image.stream import BLOCK, Stream
from lading.errors import PictureError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_CHUNKS = 20_000
"""An encoder that writes 8 kB at a time needs 2,000 for a body of 16 MB."""
_ONCE = (b"IHDR", b"PLTE", b"tRNS", b"eXIf")
_TEXTS = (b"iTXt", b"zTXt", b"tEXt")
_ORIENTED = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")
"""Texts that Pillow reads an orientation from."""
_LENGTH, _NAME, _CHECKSUM = 4, 4, 4
_PIXEL = {"1": 1, "L": 1, "P": 1, "I;16": 2}
"""Bytes per pixel in Pillow's memory, by mode; all others take 4."""
_ROWS = 16
"""Bytes per column of two rows with 16 bits a sample, which the filters need."""


def decode_png(data: bytes, wanted: Wanted, budget: Budget) -> tuple[Pixels, View]:
    """Decode a PNG to RGB pixels of shape (height, width, 3), and say what of it they show.

    Of an animated one it is the first picture.

    Raises:
        PictureError: it is incomplete, or has too many chunks.
        BodyTooLargeError: it does not fit the budget.
        ExpiredError: the deadline passed.
    """
    slim = _slim(data)
    with Image.open(Stream(slim, budget), formats=("PNG",)) as image:
        columns, rows = image.size
        budget.spend_pixels(columns, rows, "picture")
        lying = wanted.around(columns, rows)  # it takes as much when it is turned, which only the loaded file says
        decoded = picture_bytes(columns, rows, _PIXEL.get(image.mode, 4)) + (0 if slim is data else len(slim))
        budget.hold(decoded + max(_ROWS * columns, frame_bytes(columns, rows, lying)), "picture")
        image.decodermaxblock = BLOCK
        image.load()
        orientation = orientation_of(image.getexif()) if wanted.how.exif else 1
        upright = (columns, rows) if orientation < 5 else (rows, columns)
        wanted = wanted.around(*upright)._replace(full=upright)
        return fit_image(image, wanted, orientation, budget), wanted.view


def _slim(data: bytes) -> bytes:
    """The file without the chunks that have no say in the pixels; the same object if there are none."""
    view = memoryview(data)
    kept: list[memoryview] = []
    seen: set[bytes] = set()
    start = at = len(SIGNATURE)
    for _ in range(MAX_CHUNKS):
        name = data[at + _LENGTH : at + _LENGTH + _NAME]
        size = int.from_bytes(view[at : at + _LENGTH], "big")
        end = at + _LENGTH + _NAME + size + _CHECKSUM
        if name == b"IEND" or end > len(data):
            return b"".join([SIGNATURE, *kept, view[start:]]) if kept else data
        needed = name == b"IDAT"
        if name in _ONCE or (name in _TEXTS and data.startswith(_ORIENTED, at + _LENGTH + _NAME)):
            needed = name not in seen
            seen.add(name)
            if size > MAX_METADATA:
                raise PictureError(
                    f"the PNG has a chunk {name.decode()} of {size} bytes; at most {MAX_METADATA} are read: "
                    f"remove its metadata"
                )
        if not needed:
            kept.append(view[start:at])
            start = end
        at = end
    raise PictureError(f"the PNG has more than {MAX_CHUNKS} chunks: save it again")
