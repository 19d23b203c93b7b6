"""Two models get the same inputs, and the command exits with 3 when they do not agree."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lading.artifact import Artifact
from lading.build.verify.timing import Plan
from lading.cli import main
from lading.deploy.compare import compare
from lading.errors import ClientError, DataError, SettingsError
from tests.given.live_server import live_server
from tests.given.locked_server import locked_server
from tests.given.small_artifacts import graph_artifact, picture_artifact, table_artifact

QUICK = Plan(rounds=2, turn_ms=1.0)
NONE = (None, None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compare")


@pytest.fixture(scope="module")
def graph(folder: Path) -> Artifact:
    return graph_artifact(folder / "graph")


@pytest.fixture(scope="module")
def picture(folder: Path) -> Artifact:
    return picture_artifact(folder / "picture")


def test_an_artifact_agrees_with_the_server_that_serves_it(graph: Artifact) -> None:
    with live_server(graph) as live:
        found = compare(str(graph.path), live.url, None, NONE, QUICK)
        both = compare(live.url, live.url, graph.path, NONE, QUICK)
    assert (found.rows, found.agreement) == (2, 1.0)
    assert found.max_difference < 1e-6
    assert found.speedup.value < 1  # a request costs more than a call
    assert both.max_difference == 0.0


def test_servers_with_keys_and_tls_are_compared(
    graph: Artifact, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with locked_server(graph, folder) as (live, access):
        found = compare(str(graph.path), live.url, None, NONE, QUICK, access=access)
        assert found.max_difference < 1e-6
        with pytest.raises(ClientError, match="answered 401"):
            compare(str(graph.path), live.url, None, NONE, QUICK, access=replace(access, key=None))
        # The command takes the same files from the variables that the server itself has.
        monkeypatch.setenv("LADING_API_KEYS", str(access.key))
        monkeypatch.setenv("LADING_TLS_CERTIFICATE", str(access.ca))
        monkeypatch.setattr(sys, "argv", ["lading", "compare", str(graph.path), live.url])
        with pytest.raises(SystemExit) as done:
            main()
    assert not done.value.code
    assert "agreement 100.00%" in capsys.readouterr().out


def test_two_of_different_kinds_are_refused(graph: Artifact, picture: Artifact, folder: Path) -> None:
    with live_server(picture) as live, pytest.raises(ClientError, match="answered 400"):
        compare(str(graph.path), live.url, None, NONE, QUICK)
    with pytest.raises(SettingsError, match="neither A nor B"):
        compare("http://127.0.0.1:9", "http://127.0.0.1:9", None, NONE, QUICK)
    with pytest.raises(ClientError, match="does not answer"):
        compare(str(graph.path), "http://127.0.0.1:9", None, NONE, QUICK)
    other = picture_artifact(folder / "other", output="light")
    with pytest.raises(DataError, match="has no output 'shade'"):
        compare(str(picture.path), str(other.path), None, NONE, QUICK)


@pytest.mark.parametrize(
    "case",
    [
        ([], 0, ""),
        (["--tolerance", "0.1"], 3, "they differ by"),
        (["--min-agreement", "1"], 0, ""),
    ],
)
def test_the_command_refuses_beyond_the_tolerance(
    picture: Artifact,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    case: tuple[list[str], int, str],
) -> None:
    options, code, message = case
    # The same labels without the softmax: the most likely one is the same, the values are not.
    scores = picture_artifact(folder / "scores", softmax=False)
    out = folder / "comparison.json"
    words = ["lading", "compare", str(picture.path), str(scores.path), "--json", str(out), *options]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as caught:
        main()
    assert int(caught.value.code or 0) == code
    assert message in capsys.readouterr().err
    assert json.loads(out.read_text())["agreement"] == 1.0


def test_rows_that_differ_in_their_label_do_not_agree(folder: Path) -> None:
    table = table_artifact(folder / "table")
    found = compare(str(table.path), str(table.path), None, ("fp32", "fp32"), QUICK)
    assert (found.agreement, found.max_difference) == (1.0, 0.0)
