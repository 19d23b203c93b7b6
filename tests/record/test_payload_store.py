"""The payload log's files in a bucket: whole objects, tried again after an error, and a bad address is one sentence."""

from __future__ import annotations

import io
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from pyarrow import parquet
from structlog.testing import capture_logs

from lading.artifact import Artifact
from lading.errors import SettingsError
from lading.record.payload_store import Bucket, sink
from lading.settings.recording import RecordingSettings
from tests.given.bucket import S3Bucket, s3_bucket
from tests.given.live_server import LiveServer, live_server, wait_until
from tests.given.payload_rows import rows_in
from tests.given.small_artifacts import table_artifact

FEATURES = {"features": [[1, 2, 3, 4]]}
FILE = PurePosixPath("small-table", "1", "file.parquet")


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return table_artifact(tmp_path_factory.mktemp("artifact") / "artifact")


def rows_of(bucket: S3Bucket) -> list[str]:
    """The request ids in the bucket's files."""
    tables = [parquet.read_table(io.BytesIO(content)) for content in bucket.objects.values()]
    return [row["request_id"] for table in tables for row in table.to_pylist()]


def test_a_bucket_gets_whole_files(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_bucket(monkeypatch) as bucket:
        with live_server(artifact, payload_log="s3://lading-log/ours") as live:
            live.client.post("/predict", json=FEATURES, headers={"x-request-id": "one"})
        (path,) = (PurePosixPath(key) for key in bucket.objects)
        assert path.match("ours/small-table/1/date=*/*.parquet")
        assert rows_of(bucket) == ["one"]


def test_rows_that_a_bucket_refused_are_written_later(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_bucket(monkeypatch) as bucket:
        bucket.failures = [403]
        with live_server(artifact, payload_log="s3://lading-log", payload_rotate_s=0.01) as live:
            live.client.post("/predict", json=FEATURES, headers={"x-request-id": "early"})
            wait_until(lambda: len(bucket.objects) == 1)
        assert rows_of(bucket) == ["early"]


def test_rows_that_were_stored_although_the_bucket_reported_an_error_are_stored_once(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_bucket(monkeypatch) as bucket:
        bucket.lost_answers = [403, 403]
        with live_server(artifact, payload_log="s3://lading-log", payload_rotate_s=0.01) as live:
            live.client.post("/predict", json=FEATURES, headers={"x-request-id": "one"})
            wait_until(lambda: not bucket.lost_answers)
            live.client.post("/predict", json=FEATURES, headers={"x-request-id": "two"})
        assert sorted(rows_of(bucket)) == ["one", "two"]


def test_a_bucket_that_hangs_delays_no_answer_no_feedback_and_no_stop(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"payload_rotate_s": 0.01, "payload_buffer_mb": 0.06, "feedback": 1000}
    with s3_bucket(monkeypatch) as bucket, capture_logs() as logs:
        bucket.open.clear()
        with live_server(artifact, payload_log="s3://lading-log", **settings) as live:
            live.client.post("/predict", json=FEATURES)
            assert bucket.arrived.wait(20)
            for number in range(200):
                answer = live.client.post("/predict", json=FEATURES, headers={"x-request-id": f"id-{number}"})
                assert answer.status_code == 200
            told = live.client.post("/feedback", json={"request_id": "id-199", "truth": {"total": 12.5}})
            assert told.status_code == 200
            dropped = dropped_by(live)
            assert 50 < dropped < 200
        (ended,) = (line for line in logs if "did not end in time" in line["event"])
        # Each of the 201 answers and the truth was dropped or is lost.
        assert ended["rows"] + dropped == 202
        assert ended["consumers"] == ["PayloadLog"]


def dropped_by(live: LiveServer) -> float:
    lines = live.client.get("/metrics").text.splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith("lading_payload_dropped_total"))


def test_two_servers_share_a_folder_and_write_each_row_once(artifact: Artifact, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"payload_log": str(tmp_path), "payload_rotate_mb": 0.003, "drift": False}
    with live_server(artifact, **settings) as one, live_server(artifact, **settings) as other:
        for number in range(40):
            for name, live in (("one", one), ("other", other)):
                live.client.post("/predict", json=FEATURES, headers={"x-request-id": f"{name}-{number}"})
    written = [row["request_id"] for row in rows_in(tmp_path, "small-table")]
    assert sorted(written) == sorted(f"{name}-{number}" for name in ("one", "other") for number in range(40))
    assert len(list(tmp_path.rglob("*.parquet"))) > 10


def test_an_upload_is_tried_again_when_the_endpoint_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_bucket(monkeypatch) as bucket:
        bucket.failures = [503, 500]
        Bucket("s3://lading-log/ours/").write(FILE, b"rows")
        assert bucket.objects == {"ours/small-table/1/file.parquet": b"rows"}


def test_a_refused_upload_is_an_os_error_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_bucket(monkeypatch) as bucket:
        bucket.failures = [403]
        with pytest.raises(OSError, match=r"403") as caught:
            Bucket("s3://lading-log").write(FILE, b"rows")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("ftp://host/log", "LADING_PAYLOAD_LOG=ftp://host/log is no bucket: write gs://NAME, s3://NAME, az://NAME"),
        ("memory://log", "is no bucket"),
        ("s3:///log", "LADING_PAYLOAD_LOG: s3:///log names no bucket or host"),
        ("s3://me:secret@log", "LADING_PAYLOAD_LOG: s3://log: a key does not belong in the address"),
        ("az://container/log", "LADING_PAYLOAD_LOG: az://container/log cannot be opened: .*Account must be specified"),
    ],
)
def test_a_bad_address_of_a_bucket_is_one_sentence_without_secrets(
    address: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(SettingsError, match=sentence) as caught:
        sink(RecordingSettings(payload_log=address))
    assert "secret" not in str(caught.value)


def test_without_obstore_the_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(SettingsError, match=r"needs obstore: pip install 'lading\[payload\]'"):
        sink(RecordingSettings(payload_log="s3://log"))


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"LADING_PAYLOAD_LOG=.* cannot be written: Not a directory"):
        sink(RecordingSettings(payload_log=str(tmp_path / "file" / "log")))
