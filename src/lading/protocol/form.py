"""The one file of an HTML form (``multipart/form-data``), read without temporary files."""

from __future__ import annotations

import logging
import re

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


def file_in_form(content_type: str, body: bytes) -> bytes:
    """Return the content of a form's one file, whatever its field is called. Fields of text are ignored.

    Args:
        content_type: the request's header, with the boundary.
        body: the whole body.

    Raises:
        RequestError: no form, too many fields, or not exactly one file that is complete.
    """
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
    _refuse_many_delimiters(boundary, body)
    parts = _Parts()
    try:
        # The parser bounds the boundary, and the number and length of a part's headers.
        MultipartParser(boundary, parts.callbacks()).write(body)  # type: ignore[arg-type]
    except FormParserError as error:
        raise RequestError(f"the form cannot be read: {error}") from None
    if parts.file is None and parts.text is not None:
        name, value = (shown(part[:_LONGEST_SHOWN].decode("utf-8", "replace")) for part in parts.text)
        raise RequestError(
            f"the form's field {name} is the text {value} and not a file; send exactly one file (curl -F file=@FILE)"
        )
    if parts.file is None:
        raise RequestError("the form has no complete file; send exactly one (curl -F file=@FILE)")
    if not parts.file and not parts.named:
        raise RequestError("the form's file is empty and has no name: no file was chosen")
    return parts.file


def _refuse_many_delimiters(boundary: bytes, body: bytes) -> None:
    """Bound the bytes that the parser reads one by one: those that follow a delimiter.

    Raises:
        RequestError: more of them, or blanks that follow one.
    """
    delimiter = b"\r\n--" + boundary
    if body.count(delimiter) > _MOST_DELIMITERS:
        raise too_many_fields()
    at = body.find(delimiter)
    while at >= 0:
        at += len(delimiter)
        if body[at : at + _MOST_BLANKS].isspace() and not body.startswith(b"\r\n", at):
            raise RequestError("the form cannot be read: a delimiter is followed by blanks")
        at = body.find(delimiter, at)


def too_many_fields() -> RequestError:
    """What is answered to a form of more fields than anyone needs."""
    return RequestError(
        f"the form has more than {_MOST_FIELDS} fields besides its file; send exactly one file (curl -F file=@FILE)"
    )


class _Parts:
    """Takes the one file, and refuses another one before it is read."""

    def __init__(self) -> None:
        self.file: bytes | None = None
        self.named = False
        """The file has a name."""
        self.text: tuple[bytes, bytes] | None = None
        """Name and first bytes of the first field that is no file."""
        self._data = bytearray()
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self._is_file = False
        self._parts = 0

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
            raise too_many_fields()

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
        if self._is_file and self.file is not None:
            raise RequestError("the form has more than one file; send exactly one (curl -F file=@FILE)")
        self.named = self.named or extended or bool(options.get(b"filename"))

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._data += data[start : end if self._is_file else min(end, start + _LONGEST_SHOWN)]

    def _part_end(self) -> None:
        data, self._data = self._data, bytearray()
        if self._is_file:
            self.file = bytes(data)
        elif self.text is None:
            name = parse_options_header(self._disposition)[1].get(b"name", b"")
            self.text = (name, bytes(data[:_LONGEST_SHOWN]))
