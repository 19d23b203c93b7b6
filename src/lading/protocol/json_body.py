"""A body that must be one JSON object, and what reading it costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

from lading.budget import Budget
from lading.errors import RequestError
from lading.protocol.not_json import not_json

KINDS = {
    list: "a list",
    dict: "an object",
    str: "a string",
    bool: "a boolean",
    type(None): "null",
    int: "an integer",
    float: "a number with a fraction",
}
"""Words for the types of JSON values."""
WANTED = "a JSON object with the inputs by name"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # of UTF-8; Windows programs begin a file with it
_CHUNK = 2**18  # bytes, so that what is computed of them fits a cache


def parse_object(body: bytes, wanted: str = WANTED, budget: Budget | None = None) -> dict[str, Any]:
    """Read a body that must be one JSON object.

    Args:
        body: all of it.
        wanted: what to send, for the error.
        budget: what reading it may cost; default: a body that the caller has bounded.

    Raises:
        RequestError: not JSON (NaN and Infinity are not), or not an object.
        BodyTooLargeError: more values than the budget has.
    """
    return as_object(parse(body, wanted, budget), wanted)


def parse(body: bytes, wanted: str, budget: Budget | None = None) -> Any:
    """Read a body that must be JSON; see :func:`parse_object`."""
    # A value takes a byte or more, so most bodies need no count.
    if budget is not None and len(body) > budget.json_values:
        budget.spend_values(count_values(body))
    if not body or body.isspace():
        raise RequestError(f"the body is empty: send {wanted}")
    try:
        return orjson.loads(body.removeprefix(_BYTE_ORDER_MARK))
    except orjson.JSONDecodeError as error:
        raise RequestError(not_json(body, error)) from None


def as_object(value: Any, wanted: str) -> dict[str, Any]:
    """A JSON value that must be an object.

    Raises:
        RequestError: it is something else.
    """
    if not isinstance(value, dict):
        twice = isinstance(value, str) and value.lstrip().startswith("{")
        advice = " (it is JSON that was encoded twice)" if twice else ""
        raise RequestError(f"the body is {KINDS[type(value)]}{advice}: send {wanted}")
    return value


def count_values(body: bytes) -> int:
    """An upper bound of what JSON costs as Python objects, in numbers: a list or a key costs as much as two.

    It counts commas, brackets and colons, also those inside strings. So it takes a millisecond for a few megabytes.
    """
    octets, count = np.frombuffer(body, np.uint8), 0
    for start in range(0, len(octets), _CHUNK):
        part = octets[start : start + _CHUNK]
        count += int(np.count_nonzero(part == ord(",")))
        count += 2 * int(np.count_nonzero((part == ord("[")) | (part == ord("{")) | (part == ord(":"))))
    return count
