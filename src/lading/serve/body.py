"""The picture that a request's body or its form carries."""

from __future__ import annotations

from lading.errors import ContentTypeError
from lading.serve.form import file_in_form
from lading.serve.http_call import HttpCall

_RAW = ("", "application/octet-stream", "binary/octet-stream")
_HINT = (
    "send a JPEG, PNG or WebP file as the body (curl --data-binary @photo.jpg) "
    "or as a form's file (curl -F file=@photo.jpg)"
)


def picture_in(call: HttpCall, body: bytes) -> bytes:
    """Take an encoded picture from a body: the raw body, or the one file of a form, whatever its field is called.

    What the bytes are counts for more than what the header calls them: curl's ``--data-binary`` says
    ``application/x-www-form-urlencoded`` of everything.

    Raises:
        ContentTypeError: neither a picture nor a type that may hold one.
        RequestError: see :func:`lading.serve.form.file_in_form`.
    """
    body = call.inflated(body)
    kind = call.content_type
    if kind == "multipart/form-data":
        return file_in_form(call.headers[b"content-type"].decode("latin-1"), body)
    if _looks_like_picture(body) or kind in _RAW or kind.startswith("image/"):
        return body
    if kind == "application/json":
        raise ContentTypeError(f"/classify does not read JSON: {_HINT}; JSON goes to /predict")
    raise ContentTypeError(f"/classify does not read {kind}: {_HINT}")


def _looks_like_picture(body: bytes) -> bool:
    signatures = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
    return body.startswith(signatures) or (body[:4] == b"RIFF" and body[8:12] == b"WEBP")
