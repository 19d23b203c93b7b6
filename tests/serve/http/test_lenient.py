"""What has one meaning is read, although it is not how a request should look; what would be a wrong answer is not."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.given.live_server import LiveServer
from tests.given.pictures import encoded

JPEG = encoded()
TEXT = base64.b64encode(JPEG).decode()
TABLE = "/v2/models/small-table/infer"
ROW = np.array([1, 2, 3, 4], np.float32).tobytes()
RAW = {"inference-header-content-length": "0"}


def part(disposition: str, content: bytes) -> bytes:
    return b"--b\r\nContent-Disposition: form-data; " + disposition.encode() + b"\r\n\r\n" + content + b"\r\n"


FILE = part('name="file"; filename="photo.jpg"', JPEG)
FORMS = {
    "Uppy: name and type, then the file": part('name="name"', b"photo.jpg") + part('name="type"', b"image/jpeg") + FILE,
    "FilePond: metadata, then the file": part('name="filepond"', b"{}") + part('name="filepond"; filename="a"', JPEG),
    "the file, then fields": FILE + part('name="relativePath"', b"null") + part('name="token"', b""),
    "filename* alone": part("name=\"file\"; filename*=UTF-8''gr%C3%B6%C3%9Fe.jpg", JPEG),
    "filename* and filename": part('name="file"; filename="a.jpg"; filename*=UTF-8\'\'a.jpg', JPEG),
    "a name without quotes": part("name=file; filename=photo.jpg", JPEG),
    "sixteen fields": part('name="a"', b"b") * 16 + FILE,
}
BODIES = {
    "base64 as text": (TEXT.encode(), "text/plain"),
    "base64 without a type": (TEXT.encode(), None),
    "base64 as curl -d sends it": (TEXT.encode(), "application/x-www-form-urlencoded"),
    "base64 with line breaks": (base64.encodebytes(JPEG), "text/plain"),
    "base64 for URLs, without padding": (base64.urlsafe_b64encode(JPEG).rstrip(b"="), "text/plain"),
    "a data URL": (b"data:image/jpeg;base64," + TEXT.encode(), "text/plain;charset=UTF-8"),
}


@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS)
def test_a_form_may_have_fields_of_text_next_to_its_file(pictures: LiveServer, body: bytes) -> None:
    answer = pictures.client.post(
        "/classify", content=body + b"--b--\r\n", headers={"content-type": "multipart/form-data; boundary=b"}
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["colour"] == "red"


def test_a_form_of_more_fields_is_refused(pictures: LiveServer) -> None:
    body = part('name="a"', b"b") * 17 + FILE + b"--b--\r\n"
    answer = pictures.client.post(
        "/classify", content=body, headers={"content-type": "multipart/form-data; boundary=b"}
    )
    assert answer.status_code == 400
    assert "more than 16 fields" in answer.json()["error"]


@pytest.mark.parametrize(("body", "kind"), BODIES.values(), ids=BODIES)
def test_a_file_may_come_as_base64(pictures: LiveServer, body: bytes, kind: str | None) -> None:
    answer = pictures.client.post("/classify", content=body, headers={"content-type": kind} if kind else {})
    assert answer.status_code == 200, answer.text
    assert answer.json()["colour"] == "red"


def test_text_that_is_no_file_is_refused_by_its_type(pictures: LiveServer) -> None:
    answer = pictures.client.post("/classify", content=b"A" * 400, headers={"content-type": "text/plain"})
    assert answer.status_code == 415


@pytest.mark.parametrize(
    "kind",
    ["text/plain;charset=UTF-8", "text/json", "application/vnd.api+json", "application/octet-stream", "", None],
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["", "byte order mark"])
def test_json_may_have_another_type(table: LiveServer, kind: str | None, mark: bytes) -> None:
    body = mark + json.dumps({"features": [[1, 2, 3, 4]]}).encode()
    answer = table.client.post("/predict", content=body, headers={} if kind is None else {"content-type": kind})
    assert answer.status_code == 200, answer.text
    assert answer.json()["outputs"]["total"] == [[10]]


@pytest.mark.parametrize(
    ("accept", "json_alone"),
    [
        ("application/json", True),
        ("Application/JSON;q=0.9, text/plain", True),
        ("application/json, text/plain, */*", False),
        ("application/octet-stream, application/json", False),
        ("*/*", False),
        (None, False),
    ],
)
def test_a_raw_request_that_accepts_json_alone_gets_json(
    table: LiveServer, accept: str | None, json_alone: bool
) -> None:
    asked: Mapping[str, str] = RAW if accept is None else RAW | {"accept": accept}
    table.client.headers.pop("accept", None)
    request = table.client.build_request("POST", TABLE, content=ROW, headers=asked)
    if accept is None:
        request.headers.pop("accept", None)
    answer = table.client.send(request)
    assert answer.status_code == 200, answer.text
    assert (answer.headers["content-type"] == "application/json") == json_alone
    if json_alone:
        assert answer.json()["outputs"][0]["data"] == [10]


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}, {"quality": 30}], ids=str)
def test_a_photo_that_curl_has_stripped_is_never_answered(pictures: LiveServer, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    for size in (16, 40, 90):
        noise = Image.fromarray(rng.integers(0, 256, (size, size, 3), np.uint8))
        for kind in ("JPEG", "PNG", "WEBP"):
            stripped = (
                encoded(kind, noise, **(options if kind == "JPEG" else {})).replace(b"\r", b"").replace(b"\n", b"")
            )
            form = {"content-type": "application/x-www-form-urlencoded"}
            answer = pictures.client.post("/classify", content=stripped, headers=form)
            assert answer.status_code == 415, (kind, size, answer.text)
            assert "--data-binary" in answer.json()["error"]
