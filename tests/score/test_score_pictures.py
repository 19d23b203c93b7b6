"""Scoring pictures: from a folder, or from a column of a table; a broken one has a reason and harms no other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lading.artifact import Artifact
from lading.content.image import decode_image
from lading.errors import DataError
from lading.predictor import Predictor
from tests.score.scored import photos, read, run

SUFFIXES = pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])


def test_a_folder_of_pictures_fails_at_a_broken_file_and_names_it(small: dict[str, Artifact], tmp_path: Path) -> None:
    photos(tmp_path / "in")
    with pytest.raises(DataError, match=r"^a/torn\.jpg: this is not a picture that can be read"):
        run(small["colour"], tmp_path / "in", tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


@SUFFIXES
def test_a_broken_picture_gets_its_reason_and_its_neighbours_their_answers(
    small: dict[str, Artifact], tmp_path: Path, suffix: str
) -> None:
    files = photos(tmp_path / "in")
    done = run(small["colour"], tmp_path / "in", tmp_path / f"out{suffix}", keep_errors=True)
    rows = read(tmp_path / f"out{suffix}")
    assert [row["file"] for row in rows] == ["a/red.jpg", "a/torn.jpg", "b/blue.png", "b/green.webp"]
    assert [row["colour_label"] for row in rows] == ["red", None, "blue", "green"]
    assert [bool(row["error"]) for row in rows] == [False, True, False, False]
    assert rows[1]["colour"] is None
    assert done.finished.errors == 1
    pixels = decode_image(files[0].read_bytes(), height=16, width=16)[None]
    expected = Predictor(small["colour"])({"image": pixels})["colour"][0]
    np.testing.assert_allclose(rows[0]["colour"], expected, rtol=1e-6)


def test_pictures_in_a_column_are_decoded_whether_bytes_or_a_struct_of_bytes(
    small: dict[str, Artifact], tmp_path: Path
) -> None:
    data = photos(tmp_path / "in")[0].read_bytes()
    pq.write_table(pa.table({"image": [data, data]}), tmp_path / "plain.parquet")
    pq.write_table(pa.table({"image": [{"bytes": data, "path": "x"}] * 2}), tmp_path / "hub.parquet")
    run(small["colour"], tmp_path / "plain.parquet", tmp_path / "plain.jsonl")
    run(small["colour"], tmp_path / "hub.parquet", tmp_path / "hub.jsonl")
    plain, hub = read(tmp_path / "plain.jsonl"), read(tmp_path / "hub.jsonl")
    assert [row["colour"] for row in plain] == [row["colour"] for row in hub]
    assert plain[0]["colour_label"] == "red"
