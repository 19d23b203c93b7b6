"""The golden requests go to a running server over both protocols, and its answers are compared."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from lading.artifact import Artifact
from lading.cli import app
from lading.deploy.golden_check import check_server
from lading.errors import CheckError, ClientError
from lading.protocol.client import Access
from tests.given.changed_artifacts import with_golden_outputs
from tests.given.live_server import live_server
from tests.given.locked_server import locked_server
from tests.given.small_artifacts import colour_artifact, graph_artifact, table_artifact


def test_a_server_that_answers_as_it_was_packed_passes_over_both_protocols(tmp_path: Path) -> None:
    for artifact in (colour_artifact(tmp_path / "colour"), graph_artifact(tmp_path / "graph")):
        with live_server(artifact) as server:
            said = list(check_server(artifact, server.url, server.grpc))
        assert [sentence.split(":")[0] for sentence in said] == ["REST", "gRPC"]
        assert all("gives the golden answers" in sentence for sentence in said)


def test_each_of_several_artifacts_is_checked_by_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    colour, graph = colour_artifact(folder / "colour"), graph_artifact(folder / "graph")
    with live_server(colour, graph) as server:
        words = ["check", str(folder), str(graph.path), "--url", server.url, "--grpc", server.grpc]
        done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert done.output.count("gives the golden answers") == 6
    assert f"{graph.manifest.name}: gRPC" in done.output


def test_a_server_of_another_artifact_is_named(tmp_path: Path) -> None:
    served = colour_artifact(tmp_path / "served")
    other = with_golden_outputs(served, tmp_path / "other", shift=0.5)
    with live_server(served) as server, pytest.raises(CheckError, match=f"serves {served.digest}"):
        list(check_server(other, server.url, server.grpc))


def test_answers_that_differ_are_named_with_how_much_is_allowed(tmp_path: Path) -> None:
    served = colour_artifact(tmp_path / "served")
    shifted = with_golden_outputs(served, tmp_path / "shifted", shift=0.5)
    claimed = Artifact(path=shifted.path, manifest=shifted.manifest, digest=served.digest)
    with (
        live_server(served) as server,
        pytest.raises(CheckError, match=r"REST: .* differs by 0\.5; the limit is 0\.0001"),
    ):
        list(check_server(claimed, server.url, None))


def test_a_server_that_asks_for_a_key_is_given_it(tmp_path: Path) -> None:
    artifact = colour_artifact(tmp_path / "colour")
    keys = tmp_path / "keys"
    keys.write_text("open-sesame\n")
    with live_server(artifact, api_keys=keys) as server:
        assert len(list(check_server(artifact, server.url, server.grpc, access=Access(key=keys)))) == 2
        with pytest.raises(ClientError, match=r"answered 401: .*--key"):
            list(check_server(artifact, server.url, server.grpc))


def test_a_server_with_keys_and_tls_is_checked_over_both_protocols(tmp_path: Path) -> None:
    artifact = table_artifact(tmp_path / "table")
    with locked_server(artifact, tmp_path) as (server, access):
        assert len(list(check_server(artifact, server.url, server.grpc, access=access))) == 2


def test_no_server_is_one_sentence(tmp_path: Path) -> None:
    artifact = colour_artifact(tmp_path / "colour")
    with pytest.raises(ClientError, match=r"http://127\.0\.0\.1:1 does not answer"):
        list(check_server(artifact, "http://127.0.0.1:1", None))
