"""Why a body is not JSON, for the client who sent it. Only called once the parser has refused the body."""

from __future__ import annotations

import re

import orjson

from lading.errors.formats import format_of
from lading.errors.sentences import shown

_AROUND = 16  # characters before and after the place of an error that the sentence shows
_LOOK_BACK = 65_536  # characters before it that are searched for a name
_HEAD = 200
_KEY = re.compile(r'"([^"\\]{1,60})"\s*:')
_NAME = re.compile(r'"name"\s*:\s*"([^"\\]{1,60})"')
_NOT_FINITE = ("nan", "infinity", "inf", "-infinity", "-inf")
_WORDS = {"None": "null", "True": "true", "False": "false"}


def not_json(body: bytes, error: orjson.JSONDecodeError) -> str:
    """The sentence about a body that ``orjson`` refused: what it is, where it is wrong, and what to do.

    Args:
        body: all of it.
        error: the parser's.
    """
    try:
        text = error.doc or body.decode()
    except UnicodeDecodeError as wrong:
        return f"the body is not JSON: {_encoding(body, wrong.start)}"
    what = _other_kind(text)
    if what is not None:
        return f"the body is not JSON: {what}"
    at = error.pos
    rest = text[at : at + _HEAD]
    if rest.lower().startswith(_NOT_FINITE) or text[max(0, at - 1) : at + 8].lower().startswith(_NOT_FINITE):
        where = _named(text, at)
        return f"NaN and Infinity are not JSON numbers (byte {at} of the body{where}): send finite numbers"
    around = text[max(0, at - _AROUND) : at + _AROUND]
    advice = _advice(text, at, rest, error.msg)
    return f"the body is not JSON: {error.msg}: line {error.lineno} column {error.colno}, near {shown(around)}{advice}"


def _encoding(body: bytes, at: int) -> str:
    """What bytes are that are not UTF-8 at one place."""
    known = format_of(body)
    if known == "gzip data":
        return "it is gzip data: add the header content-encoding: gzip"
    if known is not None:
        return f"it is {known}: send JSON in UTF-8, or send an encoded file to /classify"
    for start, name in ((b"\xff\xfe\0\0", "UTF-32"), (b"\0\0\xfe\xff", "UTF-32"), (b"\xff\xfe", "UTF-16")):
        if body.startswith(start):
            return f"it is {name}: send UTF-8"
    if body.startswith(b"\xfe\xff"):
        return "it is UTF-16: send UTF-8"
    return f"byte {at} (0x{body[at]:02x}) is not UTF-8: encode the text as UTF-8, not as Latin-1 or Windows-1252"


def _other_kind(text: str) -> str | None:
    """What a text is that was never meant to be JSON."""
    head = text[:_HEAD].lstrip()
    if "\0" in head[:8]:
        return "it has NUL bytes, as UTF-16 or UTF-32 has: send UTF-8"
    known = format_of(head.encode())
    if known is not None:
        return f"it is {known}: send JSON with the header content-type: application/json"
    if head.startswith("@"):
        return (
            f"it is the text {shown(head)}: `curl -d @FILE` and `--data-binary @FILE` send a file, --data-raw does not"
        )
    if re.match(r"[\w.%+-]+=", head):
        return f"it is a form ({shown(head)}): send a JSON object with the header content-type: application/json"
    if head.startswith("data:"):
        return "it is a data URL: send it as a string of a JSON object, by the input's name"
    return None


def _named(text: str, at: int) -> str:
    """The key, and the tensor's name, that come last before a place."""
    before = text[max(0, at - _LOOK_BACK) : at]
    keys, names = _KEY.findall(before), _NAME.findall(before)
    where = f", in {keys[-1]!r}" if keys else ""
    return f"{where} of {names[-1]!r}" if names and keys and keys[-1] == "data" else where


def _advice(text: str, at: int, rest: str, reason: str) -> str:
    """What to do, where the mistake is a known one; it begins with a colon."""
    word = (re.match(r"\w*", rest) or [""])[0]
    more = "send one JSON object per request" if rest.startswith(("{", "[")) else "send one JSON object alone"
    if "after document" in reason and at < _LOOK_BACK and "binary_data_size" in text[:at]:
        size = len(text[:at].encode())
        more = f"raw tensors follow {size} bytes of JSON; name {size} in the header inference-header-content-length"
    known = (
        ("'" in text[max(0, at - 1) : at + 1], "write strings in double quotes (in Python: json.dumps)"),
        (word in _WORDS, f"{word} is Python's; JSON has {_WORDS.get(word)} (in Python: json.dumps)"),
        (word.lower() in _WORDS.values(), f"JSON has {word.lower()}, in lower case"),
        (rest.startswith('\\"'), "the quotes are escaped once too often"),
        ("string key" in reason, "write names in straight double quotes"),
        ("after sign" in reason, "write numbers with a digit on each side of the point, and without a plus"),
        ("as double" in reason, "send numbers that fit 64 bits"),
        ("control character" in reason, "escape line breaks and tabs inside strings"),
        ("depth limit" in reason, "nest as many lists as the input has dims"),
        (rest.startswith(("//", "/*", "#")), "JSON has no comments"),
        ("trailing comma" in reason, "remove the comma before the bracket"),
        ("after document" in reason, more),
        ("end of data" in reason, "the body ends too early; was all of it sent?"),
        (True, 'send a JSON object such as {"input": [[1, 2]]}'),
    )
    return next(f": {advice}" for holds, advice in known if holds)
