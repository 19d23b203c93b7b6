"""Any body that is not JSON is refused by one short sentence, and reading it costs no more than parsing it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.errors import RequestError
from lading.errors.sentences import LONGEST_SENTENCE
from lading.protocol.json_body import parse_object
from tests.given.work import lines_run

WHOLE = json.dumps({"inputs": [{"name": "größe", "shape": [1, 4], "datatype": "FP32", "data": [1.5, 2, 3, 4]}]})
PIECES = ["'", '"', ",", "NaN", "None", "//", "\\", "]", "}", "{", "\0", "\ufeff", "é", "-Infinity", "undefined"]


def sentence(body: bytes) -> str:
    """The sentence about a body; empty for one that is read."""
    try:
        parse_object(body)
    except RequestError as refused:
        return str(refused)
    return ""


@given(st.integers(0, len(WHOLE)), st.integers(0, 8), st.sampled_from(PIECES))
def test_a_body_with_one_mistake_is_read_or_refused_by_a_sentence(at: int, missing: int, piece: str) -> None:
    said = sentence((WHOLE[:at] + piece + WHOLE[at + missing :]).encode())
    assert not said or said.startswith(("the body is ", "NaN and Infinity are not JSON numbers"))
    assert len(said) <= LONGEST_SENTENCE


@given(st.binary(max_size=60), st.sampled_from(["utf-8", "utf-16", "utf-32", "utf-16-le", "latin-1", "cp1252"]))
def test_any_bytes_and_any_encoding_are_read_or_refused_by_a_sentence(body: bytes, encoding: str) -> None:
    for sent in (body, body + b"{}", WHOLE.encode(encoding)):
        assert "Traceback" not in sentence(sent)
        assert len(sentence(sent)) <= LONGEST_SENTENCE


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-le", "utf-16-be", "utf-32-be", "latin-1"])
def test_another_encoding_is_refused_with_the_one_to_use(encoding: str) -> None:
    assert "UTF-8" in sentence(WHOLE.encode(encoding) if encoding != "latin-1" else '{"größe": 1}'.encode("latin-1"))


def test_one_byte_order_mark_is_read_and_two_are_not() -> None:
    assert parse_object(b"\xef\xbb\xbf{}") == {}
    assert "not JSON" in sentence(b"\xef\xbb\xbf" * 2 + b"{}")


@pytest.mark.parametrize("repeated", [b"\xef\xbb\xbf", b"'", b'{"name":', b'"a":', b"\xff", b"NaN,", b"\\", b"<svg"])
def test_the_work_for_a_mistake_does_not_grow_with_the_body(repeated: bytes) -> None:
    assert lines_run(lambda: sentence(repeated * 20_000)) < 200
    assert lines_run(lambda: sentence(b'{"a": [' + repeated * 20_000)) < 200
