"""``lading drift``: the same scores from a payload log, for a scheduled job and for a review."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet
from structlog.testing import capture_logs
from typer.testing import CliRunner

from lading.artifact import Artifact
from lading.cli import app
from lading.drift.reference import Reference
from lading.errors import DataError, GateRefusedError
from lading.record.evidently import draw
from lading.record.joined import Joined
from lading.record.log_source import log_source
from lading.record.log_watch import LogWatch, check_log
from tests.given.bucket import s3_bucket
from tests.given.live_server import live_server
from tests.given.recorded import send, with_reference
from tests.given.small_artifacts import table_artifact


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("artifact")
    return with_reference(table_artifact(folder / "plain"), folder / "artifact")


@pytest.fixture(scope="module")
def logs(artifact: Artifact, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A log of requests like the training data, and one of shifted requests."""
    folder = tmp_path_factory.mktemp("logs")
    for name, centre in (("same", 0.0), ("shifted", 1.5)):
        with live_server(artifact, payload_log=str(folder / name), feedback=10) as live:
            send(live, np.random.default_rng(3).normal(centre, 1, (60, 4)))
    return {name: folder / name for name in ("same", "shifted")}


def test_a_log_like_the_training_data_passes(artifact: Artifact, logs: dict[str, Path]) -> None:
    result = CliRunner().invoke(app, ["drift", "check", str(logs["same"]), str(artifact.path)])
    assert result.exit_code == 0
    assert "nothing has drifted" in result.output


def test_a_shifted_log_is_refused_by_name_and_reported(
    artifact: Artifact, logs: dict[str, Path], tmp_path: Path
) -> None:
    report = tmp_path / "drift.html"
    result = CliRunner().invoke(
        app, ["drift", "check", str(logs["shifted"]), str(artifact.path), "--report", str(report)]
    )
    assert isinstance(result.exception, GateRefusedError)
    assert result.exception.exit_code == 3
    assert "features.0" in str(result.exception)
    assert "have drifted" in report.read_text()


def test_a_log_gives_the_scores_that_the_server_gave(artifact: Artifact, logs: dict[str, Path]) -> None:
    found = check_log(logs["shifted"], artifact, newest=500)
    assert found.block.requests == 60
    assert found.block.histograms["features.0"].sum() == 60


def test_a_folder_that_is_no_log_is_refused(artifact: Artifact, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no file of a payload log"):
        check_log(tmp_path, artifact, newest=500)


def test_a_bucket_gives_the_scores_of_a_folder(
    artifact: Artifact, logs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_bucket(monkeypatch) as bucket:
        for file in logs["shifted"].rglob("*.parquet"):
            bucket.objects[f"ours/{file.relative_to(logs['shifted'])}"] = file.read_bytes()
        found = check_log("s3://lading-log/ours", artifact, newest=500)
        assert found.scores == check_log(logs["shifted"], artifact, newest=500).scores
        result = CliRunner().invoke(app, ["drift", "check", "s3://lading-log/ours", str(artifact.path)])
        assert isinstance(result.exception, GateRefusedError)
        with pytest.raises(DataError, match="holds no file of a payload log"):
            check_log("s3://lading-log/others", artifact, newest=500)


def test_a_bucket_that_refuses_is_one_sentence(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_bucket(monkeypatch) as bucket:
        bucket.failures = [403] * 20
        with pytest.raises(DataError, match="s3://lading-log cannot be read") as caught:
            check_log("s3://lading-log", artifact, newest=500)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("address", ["otlp+http://127.0.0.1:4318", "ftp://host/log", "s3://"])
def test_an_address_that_holds_no_files_is_one_sentence(artifact: Artifact, address: str) -> None:
    with pytest.raises(DataError) as caught:
        check_log(address, artifact, newest=500)
    assert "\n" not in str(caught.value)


def test_only_the_newest_files_are_read(artifact: Artifact, logs: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(logs["same"], tmp_path / "log")
    old = tmp_path / "log" / "small-table" / "1" / "date=2020-01-01" / "000000-old-0-1-1.parquet"
    old.parent.mkdir()
    old.write_bytes(b"is not read")
    os.utime(old, (1, 1))
    source = log_source(tmp_path / "log")
    joined = Joined(artifact, 50)
    with capture_logs() as said:
        LogWatch(source, joined, truths=False).refresh()
    assert len(joined.newest_examples()) == 50
    assert not said


def test_a_file_that_is_corrupt_is_left_out_and_logged(
    artifact: Artifact, logs: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(logs["same"], tmp_path / "log")
    (file,) = (tmp_path / "log" / "small-table").rglob("*.parquet")
    file.with_name("235959-cut-0-1-1.parquet").write_bytes(file.read_bytes()[:-100])
    with capture_logs() as said:
        assert check_log(tmp_path / "log", artifact, newest=500).block.requests == 60
    assert "235959-cut-0-1-1.parquet is no file of a payload log" in said[0]["error"]


def test_values_drawn_from_a_histogram_have_it_again(artifact: Artifact) -> None:
    feature = Reference.from_json(artifact.reference_json()).features["features.1"]
    drawn = np.array(draw(feature, 5000, np.random.default_rng(0)))
    shares = feature.histogram(drawn) / len(drawn)
    assert shares == pytest.approx(np.array(feature.shares), abs=0.03)


def test_a_file_with_other_columns_is_left_out(artifact: Artifact, tmp_path: Path) -> None:
    with live_server(artifact, payload_log=str(tmp_path)) as live:
        live.client.post("/predict", json={"features": [[1, 2, 3, 4]]})
    (file,) = tmp_path.rglob("*.parquet")
    parquet.write_table(pyarrow.table({"price": [1.0]}), file.with_name("foreign.parquet"))
    joined = Joined(artifact, 50)
    with capture_logs() as said:
        LogWatch(log_source(tmp_path), joined).refresh()
    assert len(joined.newest_examples()) == 1
    assert "foreign.parquet is no file of a payload log: it has other columns" in said[0]["error"]
