"""Tables are scored by the names of their columns: CSV, Parquet and JSON lines give the same answers."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lading.artifact import Artifact
from lading.errors import DataError
from tests.given.small_artifacts import columns_artifact
from tests.score.scored import read, run

ROWS: list[dict[str, Any]] = [
    {"id": "007", "age": 31.0, "height": 1.5, "city": "Oslo", "kind": "a", "name": "Ada", "agreed": True},
    {"id": "008", "age": 40.0, "height": None, "city": "Paris", "kind": "b", "name": "NA", "agreed": False},
    {"id": "009", "age": 7.25, "height": 1.25, "city": None, "kind": "b", "name": 'a "b",\nc', "agreed": False},
]
WANTED: dict[str, list[Any]] = {
    "city_back": [1, 2, 2],
    "kind_back": [[0], [1], [1]],
    "name_back": [["Ada"], ["NA"], ['a "b",\nc']],
    "agreed_back": [True, False, False],
    "total": [32.5, 40.0, 8.5],
}


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return columns_artifact(tmp_path_factory.mktemp("columns") / "artifact")


def write(folder: Path, kind: str, rows: list[dict[str, Any]]) -> Path:
    path = folder / f"rows.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        pd.DataFrame(rows).to_csv(path, index=False, sep="\t" if kind == "tsv" else ",", quoting=csv.QUOTE_MINIMAL)
    return path


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet", "jsonl"])
@pytest.mark.parametrize("out", ["jsonl", "parquet"])
def test_each_kind_of_table_gives_the_same_answers(artifact: Artifact, kind: str, out: str, tmp_path: Path) -> None:
    result = tmp_path / f"result.{out}"
    run(artifact, write(tmp_path, kind, ROWS), result, keep=("id",))
    rows = read(result)
    assert [row["id"] for row in rows] == ["007", "008", "009"]
    for name, values in WANTED.items():
        assert [row[name] for row in rows] == values, name


def test_dictionaries_of_arrow_are_categories_and_strings(artifact: Artifact, tmp_path: Path) -> None:
    table = pa.Table.from_pylist(ROWS)
    for name in ("city", "name"):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, table.column(name).dictionary_encode())
    pq.write_table(table, tmp_path / "rows.parquet")
    run(artifact, tmp_path / "rows.parquet", tmp_path / "result.jsonl")
    assert [row["city_back"] for row in read(tmp_path / "result.jsonl")] == WANTED["city_back"]


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_many_rows_in_small_parts_come_out_in_order(artifact: Artifact, kind: str, tmp_path: Path) -> None:
    rows = [{**ROWS[number % 3], "age": float(number)} for number in range(500)]
    run(artifact, write(tmp_path, kind, rows), tmp_path / "result.jsonl", part_rows=70, batch=8)
    found = read(tmp_path / "result.jsonl")
    assert [row["row"] for row in found] == [*range(500)]
    assert [row["total"] for row in found] == [row["age"] + (row["height"] or 0) for row in rows]


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_a_bad_row_is_named_and_may_be_kept(artifact: Artifact, kind: str, tmp_path: Path) -> None:
    rows = [*ROWS, {**ROWS[0], "kind": "z"}]
    source = write(tmp_path, kind, rows)
    with pytest.raises(DataError, match=r"(row 3|line 4).*'z', which is no category"):
        run(artifact, source, tmp_path / "result.jsonl")
    run(artifact, source, tmp_path / "kept.jsonl", keep_errors=True)
    found = read(tmp_path / "kept.jsonl")
    assert [row["error"] is None for row in found] == [True, True, True, False]
    assert [row["total"] for row in found] == [*WANTED["total"], None]


def test_a_column_that_is_missing_is_named_with_a_similar_one(artifact: Artifact, tmp_path: Path) -> None:
    rows = [{("Age" if name == "age" else name): value for name, value in row.items()} for row in ROWS]
    with pytest.raises(DataError, match=r"has no column 'age'.* did you mean 'Age'"):
        run(artifact, write(tmp_path, "csv", rows), tmp_path / "result.jsonl")


def test_a_csv_file_with_a_word_where_a_number_belongs_is_refused(artifact: Artifact, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rows.csv is not a CSV file .*column #1.*'old'"):
        run(artifact, write(tmp_path, "csv", [*ROWS, {**ROWS[0], "age": "old"}]), tmp_path / "result.jsonl")


def test_a_vector_needs_a_name_for_each_column_of_a_csv_file(artifact: Artifact, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("size,city,kind,name,agreed\n1 2,Oslo,a,Ada,true\n")
    with pytest.raises(
        DataError, match=r"takes 'size' of shape \[2\]: write Parquet .*a column for each of its labels"
    ):
        run(artifact, tmp_path / "rows.csv", tmp_path / "result.jsonl")
    (tmp_path / "rows.csv").write_text("1,2,3\n")
    with pytest.raises(DataError, match="no names of columns in its first line, which is 1, 2, 3"):
        run(artifact, tmp_path / "rows.csv", tmp_path / "result.jsonl")
