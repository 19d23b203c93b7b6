"""Which way up a picture is, from its EXIF, or from XMP where EXIF does not say."""

from __future__ import annotations

import re

from PIL import Image

from lading.errors import PictureError

MAX_METADATA = 2**18
"""Bytes of EXIF or XMP that are read. A camera writes at most 64 kB."""
_ORIENTATION = 0x0112
"""Tag of EXIF."""
_IN_XMP = re.compile(rb'tiff:Orientation(="|>)([0-9])')


def orientation_of(tags: Image.Exif) -> int:
    """The orientation among parsed tags, from 1 to 8; 1 where it is absent or not valid."""
    found = tags.get(_ORIENTATION, 1)
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def read_orientation(exif: bytes, xmp: bytes) -> int:
    """Read the orientation, from 1 (upright) to 8.

    Args:
        exif: with or without the prefix ``Exif``; may be empty.
        xmp: may be empty.

    Raises:
        PictureError: the EXIF or XMP is longer than :data:`MAX_METADATA`, or the EXIF is damaged.
    """
    if len(exif) > MAX_METADATA or len(xmp) > MAX_METADATA:
        raise PictureError(f"the picture has more than {MAX_METADATA} bytes of EXIF or XMP: remove its metadata")
    if exif:
        tags = Image.Exif()
        try:
            tags.load(exif)
            if _ORIENTATION in tags:
                return orientation_of(tags)
        except Exception as error:  # Pillow's parser raises almost anything for damaged bytes
            raise PictureError(f"the picture's EXIF cannot be read ({error}): remove its metadata") from None
    in_xmp = _IN_XMP.search(xmp)
    return int(in_xmp[2]) if in_xmp and in_xmp[2] in b"12345678" else 1
