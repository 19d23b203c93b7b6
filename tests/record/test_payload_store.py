"""The payload log's files in a bucket: whole objects, tried again after an error, and a bad address is one sentence."""

from __future__ import annotations

import io
import sys
from pathlib import Path, PurePosixPath

import pytest
from pyarrow import parquet

from lading.artifact import Artifact
from lading.errors import SettingsError
from lading.record.payload_store import Bucket, sink
from lading.settings import RecordingSettings
from tests.given.bucket import S3Bucket, s3_bucket
from tests.given.live_server import live_server, wait_until
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
