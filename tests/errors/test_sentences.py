"""The sentences of errors are short, whatever a client sent."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.errors import RequestError
from lading.errors.sentences import LONGEST_SENTENCE, clipped, shown
from lading.protocol.codec import whole_number
from tests.given.work import bytes_taken

JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(), st.lists)
LARGE: dict[str, Any] = {
    "text": "x" * 5_000_000,
    "text that repr makes longer": "\0" * 5_000_000,
    "bytes": b"\xff" * 5_000_000,
    "integer": 10**6000,
    "negative integer": -(10**6000),
    "list": list(range(500_000)),
    "short list of long texts": ["x" * 5_000_000] * 3,
    "short list of large integers": [10**6000] * 8,
    "tuple": tuple(range(500_000)),
    "object": dict.fromkeys(range(500_000)),
}


@given(JSON)
def test_any_value_is_shown_in_one_short_line(value: Any) -> None:
    assert len(shown(value)) <= 80
    assert "\n" not in shown(value)


@pytest.mark.parametrize("value", LARGE.values(), ids=LARGE.keys())
def test_a_large_value_is_cut_before_it_is_formatted(value: Any) -> None:
    assert len(shown(value)) <= 80
    assert bytes_taken(lambda: shown(value)) < 10_000


def test_a_deep_list_is_shown() -> None:
    value: list[Any] = []
    for _ in range(sys.getrecursionlimit() * 10):
        value = [value]
    assert shown(value) == "a list of 1 entry"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([1, 3], "[1, 3]"),
        ((), "[]"),
        ("hearts", "'hearts'"),
        (2.5, "2.5"),
        (True, "true"),
        (None, "null"),
        (b"a\xff", "'aÿ'"),
    ],
)
def test_a_small_value_is_shown_as_it_is(value: Any, text: str) -> None:
    assert shown(value) == text


def test_a_long_sentence_ends_in_an_ellipsis() -> None:
    sentence = str(RequestError("x" * 10_000))
    assert len(sentence) == LONGEST_SENTENCE
    assert sentence.endswith("x...")
    assert clipped("as it is") == "as it is"


@pytest.mark.parametrize("sent", ["0", "1", "16000000", "9" * 18])
def test_a_whole_number_is_read(sent: str) -> None:
    assert whole_number(sent) == whole_number(sent.encode()) == int(sent)


@pytest.mark.parametrize("sent", ["", "-1", "+1", " 1", "1.0", "1e3", "1_0", "0x1", "٣", "²", "9" * 19, "9" * 6000])
def test_what_is_no_whole_number_of_18_digits_is_not_read(sent: str) -> None:
    assert whole_number(sent) is None
    assert whole_number(sent.encode()) is None
