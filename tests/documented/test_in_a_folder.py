"""Documented commands do what they say in a folder that holds what the pages tell a reader to have."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.given.documented import Documented, Way, run_by
from tests.given.working_folder import WorkingFolder, with_more

PARAMETERS = [
    pytest.param(one, id=str(one), marks=[pytest.mark.slow] if one.row is not None and one.row.slow else [])
    for one in run_by(Way.FOLDER)
]


@pytest.fixture
def own(folder: WorkingFolder, tmp_path: Path) -> WorkingFolder:
    """A copy, so that no command sees what another one wrote."""
    path = tmp_path / "lading"
    shutil.copytree(folder.path, path, symlinks=True, ignore=shutil.ignore_patterns("output.log", "*.parquet"))
    return WorkingFolder(path, {"LADING_GRPC_PORT": "0", "CANDIDATE": "a-key-of-the-tests"})


@pytest.mark.parametrize("one", PARAMETERS)
def test_a_command_does_what_it_says(one: Documented, own: WorkingFolder) -> None:
    assert one.row is not None
    text = with_more(one)
    for name in re.findall(r"photos\.parquet", text):  # what a line before it on the page makes
        shutil.copy(_pictures(own), own.path / name)
    if one.row.endless:
        with own.running(re.sub(r"--port \d+", "--port 0", text), one.row.endless):
            return
    done = own.type(text)
    assert done.returncode in one.row.codes, done.stdout + done.stderr
    for option in ("--out", "--report", ">"):
        for written in re.findall(rf" {option} ([\w./-]+)", text):
            assert (own.path / written).exists(), f"{option} {written} was not written"


def _pictures(own: WorkingFolder) -> Path:
    """A table of encoded pictures."""
    import pyarrow as arrow
    from pyarrow import parquet

    file = own.path / "pictures.parquet"
    photos = [photo.read_bytes() for photo in sorted((own.path / "photos").iterdir())]
    table = arrow.table({"id": arrow.array(range(len(photos))), "image": arrow.array(photos, arrow.binary())})
    parquet.write_table(table, file)
    return file
