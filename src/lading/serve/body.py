"""A request's body, bounded while it streams in; and the picture that a body or a form carries."""

from __future__ import annotations

from starlette.requests import Request

from lading.errors import BodyTooLargeError, ContentTypeError
from lading.serve.form import file_in_form

_RAW = ("", "application/octet-stream", "binary/octet-stream")
_HINT = (
    "send a JPEG, PNG or WebP file as the body (curl --data-binary @photo.jpg) "
    "or as a form's file (curl -F file=@photo.jpg)"
)


async def read_body(request: Request, limit: int) -> bytes:
    """Read the whole body.

    Args:
        request: whose body has not been read yet.
        limit: most bytes.

    Raises:
        BodyTooLargeError: from the declared length, or as soon as more has come than allowed.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise BodyTooLargeError(f"the body has {int(declared)} bytes; at most {limit} are accepted")
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise BodyTooLargeError(f"the body has more than {limit} bytes, which is the most that is accepted")
        chunks.append(chunk)
    return b"".join(chunks)


async def read_picture(request: Request, limit: int) -> bytes:
    """Read an encoded picture: the raw body, or the one file of a multipart form, whatever its field is called.

    What the bytes are counts for more than what the header calls them: curl's ``--data-binary`` says
    ``application/x-www-form-urlencoded`` of everything.

    Raises:
        BodyTooLargeError: more than ``limit`` bytes.
        ContentTypeError: neither a picture nor a type that may hold one.
        RequestError: see :func:`lading.serve.form.file_in_form`.
    """
    kind = content_type(request)
    body = await read_body(request, limit)
    if kind == "multipart/form-data":
        return file_in_form(request.headers["content-type"], body)
    if _looks_like_picture(body) or kind in _RAW or kind.startswith("image/"):
        return body
    if kind == "application/json":
        raise ContentTypeError(f"/classify does not read JSON: {_HINT}; JSON goes to /predict")
    raise ContentTypeError(f"/classify does not read {kind}: {_HINT}")


def content_type(request: Request) -> str:
    """The media type without its parameters, in lower case; empty when there is none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _looks_like_picture(body: bytes) -> bool:
    signatures = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
    return body.startswith(signatures) or (body[:4] == b"RIFF" and body[8:12] == b"WEBP")
