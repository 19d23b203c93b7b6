"""curl as people type it: what it sends is answered, or refused with the option to use."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lading.artifact import Artifact
from tests.given.live_server import LiveServer, live_server
from tests.given.pictures import encoded
from tests.given.sentences import check_sentence

CURL = shutil.which("curl")
ROW = '{"features": [[1, 2, 3, 4]]}'
TABLE = "/predict?model=small-table"


@pytest.fixture(scope="module")
def live(small: dict[str, Artifact]) -> Iterator[LiveServer]:
    with live_server(small["colour"], small["table"], grpc_port="off") as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "photo.jpg").write_bytes(encoded())
    (tmp_path / "photo.png").write_bytes(encoded("PNG"))
    (tmp_path / "row.json").write_text(ROW)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def curl(live: LiveServer, path: str, *options: str) -> tuple[int, dict[str, object]]:
    assert CURL is not None
    command = [CURL, "-sS", "--noproxy", "*", "-w", "\n%{http_code}", *options, f"{live.url}{path}"]
    body, _, status = subprocess.run(command, capture_output=True, text=True, check=True).stdout.rpartition("\n")
    return int(status), json.loads(body)


@pytest.mark.skipif(CURL is None, reason="curl is not installed")
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("/classify", ["--data-binary", "@photo.jpg"]),
        ("/classify", ["-F", "file=@photo.jpg"]),
        ("/classify", ["-F", "name=ace", "-F", "file=@photo.png;type=image/png", "-F", "note=red"]),
        ("/classify", ["-X", "POST", "-T", "photo.jpg"]),
        (TABLE, ["-d", ROW]),
        (TABLE, ["-d", "@row.json"]),
        (TABLE, ["--json", "@row.json"]),
        (TABLE, ["-H", "content-type: text/plain", "--data-binary", "@row.json"]),
    ],
    ids=str,
)
def test_what_curl_sends_is_answered(live: LiveServer, path: str, options: list[str]) -> None:
    status, answer = curl(live, path, *options)
    assert status == 200, answer


@pytest.mark.skipif(CURL is None, reason="curl is not installed")
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("path", "options", "status", "words"),
    [
        ("/classify", ["-d", "@photo.jpg"], 415, ["--data-binary @photo.jpg"]),
        ("/classify", ["-d", "@photo.png"], 415, ["--data-binary @photo.jpg"]),
        ("/classify", ["-d", "photo.jpg"], 415, ["--data-binary @photo.jpg"]),
        ("/classify", ["-F", "file=photo.jpg"], 400, ["'photo.jpg'", "not a file", "-F file=@FILE"]),
        ("/classify", ["-T", "photo.jpg"], 405, ["does not take PUT", "it takes POST"]),
        ("/classify", [], 405, ["does not take GET", "it takes POST"]),
        (TABLE, ["--data-raw", "@row.json"], 400, ["'@row.json'", "--data-binary @FILE"]),
        (TABLE, ["-d", "features=1,2,3,4"], 400, ["a form", "send a JSON object"]),
        (TABLE, ["-F", "file=@row.json"], 400, ["unknown input 'file'", "-F features=JSON"]),
    ],
    ids=str,
)
def test_what_curl_sends_by_mistake_is_named(
    live: LiveServer, path: str, options: list[str], status: int, words: list[str]
) -> None:
    answered, answer = curl(live, path, *options)
    assert answered == status, answer
    check_sentence(str(answer["error"]), words)
