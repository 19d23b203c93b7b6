"""Pictures that tests send."""

from __future__ import annotations

import io
from typing import Protocol

from PIL import Image

BODY_LIMIT = 300_000
"""Largest body, in bytes, that the shared server of pictures accepts."""


class Encode(Protocol):
    """Encodes a picture of one colour, or a given one."""

    def __call__(self, kind: str = "JPEG", picture: Image.Image | None = None, **options: object) -> bytes: ...


def encoded(kind: str = "JPEG", picture: Image.Image | None = None, **options: object) -> bytes:
    """A red picture of 64 x 48 pixels, or ``picture``, as a file of a kind that Pillow writes."""
    buffer = io.BytesIO()
    (picture or Image.new("RGB", (64, 48), (230, 20, 20))).save(buffer, kind, **options)
    return buffer.getvalue()
