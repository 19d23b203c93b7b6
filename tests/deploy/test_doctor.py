"""The doctor finds what would keep a server from serving, and says what to do."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lading.artifact import Artifact
from lading.cli import app
from lading.cli.terminal import console
from lading.deploy.doctor import Check, checks_table, examine
from lading.machine import memory_limit
from lading.settings import Settings
from tests.given.changed_artifacts import with_golden_outputs
from tests.given.small_artifacts import table_artifact


def states(artifacts: tuple[Path, ...], **settings: object) -> dict[str, tuple[str, str]]:
    given = {"http_port": 0, "grpc_port": 0, **settings}
    return {check.name: (check.state, check.found) for check in examine(artifacts, Settings(**given))}  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return table_artifact(tmp_path_factory.mktemp("doctor") / "table")


def test_a_sound_artifact_passes(table: Artifact) -> None:
    found = states((table.path,))
    assert found[str(table.path)] == ("ok", "checksums and golden answers hold, with fp32")
    assert found["packages"][0] == "ok"


def test_an_artifact_that_answers_otherwise_or_is_none_fails(table: Artifact, tmp_path: Path) -> None:
    other = with_golden_outputs(table, tmp_path / "other", 1.0)
    found = states((other.path, tmp_path / "nowhere"))
    assert found[str(other.path)][0] == "failed"
    assert "does not reproduce its golden output" in found[str(other.path)][1]
    assert "is not an artifact" in found[str(tmp_path / "nowhere")][1]


def test_a_port_that_is_taken_fails_and_one_that_is_off_is_not_looked_at() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        found = states((), http_port=taken.getsockname()[1], grpc_port="off")
    assert found["HTTP port"][0] == "failed"
    assert "LADING_HTTP_PORT chooses another" in found["HTTP port"][1]
    assert "gRPC port" not in found


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"memory.max": "104857600"}, 104_857_600),
        ({"memory.max": "max"}, 2048 * 1024),
        ({"memory/memory.limit_in_bytes": "1048576"}, 1_048_576),
        ({}, 2048 * 1024),
    ],
)
def test_memory_is_the_lesser_of_the_limit_and_what_is_there(
    files: dict[str, str], expected: int, tmp_path: Path
) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal: 9 kB\nMemAvailable: {2048 if expected < 10**8 else 10**9} kB\n")
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert memory_limit(tmp_path, meminfo) == expected


def test_the_table_shows_the_extra_to_install() -> None:
    with console().capture() as printed:
        console().print(checks_table([Check("packages", "failed", "pip install 'lading[serve]'")]))
    assert "pip install 'lading[serve]'" in printed.get()


def test_the_command_ends_with_1_when_something_failed(table: Artifact, tmp_path: Path) -> None:
    environment = {"LADING_HTTP_PORT": "0", "LADING_GRPC_PORT": "0", "LADING_LANSE": "2", "COLUMNS": "200"}
    # A console knows its width from the first time that it printed, perhaps in another test.
    console.cache_clear()
    passed = CliRunner().invoke(app, ["doctor", str(table.path)], env=environment)
    assert passed.exit_code == 0, passed.output
    assert "did you mean LADING_LANES?" in passed.output
    failed = CliRunner().invoke(app, ["doctor", str(tmp_path)], env=environment)
    assert failed.exit_code == 1
    assert "is not an artifact" in failed.output
