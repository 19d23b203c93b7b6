"""HTML forms (``multipart/form-data``), read without temporary files."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from lading.errors import RequestError
from lading.errors.sentences import shown

_MOST_FIELDS = 16  # of text, such as the name and the type of the file
_MOST_DELIMITERS = _MOST_FIELDS + 2  # that follow a line break: the first one begins the body
_MOST_BLANKS = 100
# It logs a warning for each form that it cannot read, and a client may send many.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
_LONGEST_TYPE = 1024  # characters of the content type
_LONGEST_SHOWN = 100  # bytes of a field's name and text
# ``filename*`` alone is how some clients name a file that is not ASCII (RFC 5987).
_EXTENDED_NAME = re.compile(rb";\s*filename\*\s*=", re.IGNORECASE)


class Field(NamedTuple):
    """One field of a form."""

    name: str
    data: bytes
    is_file: bool


def file_in_form(content_type: str, body: bytes) -> bytes:
    """Return the content of a form's one file, whatever its field is called. Fields of text are ignored.

    Args:
        content_type: the request's header, with the boundary.
        body: the whole body.

    Raises:
        RequestError: no form, too many fields, or not exactly one file that is complete.
    """
    parts = _read(content_type, body, _Parts(most_files=1, most_text=_LONGEST_SHOWN))
    files = [field.data for field in parts.fields if field.is_file]
    text = next((field for field in parts.fields if not field.is_file), None)
    if not files and text is not None:
        name, value = shown(text.name), shown(text.data.decode("utf-8", "replace"))
        raise RequestError(
            f"the form's field {name} is the text {value} and not a file; send exactly one file (curl -F file=@FILE)"
        )
    if not files:
        raise RequestError("the form has no complete file; send exactly one (curl -F file=@FILE)")
    if not files[0] and not parts.named:
        raise RequestError("the form's file is empty and has no name: no file was chosen")
    return files[0]


def fields_of_form(content_type: str, body: bytes) -> list[Field]:
    """Return all fields of a form in their order, at most 17.

    Raises:
        RequestError: no form, or too many fields.
    """
    return _read(content_type, body, _Parts(most_files=_MOST_FIELDS + 1, most_text=len(body))).fields


def _read(content_type: str, body: bytes, parts: _Parts) -> _Parts:
    # Parsed in Python, parameter by parameter.
    options = parse_options_header(content_type)[1] if len(content_type) <= _LONGEST_TYPE else {}
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise RequestError(
            "the form cannot be read: its content type names no boundary; let the HTTP library set the header"
        )
    if b"--" + boundary not in body:
        raise RequestError(
            f"the form cannot be read: its content type names the boundary {shown(boundary)}, which the body does "
            "not have; let the HTTP library set the header"
        )
    _refuse_many_delimiters(boundary, body, parts.too_many)
    try:
        # The parser bounds the boundary, and the number and length of a part's headers.
        MultipartParser(boundary, parts.callbacks()).write(body)  # type: ignore[arg-type]
    except FormParserError as error:
        raise RequestError(f"the form cannot be read: {error}") from None
    return parts


def _refuse_many_delimiters(boundary: bytes, body: bytes, too_many: Callable[[], RequestError]) -> None:
    """Bound the bytes that the parser reads one by one: those that follow a delimiter.

    Raises:
        RequestError: more of them, or blanks that follow one.
    """
    delimiter = b"\r\n--" + boundary
    if body.count(delimiter) > _MOST_DELIMITERS:
        raise too_many()
    at = body.find(delimiter)
    while at >= 0:
        at += len(delimiter)
        if body[at : at + _MOST_BLANKS].isspace() and not body.startswith(b"\r\n", at):
            raise RequestError("the form cannot be read: a delimiter is followed by blanks")
        at = body.find(delimiter, at)


class _Parts:
    """Takes the fields, and refuses another file than the allowed ones before it is read."""

    def __init__(self, most_files: int, most_text: int) -> None:
        self.fields: list[Field] = []
        self.named = False
        """A file has a name."""
        self._most_files, self._most_text = most_files, most_text
        self._files = self._parts = 0
        self._data = bytearray()
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self._is_file = False

    def too_many(self) -> RequestError:
        """What is answered to a form of more fields than anyone needs."""
        if self._most_files > 1:
            return RequestError(f"the form has more than {_MOST_FIELDS + 1} fields: send so many rows as JSON")
        return RequestError(
            f"the form has more than {_MOST_FIELDS} fields besides its file; send exactly one file (curl -F file=@FILE)"
        )

    def callbacks(self) -> dict[str, object]:
        names = (
            "part_begin",
            "part_data",
            "part_end",
            "header_field",
            "header_value",
            "header_end",
            "headers_finished",
        )
        return {f"on_{name}": getattr(self, f"_{name}") for name in names}

    def _part_begin(self) -> None:
        self._disposition = b""
        self._parts += 1
        if self._parts > _MOST_FIELDS + 1:
            raise self.too_many()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header, self._value = bytearray(), bytearray()

    def _headers_finished(self) -> None:
        options = parse_options_header(self._disposition)[1]
        extended = _EXTENDED_NAME.search(self._disposition) is not None
        self._is_file = extended or b"filename" in options
        self._files += self._is_file
        if self._files > self._most_files:
            raise RequestError("the form has more than one file; send exactly one (curl -F file=@FILE)")
        self.named = self.named or extended or bool(options.get(b"filename"))

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._data += data[start : end if self._is_file else min(end, start + self._most_text)]

    def _part_end(self) -> None:
        data, self._data = self._data, bytearray()
        name = parse_options_header(self._disposition)[1].get(b"name", b"")[:_LONGEST_SHOWN]
        kept = bytes(data) if self._is_file else bytes(data[: self._most_text])
        self.fields.append(Field(name.decode("utf-8", "replace"), kept, self._is_file))
