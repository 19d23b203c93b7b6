"""What one request may cost to read, counted down while it is read. Nothing is decoded that does not fit."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from lading.errors import BodyTooLargeError, ExpiredError

MAX_PIXELS = 50_000_000
"""Default limit on the pixels (or other elements) of all encoded files of one request."""
MAX_DECODE_BYTES = 64_000_000
"""Default limit on the memory that decoding one file takes."""
MAX_JSON_VALUES = 600_000
"""Default limit on the values of one JSON body. Parsing that many holds the interpreter lock for up to 50 ms.

A value takes up to 90 bytes as Python objects (a character beyond U+FFFF in a string, another string of 73 bytes), and
8 more as an array. A string of base64 takes as many bytes as in the body, or 4 times as many with such a character.
"""


@dataclass(slots=True)
class Budget:
    """The rest of what a request may cost. One per request, so it needs no lock.

    The defaults are for files that the operator trusts; a server takes its limits from its settings.

    Attributes:
        pixels: that its files may still have.
        decode_bytes: that one file may take at once while it is decoded.
        json_values: that its JSON may have.
        deadline: on ``time.perf_counter``, in seconds.
    """

    pixels: int = MAX_PIXELS
    decode_bytes: int = 2**30
    json_values: int = 2**31
    deadline: float = math.inf

    def spend_pixels(self, columns: int, rows: int, noun: str, unit: str = "pixels") -> None:
        """Count the pixels (or other elements) of a file, before any of them is decoded.

        Raises:
            BodyTooLargeError: the request has fewer left.
        """
        pixels = columns * rows
        if pixels > self.pixels:
            raise BodyTooLargeError(
                f"the {noun} has {columns} x {rows} = {pixels} {unit}; at most {self.pixels} are accepted"
            )
        self.pixels -= pixels

    def hold(self, count: int, noun: str) -> None:
        """Refuse a file whose decoding would take ``count`` bytes at once.

        Raises:
            BodyTooLargeError: that is more than one file may take.
        """
        if count > self.decode_bytes:
            raise BodyTooLargeError(
                f"decoding the {noun} takes {count / 1e6:.0f} MB; at most {self.decode_bytes / 1e6:.0f} MB are "
                f"accepted: send a smaller one"
            )

    def spend_values(self, count: int) -> None:
        """Count values that become Python objects, before any of them does.

        Raises:
            BodyTooLargeError: the request has fewer left.
        """
        if count > self.json_values:
            raise BodyTooLargeError(
                f"the request has more than {self.json_values} values, which is the most that are accepted as JSON or "
                "as typed contents: send raw bytes (binary_data_size, raw_input_contents) or encoded files"
            )
        self.json_values -= count

    def check_time(self) -> None:
        """Stop reading once the deadline has passed.

        Raises:
            ExpiredError: it has.
        """
        if time.perf_counter() > self.deadline:
            raise ExpiredError("the deadline passed while the request was being read")
