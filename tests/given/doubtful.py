"""Requests whose end two readers may see at different places, and unusual ones that are fine."""

from __future__ import annotations

from collections.abc import Mapping

from tests.given.raw_http import BODY

POST = b"POST /predict HTTP/1.1\r\nhost: x\r\n"
GET = b"GET /livez HTTP/1.1\r\n"
LENGTH = b"content-length: %d\r\n" % len(BODY)
CHUNKED = b"transfer-encoding: chunked\r\n"
CHUNK = b"%x\r\n%s\r\n" % (len(BODY), BODY)
LAST = b"0\r\n\r\n"
SIZE = b"%x" % len(BODY)


def chunked(size_line: bytes, after: bytes = b"\r\n", last: bytes = LAST) -> bytes:
    """A request with one chunk, whose size line, end and last chunk are as given."""
    return POST + CHUNKED + b"\r\n" + size_line + BODY + after + last


REFUSED: Mapping[str, tuple[int, bytes]] = {
    # Two lengths, or one that is no number.
    "length and chunks": (400, POST + LENGTH + CHUNKED + b"\r\n" + CHUNK + LAST),
    "chunks and length": (400, POST + CHUNKED + LENGTH + b"\r\n" + CHUNK + LAST),
    "two lengths": (400, POST + LENGTH * 2 + b"\r\n" + BODY),
    "two lengths that differ": (400, POST + LENGTH + b"content-length: 5\r\n\r\n" + BODY),
    "a list of lengths": (400, POST + b"content-length: 28, 28\r\n\r\n" + BODY),
    "a length with a sign": (400, POST + b"content-length: +28\r\n\r\n" + BODY),
    "a negative length": (400, POST + b"content-length: -1\r\n\r\n" + BODY),
    "a length in hex": (400, POST + b"content-length: 0x1c\r\n\r\n" + BODY),
    "a length of two numbers": (400, POST + b"content-length: 2 8\r\n\r\n" + BODY),
    "an empty length": (400, POST + b"content-length:\r\n\r\n" + BODY),
    "a length above 64 bits": (400, POST + b"content-length: 18446744073709551644\r\n\r\n" + BODY),
    # Transfer codings.
    "gzip before chunks": (501, POST + b"transfer-encoding: gzip, chunked\r\n\r\n" + CHUNK + LAST),
    "gzip before chunks, in two lines": (501, POST + b"transfer-encoding: gzip\r\n" + CHUNKED + b"\r\n" + CHUNK + LAST),
    "gzip alone": (501, POST + b"transfer-encoding: gzip\r\n\r\n" + CHUNK + LAST),
    "a coding that looks like chunks": (501, POST + b"transfer-encoding: xchunked\r\n\r\n" + CHUNK + LAST),
    "chunks with a parameter": (501, POST + b"transfer-encoding: chunked;q=1\r\n\r\n" + CHUNK + LAST),
    "chunks after a tab": (400, POST + b"transfer-encoding: \x0bchunked\r\n\r\n" + CHUNK + LAST),
    "chunks twice": (400, POST + b"transfer-encoding: chunked, chunked\r\n\r\n" + CHUNK + LAST),
    "identity and a length": (400, POST + b"transfer-encoding: identity\r\n" + LENGTH + b"\r\n" + BODY),
    "no coding and a length": (400, POST + b"transfer-encoding:\r\n" + LENGTH + b"\r\n" + BODY),
    "a folded coding": (400, POST + b"transfer-encoding:\r\n chunked\r\n" + LENGTH + b"\r\n" + CHUNK + LAST),
    "chunks by HTTP/1.0": (400, b"POST /predict HTTP/1.0\r\n" + CHUNKED + b"\r\n" + CHUNK + LAST),
    # Lines and names.
    "a space before the colon": (400, POST + b"content-length : 28\r\n\r\n" + BODY),
    "a tab before the colon": (400, POST + b"content-length\t: 28\r\n\r\n" + BODY),
    "a space before the first header": (400, b"POST /predict HTTP/1.1\r\n host: x\r\n" + LENGTH + b"\r\n" + BODY),
    "a folded header": (400, POST + b"x: a\r\n b\r\n" + LENGTH + b"\r\n" + BODY),
    "a name with a bracket": (400, POST + b"x(y: 1\r\n" + LENGTH + b"\r\n" + BODY),
    "no name": (400, POST + b": 1\r\n" + LENGTH + b"\r\n" + BODY),
    "no colon": (400, POST + b"xyz\r\n" + LENGTH + b"\r\n" + BODY),
    "a value with a zero": (400, POST + b"x: a\0b\r\n" + LENGTH + b"\r\n" + BODY),
    "bare line feeds": (400, b"POST /predict HTTP/1.1\nhost: x\ncontent-length: 28\n\n" + BODY),
    "a bare line feed after a header": (400, POST + b"x: y\n" + LENGTH + b"\r\n" + BODY),
    "a bare line feed at the end": (400, POST + LENGTH + b"\n" + BODY),
    "a bare carriage return": (400, POST + b"x: y\rcontent-length: 28\r\n\r\n" + BODY),
    # Chunks.
    "a chunk's size with a sign": (400, chunked(b"+" + SIZE + b"\r\n")),
    "a negative chunk": (400, chunked(b"-" + SIZE + b"\r\n")),
    "a chunk's size with 0x": (400, chunked(b"0x" + SIZE + b"\r\n")),
    "a space before a chunk's size": (400, chunked(b" " + SIZE + b"\r\n")),
    "a space after a chunk's size": (400, chunked(SIZE + b" \r\n")),
    "a chunk's size with an underscore": (400, chunked(b"1_c\r\n")),
    "a chunk's size above 64 bits": (400, chunked(b"10000000000000000" + SIZE + b"\r\n")),
    "an empty chunk's size": (400, chunked(b"\r\n")),
    "a line feed after a chunk's size": (400, chunked(SIZE + b"\n")),
    "a line feed in a chunk's extension": (400, chunked(SIZE + b";a\nx\r\n")),
    "a carriage return in a chunk's extension": (400, chunked(SIZE + b";a\rx\r\n")),
    "a line feed after a chunk": (400, chunked(SIZE + b"\r\n", b"\n")),
    "nothing after a chunk": (400, chunked(SIZE + b"\r\n", b"")),
    "a chunk that is longer than it says": (400, chunked(b"%x\r\n" % (len(BODY) - 1))),
    "a chunk that is shorter than it says": (400, chunked(b"%x\r\n" % (len(BODY) + 1))),
    "a trailer that is a length": (400, chunked(SIZE + b"\r\n", last=b"0\r\ncontent-length: 5\r\n\r\n")),
    "a trailer that is a coding": (400, chunked(SIZE + b"\r\n", last=b"0\r\n" + CHUNKED + b"\r\n")),
    "line feeds at the end": (400, chunked(SIZE + b"\r\n", last=b"0\n\n")),
    # Host.
    "no host": (400, b"POST /predict HTTP/1.1\r\n" + LENGTH + b"\r\n" + BODY),
    "two hosts": (400, POST + b"host: y\r\n" + LENGTH + b"\r\n" + BODY),
    "one host twice": (400, GET + b"host: x\r\nHost: x\r\n\r\n"),
    "a host that is none": (400, GET + b"host: a b\r\n\r\n"),
    "a host that is a mark": (400, GET + b"host: ?\r\n\r\n"),
    "a host that is a zero": (400, GET + b"host: \0\r\n\r\n"),
    "another host after a good one": (400, GET + b"host: x\r\nconnection: close\r\nHost: y\r\n\r\n"),
    "a host with a path": (400, GET + b"host: a/b\r\n\r\n"),
    "a host with a user": (400, GET + b"host: a@b\r\n\r\n"),
    "two hosts by HTTP/1.0": (400, b"GET /livez HTTP/1.0\r\nhost: x\r\nhost: y\r\n\r\n"),
    # Version, method and target.
    "HTTP/0.9": (400, b"GET /livez\r\n"),
    "HTTP/0.9 in the line": (505, b"GET /livez HTTP/0.9\r\n\r\n"),
    "HTTP/2.0 in the line": (505, GET.replace(b"1.1", b"2.0") + b"host: x\r\n\r\n"),
    "HTTP/1.2": (505, GET.replace(b"1.1", b"1.2") + b"host: x\r\n\r\n"),
    "HTTP/3.0": (505, GET.replace(b"1.1", b"3.0") + b"host: x\r\n\r\n"),
    "http in lower case": (400, GET.replace(b"HTTP", b"http") + b"host: x\r\n\r\n"),
    "CONNECT": (501, b"CONNECT x:443 HTTP/1.1\r\nhost: x\r\n\r\n"),
    "a method that is none": (400, b"FETCH /livez HTTP/1.1\r\nhost: x\r\n\r\n"),
    "a space in the target": (400, b"GET /li vez HTTP/1.1\r\nhost: x\r\n\r\n"),
    "a target in UTF-8": (400, "POST /prédict HTTP/1.1\r\nhost: x\r\n".encode() + LENGTH + b"\r\n" + BODY),
    "a target without a slash": (400, b"GET livez HTTP/1.1\r\nhost: x\r\n\r\n"),
    "a star": (400, b"GET * HTTP/1.1\r\nhost: x\r\n\r\n"),
    "an address that is none": (400, b"GET http://[::1/livez HTTP/1.1\r\nhost: x\r\n\r\n"),
    "another scheme": (400, b"GET ftp://x/livez HTTP/1.1\r\nhost: x\r\n\r\n"),
    "TLS": (400, bytes.fromhex("1603010200010001fc0303") + bytes(50)),
}

