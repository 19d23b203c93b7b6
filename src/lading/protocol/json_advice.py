"""What to do about JSON that is no tensor, where the mistake is a known one."""

from __future__ import annotations

from typing import Any

_LONGEST_NUMBER = 40  # characters
_MOST_DIMS = 16
_OTHER_PROTOCOLS = ("inputs", "instances", "data", "input", "ndarray", "dataframe_split", "features")


def advice_on(item: Any) -> str:
    """What to do about a value of another type, where the mistake is a known one; it begins with a colon."""
    match item:
        case {"b64": str()}:
            return ": send the string of base64 itself, without an object around it"
        case {"0": _}:
            return ": send a list (in JavaScript: Array.from(array) for a typed array)"
        case str() if item[:_LONGEST_NUMBER].lstrip().startswith("["):
            return ": send the list itself, not a string that holds it"
        case str() if _is_number(item):
            return ": send numbers without quotes"
        case None:
            return ": send a value in its place"
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text[:_LONGEST_NUMBER])
    except ValueError:
        return False
    return True


def advice_on_name(name: str, value: Any, names: list[str]) -> str:
    """What to do about an unknown input, where the client speaks another protocol; it begins with a semicolon."""
    match value:
        case [{"datatype": _}, *_]:
            return "; this is a request of the Open Inference Protocol, which goes to /v2/models/NAME/infer"
        case [*_] | {} if name in _OTHER_PROTOCOLS:
            return f'; /predict takes a list by each input\'s name, such as {{"{names[0]}": [...]}}'
    return ""


def first_shape(value: Any) -> list[int]:
    """The shape of nested lists, as the first entry of each list tells it."""
    shape: list[int] = []
    while isinstance(value, list) and len(shape) < _MOST_DIMS:
        shape.append(len(value))
        value = value[0] if value else None
    return shape
