"""Base64 as clients write it is the same file, and what is no base64 is refused by a sentence."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.errors import RequestError
from lading.protocol.base64_files import from_base64
from lading.spec import TensorSpec
from tests.given.sentences import check_sentence

IMAGE = TensorSpec(name="photo", dtype="uint8", shape=("batch", 8, 12, 3), content="image")
BREAKS = st.sampled_from(["", "\n", "\r\n"])
START = st.sampled_from(["", "data:image/jpeg;base64,", "data:;base64,"])
ALPHABET = st.sampled_from([base64.b64encode, base64.urlsafe_b64encode])
PADDING = st.sampled_from(["", "="])


def outcome(value: object) -> bytes | str:
    """The file, or the sentence of the refusal."""
    try:
        return from_base64(IMAGE, 7, value)
    except RequestError as error:
        return str(error)


@given(st.binary(max_size=300), st.tuples(START, BREAKS, PADDING), st.integers(1, 80), ALPHABET)
def test_line_breaks_urls_alphabet_and_missing_padding_change_nothing(
    content: bytes, how: tuple[str, str, str], width: int, encode: Callable[[bytes], bytes]
) -> None:
    start, line_break, padding = how
    text = encode(content).decode()
    text = text if padding else text.rstrip("=")
    folded = line_break.join(text[at : at + width] for at in range(0, len(text), width))
    assert from_base64(IMAGE, 0, start + folded) == content


@given(st.text(max_size=200) | st.integers() | st.none() | st.lists(st.text(), max_size=3))
def test_anything_is_a_file_or_a_sentence(value: object) -> None:
    read = outcome(value)
    assert isinstance(read, bytes) or read.startswith("input 'photo', picture 7")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("photo.jpg", ["'photo.jpg'", "not its name or address"]),
        ("/home/me/photo.jpg", ["not its name or address"]),
        ("https://example.com/photo.jpg", ["not its name or address"]),
        ("a b", ["not base64", "'a b'"]),
        ("AAAAA", ["not base64"]),
        ("größe", ["not base64"]),
        (3, ["is 3", "a string of base64"]),
        (None, ["is null", "a string of base64"]),
        (["A"], ["is ['A']", "a string of base64"]),
    ],
)
def test_what_is_no_base64_is_named(value: object, words: list[str]) -> None:
    with pytest.raises(RequestError) as refused:
        from_base64(IMAGE, 0, value)
    check_sentence(str(refused.value), ["input 'photo', picture 0", *words])