ANSWERED: Mapping[str, tuple[int, bytes]] = {
    "an extension of a chunk": (200, chunked(SIZE + b";a=b\r\n")),
    "zeros before a size": (200, chunked(b"000" + SIZE + b"\r\n", last=b"000\r\n\r\n")),
    "a trailer": (200, chunked(SIZE + b"\r\n", last=b"0\r\na: b\r\n\r\n")),
    "chunks in capitals": (200, POST + b"Transfer-Encoding: Chunked\r\n\r\n" + CHUNK + LAST),
    "spaces around a length": (200, POST + b"content-length:  %d \t\r\n\r\n" % len(BODY) + BODY),
    "an address": (200, b"POST http://x/predict HTTP/1.1\r\nhost: x\r\n" + LENGTH + b"\r\n" + BODY),
    "an address without a path": (200, b"GET http://x:80 HTTP/1.1\r\nhost: x\r\n\r\n"),
    "an empty host": (200, GET + b"host:\r\n\r\n"),
    "a host with a port": (200, GET + b"host: models_1.example:8080\r\n\r\n"),
    "a host by IPv6 with a zone": (200, GET + b"host: [fe80::1%eth0]:8080\r\n\r\n"),
    "a host by IPv6": (200, GET + b"host: [fe80::1]:8080\r\n\r\n"),
    "a host and other names twice": (200, GET + b"host: x\r\naccept: a\r\naccept: b\r\n\r\n"),
    "an upgrade to h2c": (
        200,
        POST
        + b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"
        + LENGTH
        + b"\r\n"
        + BODY,
    ),
    "an upgrade with chunks": (
        200,
        POST + b"upgrade: websocket\r\nconnection: upgrade\r\n" + CHUNKED + b"\r\n" + CHUNK + LAST,
    ),
    "an upgrade that asks to wait": (
        200,
        POST + b"expect: 100-continue\r\nconnection: upgrade\r\nupgrade: h2c\r\n" + LENGTH + b"\r\n" + BODY,
    ),
    "an upgrade without a body": (200, GET + b"host: x\r\nconnection: keep-alive, Upgrade\r\nupgrade: a/1, b\r\n\r\n"),
    "an upgrade of a path that is none": (
        404,
        b"POST /nothing HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n" + LENGTH + b"\r\n" + BODY,
    ),
}
