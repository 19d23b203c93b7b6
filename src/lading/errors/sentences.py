"""Parts of the sentences of errors: what a client sent, and what exists instead."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

LONGEST_SENTENCE = 500
"""Maximum characters of an error that a client gets."""
_LONGEST_VALUE = 60  # characters of one client's value in it
_MOST_ENTRIES = 8
_LARGEST_INTEGER = 10**40
_SCALARS = (int, float, str, bool, type(None))
_MOST_NAMES = 100  # that are compared with a client's


def clipped(sentence: str, longest: int = LONGEST_SENTENCE) -> str:
    """The sentence in at most ``longest`` characters, with an ellipsis where characters are missing."""
    return sentence if len(sentence) <= longest else f"{sentence[: longest - 3]}..."


def shown(value: Any) -> str:
    """A client's value, short enough for a sentence.

    The value is cut before it is formatted. So the cost does not depend on its size.
    """
    match value:
        case str():
            text = clipped(repr(value[:_LONGEST_VALUE]), _LONGEST_VALUE + 2) + "..." * (len(value) > _LONGEST_VALUE)
        case bytes():
            text = shown(value[: _LONGEST_VALUE + 1].decode("latin-1"))
        case list() | tuple() if len(value) <= _MOST_ENTRIES and all(type(entry) in _SCALARS for entry in value):
            text = clipped(f"[{', '.join(map(shown, value))}]", _LONGEST_VALUE)
        case list() | tuple() | dict():
            entries = f"{len(value)} {'entry' if len(value) == 1 else 'entries'}"
            text = f"{'an object' if isinstance(value, dict) else 'a list'} of {entries}"
        case int() if abs(value) >= _LARGEST_INTEGER:
            text = f"an integer of {value.bit_length()} bits"
        case bool() | None:
            text = {True: "true", False: "false", None: "null"}[value]
        case int() | float():
            text = repr(value)
        case _:
            text = f"a value of type {type(value).__name__}"
    return text


def meant(name: Any, known: Sequence[str]) -> str:
    """What comes between a wrong name and the list of those that exist: the most similar one, or a semicolon."""
    lower = {one.lower(): one for one in known[:_MOST_NAMES]}
    near = difflib.get_close_matches(name[:_LONGEST_VALUE].lower(), lower, n=1) if isinstance(name, str) else []
    return f"; did you mean {lower[near[0]]!r}?" if near else ";"


def unknown(noun: str, name: Any, known: Sequence[str]) -> str:
    """The sentence about a name that is none of the known ones.

    Args:
        noun: what has the name, singular.
        name: as the client sent it; ``None`` or empty: there is none.
        known: the names that exist.
    """
    what = f"unknown {noun} {shown(name)}" if name else f"an {noun} has no name"
    return f"{what}{meant(name, known)} the {noun}s are: {', '.join(known)}"
