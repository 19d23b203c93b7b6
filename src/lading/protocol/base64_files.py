"""Files in JSON: text as it is, and all others as base64, as clients write it.

That is: plain, as a data URL, with line breaks, or in the alphabet for URLs.
"""

from __future__ import annotations

import base64
import contextlib
from typing import Any

from lading.content import content_of
from lading.errors.sentences import shown
from lading.spec import TensorSpec

_STANDARD = bytes.maketrans(b"-_", b"+/")
_SHOWN = 24  # characters of a string that is not base64
_LONGEST_NAME = 256


def from_base64(spec: TensorSpec, row: int, text: Any) -> bytes:
    """Decode a base64 string, or a data URL as a browser's FileReader makes it, to the bytes of the file.

    Line breaks, the alphabet for URLs and missing padding are read too. Of content that is text, the string itself is
    the file.

    Raises:
        ContentError: the value is neither.
    """
    content = content_of(spec)
    assert content is not None
    if isinstance(text, str) and content.textual:
        return text.encode(errors="replace")
    if isinstance(text, str):
        data = text.partition(",")[2] if text.startswith("data:") else text
        for decode in (_strictly, unfolded_base64):
            with contextlib.suppress(ValueError):
                return decode(data)
    if content.textual:
        raise content.error(f"input {spec.name!r}, {content.noun} {row} is {shown(text)}: send a string")
    raise content.error(f"input {spec.name!r}, {content.noun} {row}{_not_base64(text)}")


def _not_base64(text: Any) -> str:
    """The rest of the sentence about a value that is no base64."""
    if not isinstance(text, str):
        return f" is {shown(text)}: send the file as a string of base64"
    advice = ": send the file's bytes, not its name or address" if _is_address(text) else ""
    return f": the string is not base64 (it begins with {shown(text[:_SHOWN])}){advice}"


def _strictly(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def unfolded_base64(text: str | bytes) -> bytes:
    """Decode base64 with line breaks, in the alphabet for URLs, or without padding.

    Raises:
        ValueError: it is not base64.
    """
    plain = (text.encode("ascii") if isinstance(text, str) else text).translate(_STANDARD, b"\r\n").rstrip(b"=")
    return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)


def _is_address(text: str) -> bool:
    return text.startswith(("http://", "https://", "file://", "s3://", "gs://")) or (
        len(text) < _LONGEST_NAME and "." in text
    )
