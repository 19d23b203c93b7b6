"""The one file of an HTML form (``multipart/form-data``), read without temporary files."""

from __future__ import annotations

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from lading.errors import RequestError


def file_in_form(content_type: str, body: bytes) -> bytes:
    """Return the content of a form's one file, whatever its field is called.

    Args:
        content_type: the request's header, with the boundary.
        body: the whole body.

    Raises:
        RequestError: no form, a field that is not a file, or not exactly one file that is complete.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not boundary:
        raise RequestError("the form cannot be read: its content type names no boundary")
    parts = _Parts()
    try:
        MultipartParser(boundary, parts.callbacks()).write(body)  # type: ignore[arg-type]
    except FormParserError as error:
        raise RequestError(f"the form cannot be read: {error}") from None
    if len(parts.files) != 1:
        raise RequestError(f"the form has {len(parts.files)} complete files; send exactly one (curl -F file=@FILE)")
    return bytes(parts.files[0])


class _Parts:
    """Collects the files that the parser comes across."""

    def __init__(self) -> None:
        self.files: list[bytearray] = []
        self._data = bytearray()
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = b""

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
        self._data, self._disposition = bytearray(), b""

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
        if b"filename" not in options and b"filename*" not in options:
            name = options.get(b"name", b"").decode("utf-8", "replace")
            raise RequestError(f"the form's field {name!r} is not a file; a form carries one file and nothing else")

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._data += data[start:end]

    def _part_end(self) -> None:
        self.files.append(self._data)
