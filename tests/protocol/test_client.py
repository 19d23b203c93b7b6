"""The client asks a real server in every way that it speaks, and says in one sentence what went wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest

from lading.artifact import Artifact
from lading.errors import ClientError, SettingsError
from lading.protocol.client import Access, Client
from tests.given.live_server import live_server
from tests.given.locked_server import locked_server
from tests.given.self_signed import self_signed, signed_by_authority
from tests.given.small_artifacts import colour_artifact, graph_artifact, table_artifact, typed_artifact

PHOTO = Path(__file__).parents[2] / "examples" / "ace-of-hearts.jpg"


@pytest.mark.parametrize("make", [colour_artifact, graph_artifact, table_artifact, typed_artifact])
def test_every_way_of_asking_gives_the_golden_answer(make: Callable[[Path], Artifact], tmp_path: Path) -> None:
    artifact = make(tmp_path / "artifact")
    name, golden = artifact.manifest.name, artifact.golden_inputs()
    wanted = artifact.golden_outputs(artifact.manifest.chosen)
    with live_server(artifact) as live, Client(live.url, live.grpc) as client:
        assert client.ready()
        assert client.get("/model")["digest"] == artifact.digest
        assert client.get(f"/v2/models/{name}")["name"] == name
        answers = [
            client.infer(name, golden, binary=True),
            client.infer(name, golden, binary=False),
            client.infer_grpc(name, golden),
            client.predict(golden),
        ]
    for answer in answers:
        assert answer.keys() == wanted.keys()
        for output, values in wanted.items():
            assert answer[output].shape == values.shape
            np.testing.assert_allclose(answer[output].astype(np.float64), values.astype(np.float64), atol=1e-4)
    for answer in answers[:3]:
        assert {output: values.dtype for output, values in answer.items()} == {
            output: values.dtype for output, values in wanted.items()
        }


@pytest.mark.parametrize("trusted", ["ca.pem", "cert.pem"])
def test_a_certificate_is_trusted_by_its_authority_or_by_itself(tmp_path: Path, trusted: str) -> None:
    _, certificate, key = signed_by_authority(tmp_path, "IP:127.0.0.1")
    artifact = table_artifact(tmp_path / "artifact")
    access = Access(ca=tmp_path / trusted)
    with live_server(artifact, tls_certificate=certificate, tls_key=key) as live:
        url = live.url.replace("http:", "https:")
        with Client(url, live.grpc, access=access) as client:
            assert client.get("/model")["digest"] == artifact.digest
            assert client.infer_grpc(artifact.manifest.name, artifact.golden_inputs())


def test_an_encoded_picture_gives_the_same_answer_in_every_way(tmp_path: Path) -> None:
    artifact = colour_artifact(tmp_path / "colour")
    (given,) = artifact.manifest.inputs
    picture = {given.name: PHOTO.read_bytes()}
    with live_server(artifact) as live, Client(live.url, live.grpc) as client:
        name = artifact.manifest.name
        raw, values = client.infer(name, picture), client.infer(name, picture, binary=False)
        called = client.infer_grpc(name, picture)
    for output in raw:
        np.testing.assert_allclose(values[output], raw[output], rtol=1e-6)
        np.testing.assert_array_equal(called[output], raw[output])


def test_a_key_and_a_certificate_open_every_port(tmp_path: Path) -> None:
    artifact = table_artifact(tmp_path / "table")
    name, golden = artifact.manifest.name, artifact.golden_inputs()
    with locked_server(artifact, tmp_path) as (live, access):
        with Client(live.url, live.grpc, access=access) as client:
            assert client.infer(name, golden).keys() == client.infer_grpc(name, golden).keys()
        with Client(live.url, live.grpc, access=Access(ca=access.ca)) as client:
            assert client.ready(), "probes need no key"
            with pytest.raises(ClientError, match=r"answered 401: .*--key") as refused:
                client.predict(golden)
            assert refused.value.answered == 401
            with pytest.raises(ClientError, match=r"answered UNAUTHENTICATED: .*--key"):
                client.infer_grpc(name, golden)
        with Client(live.url, access=Access(access.key)) as client, pytest.raises(ClientError, match="with --ca"):
            client.ready()


def test_a_refusal_says_what_was_asked_and_leaves_the_connection_usable(tmp_path: Path) -> None:
    artifact = table_artifact(tmp_path / "table")
    with live_server(artifact) as live, Client(live.url, live.grpc) as client:
        with pytest.raises(ClientError, match=r"POST http://.*/v2/models/nobody/infer answered 404: .*nobody"):
            client.infer("nobody", artifact.golden_inputs())
        with pytest.raises(ClientError, match=r"gRPC: 127\..* answered NOT_FOUND: .*nobody"):
            client.infer_grpc("nobody", artifact.golden_inputs())
        assert client.ready()


class Odd(BaseHTTPRequestHandler):
    """Answers 200 with something that is no protocol."""

    def do_GET(self) -> None:
        self.answer(b'["no object"]')

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.answer(b'{"outputs": [{"name": "y", "shape": [3], "datatype": "FP32", "data": [1.0]}]}')

    def answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def odd_url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Odd) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/behind/a/path/"
        server.shutdown()
        thread.join()


def test_an_answer_that_cannot_be_read_is_one_sentence(odd_url: str) -> None:
    with Client(odd_url) as client:
        with pytest.raises(ClientError, match=r"behind/a/path to /model cannot be read"):
            client.get("/model")
        with pytest.raises(ClientError, match="to /v2/models/m/infer cannot be read"):
            client.infer("m", {"x": np.zeros(1, np.float32)})
        with pytest.raises(ClientError, match="to /predict cannot be read"):
            client.predict({"x": np.zeros(1, np.float32)})


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8080", "ftp://localhost", "http://", "http://localhost:port", "http://[::1"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="is not the address of a server"):
        Client(url)


def test_a_server_that_is_not_there_and_a_file_that_holds_no_certificate_are_one_sentence(tmp_path: Path) -> None:
    with (
        Client("http://127.0.0.1:1") as client,
        pytest.raises(ClientError, match=r"does not answer: .*is the server running"),
    ):
        client.ready()
    (tmp_path / "ca.pem").write_text("nothing\n")
    for ca in (tmp_path / "ca.pem", tmp_path / "missing.pem"):
        with pytest.raises(SettingsError, match="has no certificate that can be read"):
            Client("https://127.0.0.1:1", access=Access(ca=ca))
        with pytest.raises(SettingsError, match="has no certificate that can be read"):
            Access(ca=ca).channel("127.0.0.1:1")


@pytest.mark.parametrize("address", ["http://127.0.0.1:9000", "127.0.0.1", "localhost:", "host:port", "grpc://h:1"])
def test_what_is_no_address_of_a_grpc_port_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="is not the address of a gRPC port: write host:port"):
        Client("http://127.0.0.1:8080", address)


def test_ports_that_are_swapped_are_named(small: dict[str, Artifact]) -> None:
    with live_server(small["table"]) as live:
        http_port = live.url.removeprefix("http://")
        with (
            Client(f"http://{live.grpc}") as client,
            pytest.raises(ClientError, match=r"does not speak plain HTTP; give the HTTP port \(8080\)"),
        ):
            client.ready()
        with (
            Client(f"https://{http_port}") as client,
            pytest.raises(ClientError, match="that port speaks no TLS; write http://"),
        ):
            client.ready()
        with (
            Client(live.url, http_port, timeout_s=0.5) as client,
            pytest.raises(ClientError, match=r"is it the gRPC port \(9000\), and not the HTTP port"),
        ):
            client.infer_grpc("small-table", live.artifact.golden_inputs())


def test_plain_http_to_a_port_with_tls_is_named(small: dict[str, Artifact], tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    with (
        live_server(small["table"], tls_certificate=certificate, tls_key=key, grpc_port="off") as live,
        Client(live.url) as client,
        pytest.raises(ClientError, match=r"does not speak plain HTTP.*or write https:// for TLS"),
    ):
        client.ready()
