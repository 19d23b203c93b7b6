"""A server answers every body that is made from its model's signature, from an artifact or from the server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import grpc
import httpx
import pytest

from lading.artifact import Artifact
from lading.deploy.load.bodies import INPUTS, bodies, examples
from lading.deploy.load.shapes import KINDS, Kind
from lading.deploy.load.signature import Signature, from_artifact, from_server, read_files
from lading.errors import ArtifactError, ClientError, DataError
from tests.given.live_server import LiveServer, live_server
from tests.given.small_artifacts import colour_artifact, graph_artifact, table_artifact, typed_artifact
from tests.given.small_text import text_artifact

PHOTO = Path(__file__).parents[3] / "examples" / "ace-of-hearts.jpg"
ARTIFACTS = [colour_artifact, graph_artifact, table_artifact, text_artifact, typed_artifact]


def send(server: LiveServer, signature: Signature, kind: Kind, pictures: list[bytes]) -> None:
    made = bodies(signature, kind, examples(signature, pictures))
    assert len(made) == INPUTS
    if kind != "grpc":
        for body in made:
            answer = server.client.post(body.path, content=body.content, headers=dict(body.headers))
            assert answer.status_code == httpx.codes.OK, answer.text
        return
    with grpc.insecure_channel(server.grpc) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        assert all(call(body.content, timeout=20) for body in made)


@pytest.mark.parametrize("make", ARTIFACTS)
def test_a_server_answers_every_body_of_every_kind(make: Callable[[Path], Artifact], tmp_path: Path) -> None:
    artifact = make(tmp_path / "artifact")
    with live_server(artifact) as server:
        for signature in (from_artifact(artifact.path), from_server(server.url)):
            assert signature.name == artifact.manifest.name
            for kind in KINDS:
                send(server, signature, kind, [])


def test_the_recorded_request_comes_first_and_all_differ(tmp_path: Path) -> None:
    artifact = table_artifact(tmp_path / "table")
    made = bodies(from_artifact(artifact.path), "v2-binary", examples(from_artifact(artifact.path)))
    assert len({body.content for body in made}) == INPUTS
    assert artifact.golden_inputs()["features"][:1].tobytes() in made[0].content


def test_pictures_of_ones_own_are_sent_as_they_are(tmp_path: Path) -> None:
    artifact = colour_artifact(tmp_path / "colour")
    with live_server(artifact) as server:
        for kind in KINDS:
            send(server, from_server(server.url), kind, read_files(str(PHOTO)))
    (plain, *_) = bodies(from_artifact(artifact.path), "plain", examples(from_artifact(artifact.path), [b"jpeg"]))
    assert plain.content == b"jpeg"
    assert len(read_files(str(PHOTO.parent))) >= 1
    with pytest.raises(DataError, match="is not a file or a folder"):
        read_files(str(tmp_path / "nothing"))


def test_another_model_of_the_server_is_known_by_the_protocols_metadata(tmp_path: Path) -> None:
    with live_server(colour_artifact(tmp_path / "colour"), table_artifact(tmp_path / "table")) as server:
        signature = from_server(server.url, "small-table")
        assert (signature.name, signature.plain) == ("small-table", False)
        for kind in ("v2-json", "v2-binary", "grpc"):
            send(server, signature, kind, [])
        with pytest.raises(ClientError, match="404"):
            from_server(server.url, "nobody")


def test_no_server_and_no_artifact_are_one_sentence_each(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="does not answer"):
        from_server("http://127.0.0.1:1")
    with pytest.raises(ArtifactError):
        from_artifact(tmp_path)
