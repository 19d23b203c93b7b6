"""Reports of a load test are copied to a bucket; what is no report stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from lading.deploy.load.upload import open_reports, upload
from lading.errors import SettingsError
from tests.given.bucket import s3_bucket

PLACE = "s3://lading-log/load/cards-load-2"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("report.html", "load_stats.csv", "load_failures.csv", "notes.txt"):
        (tmp_path / name).write_text(name)
    return tmp_path


def test_csv_and_html_go_to_the_folder_of_the_job(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_bucket(monkeypatch) as bucket:
        said = upload(folder, open_reports(PLACE), PLACE)
    names = ["load_failures.csv", "load_stats.csv", "report.html"]
    assert bucket.objects == {f"load/cards-load-2/{name}": name.encode() for name in names}
    assert said == f"{PLACE}: {', '.join(names)}"


def test_a_bucket_that_refuses_is_a_sentence_that_says_where_the_reports_are(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_bucket(monkeypatch) as bucket:
        bucket.failures.extend([403] * 10)
        with pytest.raises(SettingsError, match=r"--upload s3://lading-log/load/cards-load-2: ") as refused:
            upload(folder, open_reports(PLACE), PLACE)
    assert str(refused.value).endswith(f"the reports are in {folder}")


@pytest.mark.parametrize("url", ["gs://", "reports/load", "gs://bucket?key=secret", "s3://user:secret@bucket"])
def test_an_address_that_is_no_bucket_is_refused_without_its_secret(url: str) -> None:
    with pytest.raises(SettingsError, match="--upload: ") as refused:
        open_reports(url)
    assert "secret" not in str(refused.value)
