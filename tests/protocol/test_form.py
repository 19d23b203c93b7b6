"""A form holds one file; what a client repeats in it is refused before it is read byte by byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.errors import RequestError
from lading.protocol.form import file_in_form
from tests.given.work import lines_run

TYPE = "multipart/form-data; boundary=b"
HEAD = b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n'
END = b"\r\n--b--\r\n"
REPEATED = {
    "parts": HEAD + b"\r\nx\r\n",
    "delimiters": b"\r\n--b",
    "delimiters that do not end": b"\r\n--bx",
    "delimiters with half a line break": b"\r\n--b\r",
    "delimiters with half an end": b"\r\n--b-",
    "blanks": b" ",
    "tabs and line breaks": b"\t\r\n",
    "line breaks": b"\r\n",
    "hyphens": b"-",
    "headers": b"a: b\r\n",
    "bytes": b"a",
    "empty headers": b":\r\n",
}
STARTS = {
    "the body": b"",
    "a line break": b"\r\n",
    "a delimiter": b"--b",
    "the headers of a part": HEAD,
    "the value of a header": HEAD + b"a: ",
    "a part": HEAD + b"\r\n",
    "the end of a part": HEAD + b"\r\nx\r\n--b",
    "the end of the form": HEAD + b"\r\nx\r\n--b--",
}


@pytest.mark.parametrize("repeated", REPEATED.values(), ids=REPEATED)
@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_the_work_for_a_form_does_not_grow_with_what_is_repeated(start: bytes, repeated: bytes) -> None:
    assert lines_run(lambda: file_in_form(TYPE, start + repeated * 20_000 + END)) < 60_000


@pytest.mark.parametrize("parameter", ["; a=b", '; a="\\"', "; a*1=b", ";", '; boundary="'])
def test_a_content_type_of_many_parameters_is_refused(parameter: str) -> None:
    assert lines_run(lambda: file_in_form("multipart/form-data" + parameter * 5_000, HEAD + END)) < 1_000


@given(st.binary())
def test_the_file_is_what_was_sent(content: bytes) -> None:
    boundary = b"0123456789abcdef"
    body = HEAD.replace(b"--b", b"--" + boundary) + b"\r\n" + content + END.replace(b"--b", b"--" + boundary)
    assert file_in_form(f"multipart/form-data; boundary={boundary.decode()}", body) == content


def test_two_files_are_refused() -> None:
    with pytest.raises(RequestError, match="more than one file"):
        file_in_form(TYPE, HEAD + b"\r\nx\r\n" + HEAD + b"\r\ny" + END)
