"""An artifact is fetched whole and with the required digest, or not at all."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lading.artifact import Artifact
from lading.deploy.fetch import fetch, open_source
from lading.errors import ArtifactError, FetchError
from lading.files import shown
from tests.given.small_artifacts import colour_artifact

OTHER = f"sha256:{'0' * 64}"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return colour_artifact(tmp_path_factory.mktemp("packed") / "small-colour")


@contextlib.contextmanager
def listening(handler: object) -> Iterator[int]:
    """A real HTTP server on a free port; its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)  # type: ignore[arg-type]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    """The files of a folder."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def registry(artifact: Path, *, password: str | None = None) -> type[BaseHTTPRequestHandler]:
    """The handler of an OCI registry with the image ``models/cards:1``; with a password it asks for a token."""
    blobs = {
        f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}": file
        for file in artifact.rglob("*")
        if file.is_file()
    }
    layers = [
        {"digest": digest, "annotations": {"org.opencontainers.image.title": str(file.relative_to(artifact))}}
        for digest, file in blobs.items()
    ]

    class Registry(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            sent = self.headers.get("authorization", "")
            if path == "/token":
                wanted = base64.b64encode(f"me:{password}".encode()).decode()
                good = sent == f"Basic {wanted}"
                self._send(200 if good else 401, json.dumps({"token": "let-me-in"}).encode())
            elif password is not None and sent != "Bearer let-me-in":
                realm = f'Bearer realm="http://{self.headers["host"]}/token",service="registry"'
                self._send(401, b"{}", {"www-authenticate": realm})
            elif path == "/v2/models/cards/manifests/1":
                self._send(200, json.dumps({"schemaVersion": 2, "layers": layers}).encode())
            elif path.startswith("/v2/models/cards/blobs/"):
                self._send(200, blobs[path.rpartition("/")[2]].read_bytes())
            else:
                self._send(404, b"{}")

        def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in ({"content-length": str(len(body))} | (headers or {})).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    return Registry


def test_a_folder_is_copied_and_a_second_time_left_as_it_is(packed: Artifact, tmp_path: Path) -> None:
    fetched = fetch(str(packed.path), packed.digest, tmp_path / "served")
    assert fetched.digest == packed.digest
    before = (tmp_path / "served").stat().st_ino
    assert fetch("s3://nowhere/at-all", packed.digest, tmp_path / "served").digest == packed.digest
    assert (tmp_path / "served").stat().st_ino == before


def test_a_web_server_is_asked_for_the_files_of_the_manifest_alone(packed: Artifact, tmp_path: Path) -> None:
    handler = functools.partial(Quiet, directory=str(packed.path.parent))
    with listening(handler) as port:
        uri = f"http://127.0.0.1:{port}/{packed.path.name}"
        assert fetch(uri, packed.digest, tmp_path / "served").digest == packed.digest
        with pytest.raises(FetchError, match=r"elsewhere/lading\.json is not there"):
            fetch(f"http://127.0.0.1:{port}/elsewhere", packed.digest, tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["served"]


def test_another_artifact_than_the_one_asked_for_is_refused_before_anything_is_written(
    packed: Artifact, tmp_path: Path
) -> None:
    with pytest.raises(ArtifactError, match=f"has the digest {packed.digest}, but {OTHER} is required"):
        fetch(str(packed.path), OTHER, tmp_path / "served")
    assert list(tmp_path.iterdir()) == []


def test_a_torn_artifact_leaves_nothing_behind(packed: Artifact, tmp_path: Path) -> None:
    torn = tmp_path / "torn"
    for name in (*packed.manifest.files, "lading.json"):
        (torn / name).parent.mkdir(parents=True, exist_ok=True)
        (torn / name).write_bytes((packed.path / name).read_bytes())
    (torn / packed.manifest.variants[0].file).write_bytes(b"")
    with pytest.raises(ArtifactError, match="does not match its checksum"):
        fetch(str(torn), packed.digest, tmp_path / "served")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["torn"]


def test_an_older_artifact_is_replaced(packed: Artifact, tmp_path: Path) -> None:
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "lading.json").write_text('{"schema_version": 0, "files": {}}')
    assert fetch(str(packed.path), packed.digest, tmp_path / "served").digest == packed.digest


def test_a_registry_gives_the_layers_by_their_titles(packed: Artifact, tmp_path: Path) -> None:
    with listening(registry(packed.path)) as port:
        assert fetch(f"oci://127.0.0.1:{port}/models/cards:1", packed.digest, tmp_path / "a").digest == packed.digest
        with pytest.raises(FetchError, match="the registry answered 404"):
            fetch(f"oci://127.0.0.1:{port}/models/cards:2", packed.digest, tmp_path / "b")


def test_a_registry_that_asks_for_a_login_is_given_it(
    packed: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with listening(registry(packed.path, password="open")) as port:
        uri = f"oci://127.0.0.1:{port}/models/cards:1"
        with pytest.raises(FetchError, match="set REGISTRY_USERNAME and REGISTRY_PASSWORD"):
            fetch(uri, packed.digest, tmp_path / "a")
        login = base64.b64encode(b"me:open").decode()
        (tmp_path / "config.json").write_text(json.dumps({"auths": {f"127.0.0.1:{port}": {"auth": login}}}))
        assert fetch(uri, packed.digest, tmp_path / "a").digest == packed.digest
        monkeypatch.setenv("REGISTRY_USERNAME", "me")
        monkeypatch.setenv("REGISTRY_PASSWORD", "wrong")
        with pytest.raises(FetchError, match="access to a token was denied") as caught:
            fetch(uri, packed.digest, tmp_path / "b")
        assert "wrong" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("ftp://host/cards", "ftp:// cannot be fetched from"),
        ("gs:///cards", "names no bucket"),
        ("oci://registry", "is not oci://REGISTRY/NAME:TAG"),
        ("https://me:secret@host/cards", "https://host/cards: a key does not belong in the address"),
        ("https://host/cards?sig=secret", "https://host/cards: a key does not belong in the address"),
    ],
)
def test_an_address_that_cannot_be_read_is_one_sentence_without_secrets(uri: str, message: str) -> None:
    with pytest.raises(FetchError, match=message) as caught:
        open_source(uri)
    assert "secret" not in str(caught.value)
    assert "secret" not in shown(uri)
