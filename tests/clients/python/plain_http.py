"""Python's own HTTP client and four packages; run with a name, a server's addresses and the folder of bodies."""

from __future__ import annotations

import asyncio
import json
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import requests
import urllib3

JSON = {"content-type": "application/json"}
JPEG = {"content-type": "image/jpeg"}
Send = Callable[[str, bytes | Iterator[bytes] | None, Mapping[str, str]], tuple[int, bytes]]
Form = Callable[[str, str, bytes], tuple[int, bytes]]


def exchange(send: Send, form: Form | None, url: str, folder: Path) -> None:
    """Fails with an assertion where the server does not do what the client expects."""
    photo, predict, infer = ((folder / name).read_bytes() for name in ("photo.jpg", "predict.json", "infer.json"))
    assert send(f"{url}/v2/health/ready", None, {})[0] == 200
    print("call ready")
    assert json.loads(send(f"{url}/classify", photo, JPEG)[1])["colour"] == "red"
    print("call picture")
    if form is not None:
        assert json.loads(form(f"{url}/classify", "image", photo)[1])["colour"] == "red"
        print("call form")
    assert json.loads(send(f"{url}/predict", predict, JSON)[1])["model"] == "small-colour"
    print("call JSON")
    assert json.loads(send(f"{url}/v2/models/small-colour/infer", infer, JSON)[1])["id"] == "7"
    print("call v2")
    pieces = (infer[at : at + 50_000] for at in range(0, len(infer), 50_000))
    assert json.loads(send(f"{url}/v2/models/small-colour/infer", pieces, JSON)[1])["id"] == "7"
    print("call v2 in chunks")
    status, answer = send(f"{url}/v2/models/none/infer", infer, JSON)
    assert (status, "no model 'none'" in json.loads(answer)["error"]) == (404, True)
    print("call 404")
    status, answer = send(f"{url}/classify", (folder / "large").read_bytes(), JPEG)
    assert (status, "bytes" in json.loads(answer)["error"]) == (413, True)
    print("call 413")


def with_urllib(url: str, folder: Path) -> None:
    def send(address: str, body: bytes | Iterator[bytes] | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(urllib.request.Request(address, body, dict(headers)), timeout=20) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    exchange(send, None, url, folder)


def with_urllib3(url: str, folder: Path) -> None:
    pool = urllib3.PoolManager(timeout=20)

    def send(address: str, body: bytes | Iterator[bytes] | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        answer = pool.request("GET" if body is None else "POST", address, body=body, headers=dict(headers))
        return answer.status, answer.data

    def form(address: str, name: str, body: bytes) -> tuple[int, bytes]:
        answer = pool.request("POST", address, fields={name: ("photo.jpg", body)})
        return answer.status, answer.data

    exchange(send, form, url, folder)


def with_requests(url: str, folder: Path) -> None:
    with requests.Session() as session:

        def send(address: str, body: bytes | Iterator[bytes] | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
            method = "GET" if body is None else "POST"
            answer = session.request(method, address, data=body, headers=dict(headers), timeout=20)
            return answer.status_code, answer.content

        def form(address: str, name: str, body: bytes) -> tuple[int, bytes]:
            answer = session.post(address, files={name: body}, timeout=20)
            return answer.status_code, answer.content

        exchange(send, form, url, folder)


def with_httpx(url: str, folder: Path) -> None:
    with httpx.Client(timeout=20) as client:

        def send(address: str, body: bytes | Iterator[bytes] | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
            answer = client.request("GET" if body is None else "POST", address, content=body, headers=headers)
            return answer.status_code, answer.content

        def form(address: str, name: str, body: bytes) -> tuple[int, bytes]:
            answer = client.post(address, files={name: body})
            return answer.status_code, answer.content

        exchange(send, form, url, folder)


def with_aiohttp(url: str, folder: Path) -> None:
    with asyncio.Runner() as runner:

        async def ask(address: str, body: Any, headers: Mapping[str, str]) -> tuple[int, bytes]:
            async with session.request(
                "GET" if body is None else "POST", address, data=body, headers=headers
            ) as answer:
                return answer.status, await answer.read()

        async def pieces(body: Iterator[bytes]) -> AsyncIterator[bytes]:
            for piece in body:
                yield piece

        def send(address: str, body: bytes | Iterator[bytes] | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
            given = body if body is None or isinstance(body, bytes) else pieces(body)
            return runner.run(ask(address, given, headers))

        def form(address: str, name: str, body: bytes) -> tuple[int, bytes]:
            data = aiohttp.FormData()
            data.add_field(name, body, filename="photo.jpg")
            return runner.run(ask(address, data, {}))

        async def opened() -> aiohttp.ClientSession:
            return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20))

        session = runner.run(opened())
        exchange(send, form, url, folder)
        runner.run(session.close())


CLIENTS = {
    "urllib": (sys.version.split()[0], with_urllib),
    "urllib3": (version("urllib3"), with_urllib3),
    "requests": (version("requests"), with_requests),
    "httpx": (version("httpx"), with_httpx),
    "aiohttp": (version("aiohttp"), with_aiohttp),
}


if __name__ == "__main__":
    shown, run = CLIENTS[sys.argv[1]]
    print("version", shown)
    run(sys.argv[2], Path(sys.argv[4]))
