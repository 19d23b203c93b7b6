"""What the head of a request may be, and the answer to one that is refused.

llhttp refuses most of what two readers may understand differently: two lengths, a length and chunks, bare line feeds,
folded headers, spaces before a colon. What it lets through is refused here: no host or two, another version, a transfer
coding in addition to chunks, a target that is no path.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import TypeAlias

import httptools

Refusal: TypeAlias = tuple[HTTPStatus, str]
"""Status and sentence."""
Headers: TypeAlias = Sequence[tuple[bytes, bytes]]

MAX_URL = 8_192
"""Bytes of a request's target."""
MAX_HEADERS = 32_768
"""Bytes of a request's target and headers; also of trailers, chunk extensions and other bytes around a chunked body."""
MAX_FIELDS = 100
"""Number of headers of a request."""

_HOST = re.compile(rb"(?:[\w.~!$&'()*+,;=%-]*|\[[0-9A-Fa-fvV:.]+(?:%[\w.~-]+)?\])(?::\d*)?", re.ASCII)
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)", re.IGNORECASE)
_TLS = b"\x16"  # the first byte of a handshake
_HOP = (b"upgrade", b"http2-settings")
# What llhttp says about a fault, and what a client should do instead. The first that matches is taken.
_ADVICE = {
    "header overflow": "send fewer headers",
    "expected http/": "the first line is METHOD, target and HTTP/1.1, with one space between them",
    "method": "methods are in capitals, and the ones here are GET, HEAD, OPTIONS and POST",
    "http version": "send HTTP/1.1",
    "url": "percent-encode spaces and all characters that are not ASCII",
    "content-length": "send Content-Length once, in decimal digits, and without Transfer-Encoding",
    "transfer-encoding": "send Transfer-Encoding: chunked, or Content-Length, but not both",
    "chunk": "a chunk is its size in hex digits, CR LF, its bytes, CR LF; the last one has size 0",
    "header": "a header is its name, a colon and its value on one line that ends with CR LF",
}


class RefusedError(httptools.HttpParserError):
    """Ends the parsing of a request that is refused."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal[1])


def check_head(version: str, headers: Headers, by_name: Mapping[bytes, bytes]) -> None:
    """Refuse a head whose version, host or transfer coding is not one that is read here.

    Args:
        version: such as ``1.1``.
        headers: names in lower case.
        by_name: the same; of several with one name, the last.

    Raises:
        RefusedError: 400, 501 or 505.
    """
    if version not in ("1.1", "1.0"):
        sentence = f"the request is HTTP/{version}: send HTTP/1.1 or HTTP/1.0"
        raise RefusedError((HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, sentence))
    hosts = sum(name == b"host" for name, _ in headers)
    if hosts > 1 or (not hosts and version == "1.1"):
        sentence = f"the request has {hosts or 'no'} Host header{'s' * (hosts > 1)}: HTTP/1.1 needs exactly one"
        raise RefusedError((HTTPStatus.BAD_REQUEST, sentence))
    if hosts and not _HOST.fullmatch(by_name[b"host"]):
        raise RefusedError((HTTPStatus.BAD_REQUEST, "the Host header is not a host name with an optional port"))
    codings = b",".join(value for name, value in headers if name == b"transfer-encoding").lower()
    if codings and version == "1.0":
        sentence = "HTTP/1.0 has no Transfer-Encoding: send Content-Length, or HTTP/1.1"
        raise RefusedError((HTTPStatus.BAD_REQUEST, sentence))
    if codings and codings.strip() != b"chunked":
        sentence = "of transfer codings, only chunked is read here: compress the body with Content-Encoding: gzip"
        raise RefusedError((HTTPStatus.NOT_IMPLEMENTED, sentence))


def path_of(target: bytes, method: bytes) -> bytes:
    """The target of a request as a path with its query: proxies send it with scheme and host.

    Raises:
        RefusedError: it is neither of them.
    """
    absolute = _ABSOLUTE.match(target)
    if absolute is not None and absolute[1] and _HOST.fullmatch(absolute[1]):
        rest = target[absolute.end() :]
        target = rest if rest.startswith(b"/") else b"/" + rest
    elif method == b"CONNECT":
        raise RefusedError((HTTPStatus.NOT_IMPLEMENTED, "CONNECT is for proxies, and this is none: send GET or POST"))
    elif target != b"*" or method != b"OPTIONS":
        raise RefusedError(NO_PATH)
    return target


def without_upgrade(method: bytes, target: bytes, version: str, headers: Headers) -> bytes:
    """The head of a request without its wish for another protocol, which is ignored (RFC 9110, section 7.8).

    The parser would skip the body, and read it as the next request.
    """
    lines = [b"%s %s HTTP/%s" % (method, target, version.encode())]
    for name, value in headers:
        if name == b"connection":
            tokens = (token.strip() for token in value.split(b","))
            kept = b", ".join(token for token in tokens if token.lower() not in _HOP)
            lines.append(b"connection: %s" % kept)
        elif name not in _HOP:
            lines.append(b"%s: %s" % (name, value))
    return b"\r\n".join(lines) + b"\r\n\r\n"


def not_http(error: httptools.HttpParserError, begin: bytes) -> Refusal:
    """Why the parser refused a request.

    Args:
        error: the parser's.
        begin: the first byte that was sent last.
    """
    if begin == _TLS:
        return HTTPStatus.BAD_REQUEST, "what was sent is TLS, and this port speaks plain HTTP: use http://"
    reason = str(error).strip(".")
    advice = next((advice for said, advice in _ADVICE.items() if said in reason.lower()), "send HTTP/1.1")
    status = HTTPStatus.HTTP_VERSION_NOT_SUPPORTED if "HTTP version" in reason else HTTPStatus.BAD_REQUEST
    return status, f"what was sent is not an HTTP/1.1 request ({reason}): {advice}"


def _frame(kind: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, 0, 0) + payload


_SETTINGS, _GOAWAY, _HTTP_1_1_REQUIRED = 4, 7, 0xD
GOAWAY = _frame(_SETTINGS, b"") + _frame(
    _GOAWAY, struct.pack(">II", 0, _HTTP_1_1_REQUIRED) + b"this port speaks HTTP/1.1; gRPC has a port of its own"
)
"""The answer to HTTP/2 with prior knowledge: settings, as every server must begin, then the reason for the end."""

NO_PATH = (HTTPStatus.BAD_REQUEST, "the request's target is not a path that begins with /: send one like /predict")
URL_TOO_LONG = (
    HTTPStatus.REQUEST_URI_TOO_LONG,
    f"the request's target has more than {MAX_URL} bytes: send large values in the body",
)
TOO_LARGE = (
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    f"the headers or trailers have more than {MAX_HEADERS} bytes or {MAX_FIELDS} fields: send fewer",
)
TOO_MUCH_AHEAD = (
    HTTPStatus.TOO_MANY_REQUESTS,
    "too many requests were sent ahead of their answers: read answers before you send more",
)


def check_size(target: bytes, headers: Headers) -> None:
    """Refuse a head that is too large.

    Raises:
        RefusedError: 414 or 431.
    """
    if len(target) > MAX_URL:
        raise RefusedError(URL_TOO_LONG)
    size = len(target) + sum(len(name) + len(value) + 4 for name, value in headers)
    if len(headers) > MAX_FIELDS or size > MAX_HEADERS:
        raise RefusedError(TOO_LARGE)
