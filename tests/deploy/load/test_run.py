"""``lading load`` sends load to a real server, writes its reports, and exits as the SLO says."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lading.cli import app
from lading.deploy.load.shapes import KINDS
from lading.errors import SettingsError
from tests.given.bucket import s3_bucket
from tests.given.live_server import LiveServer, live_server
from tests.given.locked_server import locked_server
from tests.given.small_artifacts import table_artifact


def load(server: LiveServer, out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "lading", "load", "--url", server.url, "--grpc", server.grpc, "--out", str(out)]
    return subprocess.run([*words, *arguments], capture_output=True, text=True, check=False, timeout=100)


def rows(file: Path) -> dict[str, dict[str, str]]:
    with file.open() as lines:
        return {row["Name"]: row for row in csv.DictReader(lines)}


@pytest.mark.slow
def test_an_slo_that_is_met_exits_with_0_and_every_kind_of_user_has_sent(tmp_path: Path) -> None:
    with live_server(table_artifact(tmp_path / "table")) as server:
        words = ["--rate", "40", "--seconds", "4", "--warm-up", "1", "--slo", "p99=20s,errors=0%,rps=1"]
        done = load(server, tmp_path / "out", str(server.artifact.path), *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "met" in done.stderr
    assert "MISSED" not in done.stderr
    sent = rows(tmp_path / "out" / "load_stats.csv")
    for kind in KINDS:
        (own,) = [row for name, row in sent.items() if name.endswith(f"({kind})")]
        assert int(own["Request Count"]) > 0
        assert int(own["Failure Count"]) == 0
    assert "<html" in (tmp_path / "out" / "report.html").read_text()[:200]


def test_an_slo_that_is_missed_exits_with_3_and_says_which_part(tmp_path: Path) -> None:
    with live_server(table_artifact(tmp_path / "table")) as server:
        words = ["--rate", "20", "--seconds", "2", "--warm-up", "0", "--slo", "p99=20s,rps=10000"]
        done = load(server, tmp_path / "out", "--users", "v2-json,grpc", "--shape", "ramp", *words)
    assert done.returncode == 3, done.stdout + done.stderr
    (missed,) = [line for line in done.stderr.splitlines() if "MISSED" in line and "rps" in line]
    assert "at least 1e+04/s" in missed


@pytest.mark.slow
def test_the_reports_are_copied_to_a_bucket_and_the_figures_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_bucket(monkeypatch) as bucket, live_server(table_artifact(tmp_path / "table")) as server:
        words = ["--rate", "10", "--seconds", "2", "--warm-up", "0", "--slo", "rps=10000"]
        done = load(server, tmp_path / "out", "--users", "v2-json", "--upload", "s3://lading-log/load/1", *words)
    assert done.returncode == 3, "a missed SLO, also with an upload"
    assert bucket.objects.keys() >= {"load/1/report.html", "load/1/load_stats.csv"}, done.stdout + done.stderr
    figures = (tmp_path / "out" / "load_stats.csv").read_text()
    assert figures in done.stdout.replace("\r\n", "\n")


def test_a_bucket_that_is_no_address_is_refused_before_any_load(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["load", "--upload", "gs://", "--url", "http://127.0.0.1:9"])
    assert isinstance(result.exception, SettingsError)
    assert "names no bucket" in str(result.exception)


@pytest.mark.slow
def test_refused_requests_are_errors(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("sesame\n")
    with live_server(table_artifact(tmp_path / "table"), api_keys=keys) as server:
        words = ["--rate", "20", "--seconds", "2", "--warm-up", "0", "--slo", "errors=0%"]
        assert load(server, tmp_path / "out", "--key", str(keys), *words).returncode == 0
        refused = load(server, tmp_path / "out", *words)
    assert refused.returncode == 1
    assert "answered 401" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.slow
def test_a_server_with_keys_and_tls_is_loaded(tmp_path: Path) -> None:
    with locked_server(table_artifact(tmp_path / "table"), tmp_path) as (server, access):
        words = ["--key", str(access.key), "--ca", str(access.ca), "--rate", "20", "--seconds", "2", "--warm-up", "0"]
        done = load(server, tmp_path / "out", *words)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--slo", "p99=50"], "cannot read 'p99=50'"),
        (["--users", "rest"], "known are plain"),
        (["--seconds", "2", "--warm-up", "2"], "must be shorter than"),
        (["--pictures", "nowhere"], "is not a file or a folder"),
        (["--url", "http://127.0.0.1:1"], "does not answer"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_sent(arguments: list[str], sentence: str) -> None:
    done = CliRunner().invoke(app, ["load", *arguments])
    assert done.exit_code != 0
    assert sentence in (str(done.exception) + done.output)
