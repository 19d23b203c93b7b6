"""Scoring answers every row as the Predictor does, keeps the order, and says which row is bad and why."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lading.artifact import Artifact
from lading.cli import main
from lading.errors import ArtifactError, DataError, NotReadyError, SettingsError
from lading.predictor import Predictor
from lading.spec import Array
from lading.tensors.ragged import collate
from tests.given.changed_artifacts import with_golden_outputs
from tests.given.small_artifacts import picture_artifact
from tests.score.scored import features, photos, read, rings, run, write_lines, write_parquet

SUFFIXES = pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])


@SUFFIXES
def test_a_table_of_several_files_and_row_groups_is_answered_in_order(
    small: dict[str, Artifact], tmp_path: Path, suffix: str
) -> None:
    values = features(103)
    folder = tmp_path / "in"
    folder.mkdir()
    write_parquet(folder / "a.parquet", values[:60], row_group=25)
    write_parquet(folder / "b.parquet", values[60:], row_group=7)
    (folder / "_SUCCESS").touch()
    done = run(small["batched"], folder, tmp_path / f"out{suffix}", keep=("id",), part_rows=10, lanes=3)
    rows = read(tmp_path / f"out{suffix}")
    assert (done.scored, done.finished.rows, done.finished.errors) == (103, 103, 0)
    assert [(row["file"], row["row"]) for row in rows] == [
        *(("a.parquet", number) for number in range(60)),
        *(("b.parquet", number) for number in range(43)),
    ]
    assert [row["id"] for row in rows[58:62]] == ["id-58", "id-59", "id-0", "id-1"]
    expected = Predictor(small["batched"])({"features": values})["total"]
    np.testing.assert_allclose([row["total"] for row in rows], expected, rtol=1e-5, atol=1e-6)
    assert "error" not in rows[0]


def test_the_parquet_result_has_the_shapes_and_dtypes_of_the_model(small: dict[str, Artifact], tmp_path: Path) -> None:
    run(small["batched"], write_parquet(tmp_path / "in.parquet", features(20)), tmp_path / "out.parquet", part_rows=8)
    file = pq.ParquetFile(tmp_path / "out.parquet")
    with file:
        assert file.schema_arrow.field("total").type == pa.list_(pa.float32(), 1)
        assert file.num_row_groups == 3
        record = json.loads(file.schema_arrow.metadata[b"lading"])
    assert record["artifact"] == small["batched"].digest
    assert record["variant"] == "fp32"


@pytest.mark.parametrize("lanes", [1, 4])
@SUFFIXES
def test_the_bytes_do_not_depend_on_the_number_of_lanes(
    small: dict[str, Artifact], tmp_path: Path, lanes: int, suffix: str
) -> None:
    source = write_lines(tmp_path / "in.jsonl", rings([3, 1, 5, 2] * 30))
    run(small["graph"], source, tmp_path / f"one{suffix}", lanes=2, part_rows=16)
    run(small["graph"], source, tmp_path / f"other{suffix}", lanes=lanes, part_rows=16)
    assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"other{suffix}").read_bytes()


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_graphs_of_different_sizes_share_runs_and_are_answered_as_alone(
    small: dict[str, Artifact], tmp_path: Path, kind: str
) -> None:
    rows = rings([3, 1, 5, 2, 4] * 5)
    source = tmp_path / f"in.{kind}"
    if kind == "jsonl":
        write_lines(source, rows)
    else:
        schema = pa.schema({"nodes": pa.list_(pa.list_(pa.float32(), 2)), "edges": pa.large_list(pa.list_(pa.int32()))})
        pq.write_table(pa.Table.from_pylist(rows, schema), source, row_group_size=9)
    run(small["graph"], source, tmp_path / "out.jsonl")
    predictor = Predictor(small["graph"])
    for row, answer in zip(rows, read(tmp_path / "out.jsonl"), strict=True):
        example: dict[str, Array] = {
            "nodes": np.array(row["nodes"], np.float32),
            "edges": np.array(row["edges"], np.int64),
        }
        alone = predictor(collate(predictor.inputs, [example]))["kind"][0]
        np.testing.assert_allclose(answer["kind"], alone, rtol=1e-5)
        assert answer["kind_label"] == ("left", "right")[int(alone.argmax())]


LINES: dict[str, tuple[dict[str, Any] | str, str]] = {
    "not json": ("{", "the body is not JSON"),
    "a missing column": ({"feature": [0, 0, 0, 0]}, "'features' is missing"),
    "a short list": ({"features": [1, 2]}, "has shape"),
    "a word": ({"features": [1, "two", 3, 4]}, r"input 'features'\[1\] is a string"),
    "out of range": ({"features": [1, 2, 3, 11]}, "the largest allowed is 10"),
    "null": ({"features": None}, "is null"),
    "an empty line": ("", "the body is empty"),
}


@pytest.mark.parametrize("case", LINES)
def test_a_bad_line_is_named_with_its_number_and_harms_no_other(
    small: dict[str, Artifact], tmp_path: Path, case: str
) -> None:
    line, reason = LINES[case]
    good = [{"features": row.tolist(), "id": number} for number, row in enumerate(features(20))]
    source = write_lines(tmp_path / "in.jsonl", [*good[:11], line, *good[11:]])
    with pytest.raises(DataError, match=rf"in\.jsonl, line 12: .*{reason}"):
        run(small["batched"], source, tmp_path / "out.jsonl")
    run(small["batched"], source, tmp_path / "kept.jsonl", keep_errors=True, keep=("id",))
    rows = read(tmp_path / "kept.jsonl")
    assert [row["row"] for row in rows if row["error"]] == [11]
    answered = [row["total"][0] for row in rows if not row["error"]]
    np.testing.assert_allclose(answered, features(20).sum(axis=1), rtol=1e-5, atol=1e-6)
    assert rows[-1]["id"] == 19


def test_a_null_or_a_value_out_of_range_in_a_column_is_a_bad_row(small: dict[str, Artifact], tmp_path: Path) -> None:
    column = pa.array([[1, 2, 3, 4], None, [1, None, 3, 4], [1, 2, 3, 99], [4, 3, 2, 1]], pa.list_(pa.float64()))
    pq.write_table(pa.table({"features": column}), tmp_path / "in.parquet")
    with pytest.raises(DataError, match=r"in\.parquet, row 1: input 'features' is null"):
        run(small["batched"], tmp_path / "in.parquet", tmp_path / "out.jsonl")
    run(small["batched"], tmp_path / "in.parquet", tmp_path / "kept.jsonl", keep_errors=True)
    rows = read(tmp_path / "kept.jsonl")
    assert [row["total"] for row in rows] == [[10], None, None, None, [10]]
    assert "largest allowed is 10" in rows[3]["error"]


def test_an_answer_that_is_not_finite_is_a_bad_row(small: dict[str, Artifact], tmp_path: Path) -> None:
    source = write_lines(tmp_path / "in.jsonl", [{"x": [value]} for value in (1.0, 0.0, 2.0)])
    run(small["log"], source, tmp_path / "out.parquet", keep_errors=True)
    rows = read(tmp_path / "out.parquet")
    assert [row["y"] is None for row in rows] == [False, True, False]
    assert "not finite" in rows[1]["error"]


def test_a_row_on_which_the_model_fails_harms_no_other(small: dict[str, Artifact], tmp_path: Path) -> None:
    source = write_lines(tmp_path / "in.jsonl", [{"index": [value]} for value in (0, 1, 7, 2)])
    run(small["lookup"], source, tmp_path / "out.jsonl", keep_errors=True)
    rows = read(tmp_path / "out.jsonl")
    assert [row["entry"] for row in rows] == [[0.5], [1.5], None, [2.5]]
    assert "the model failed on it" in rows[2]["error"]


@SUFFIXES
def test_a_whole_part_of_bad_rows_is_kept_too(small: dict[str, Artifact], tmp_path: Path, suffix: str) -> None:
    rows: list[dict[str, Any]] = [{"features": [1, 2, 3, 4]}, *[{"features": []}] * 9]
    source = write_lines(tmp_path / "in.jsonl", rows)
    done = run(small["batched"], source, tmp_path / f"out{suffix}", keep_errors=True, part_rows=2)
    assert done.finished.errors == 9
    assert [row["total"] is None for row in read(tmp_path / f"out{suffix}")] == [False, *[True] * 9]


@SUFFIXES
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_an_empty_input_has_an_empty_result(small: dict[str, Artifact], tmp_path: Path, kind: str, suffix: str) -> None:
    source = tmp_path / f"in.{kind}"
    write_lines(source, []) if kind == "jsonl" else write_parquet(source, features(0))
    done = run(small["table"], source, tmp_path / f"out{suffix}")
    assert done.finished.rows == 0
    assert read(tmp_path / f"out{suffix}") == []
    if suffix == ".parquet":
        assert pq.read_schema(tmp_path / "out.parquet").names == ["file", "row", "total"]


def test_values_that_are_kept_may_be_of_any_type(small: dict[str, Artifact], tmp_path: Path) -> None:
    row: dict[str, Any] = {"features": [1, 2, 3, 4]}
    source = write_lines(tmp_path / "in.jsonl", [row | {"tag": "a"}, row | {"tag": {"deep": [1]}}, row | {"tag": None}])
    run(small["table"], source, tmp_path / "out.jsonl", keep=("tag",))
    run(small["table"], source, tmp_path / "out.parquet", keep=("tag",))
    assert [row["tag"] for row in read(tmp_path / "out.jsonl")] == ["a", {"deep": [1]}, None]
    assert [row["tag"] for row in read(tmp_path / "out.parquet")] == ["a", '{"deep":[1]}', None]


def test_integers_and_booleans_are_taken_exactly(small: dict[str, Artifact], tmp_path: Path) -> None:
    table = pa.table({"count": [[1, -2], [3, 40_000]], "flag": [[True, True], [True, False]]})
    pq.write_table(table, tmp_path / "in.parquet")
    run(small["types"], tmp_path / "in.parquet", tmp_path / "out.jsonl", keep_errors=True)
    rows = read(tmp_path / "out.jsonl")
    assert rows[0]["kept"] == [1, -2]
    assert "40000, which int16 cannot hold" in rows[1]["error"]


def test_a_result_that_is_there_is_not_written_again(small: dict[str, Artifact], tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "in.parquet", features(10))
    output = tmp_path / "out.parquet"
    assert run(small["table"], source, output).scored == 10
    assert run(small["table"], source, output).scored == 0
    with pytest.raises(DataError, match="is there already, and its keep is different"):
        run(small["table"], source, output, keep=("id",))
    assert run(small["table"], source, output, keep=("id",), overwrite=True).scored == 10
    write_parquet(source, features(12))
    with pytest.raises(DataError, match="its input's fingerprint, rows are different"):
        run(small["table"], source, output, keep=("id",))
    output.with_name("out.parquet.run.json").unlink()
    with pytest.raises(DataError, match="is there already: name another file"):
        run(small["table"], source, output)


def test_what_cannot_be_scored_is_refused_with_a_sentence(small: dict[str, Artifact], tmp_path: Path) -> None:
    table, source = small["table"], write_parquet(tmp_path / "in.parquet", features(3))
    out = tmp_path / "out.jsonl"
    with pytest.raises(DataError, match="there is no file or folder"):
        run(table, tmp_path / "nowhere", out)
    (tmp_path / "in.xlsx").touch()
    with pytest.raises(DataError, match="of no kind that can be scored"):
        run(table, tmp_path / "in.xlsx", out)
    (tmp_path / "bare").mkdir()
    with pytest.raises(DataError, match="holds no file"):
        run(table, tmp_path / "bare", out)
    write_lines(tmp_path / "in.jsonl", [])
    with pytest.raises(DataError, match=r"several kinds, 'in\.jsonl' and 'in\.parquet'"):
        run(table, tmp_path, out)
    with pytest.raises(SettingsError, match="must end with one of"):
        run(table, source, tmp_path / "out.csv")
    write_lines(tmp_path / "in.jsonl", [{"features": [1, 2, 3, 4], "file": 1}])
    with pytest.raises(SettingsError, match="--keep file"):
        run(table, tmp_path / "in.jsonl", out, keep=("file",))
    with pytest.raises(ArtifactError, match="no variant 'int8'"):
        run(table, source, out, variant="int8")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"torn\.parquet is not a Parquet file"):
        run(table, tmp_path / "torn.parquet", out)
    photos(tmp_path / "pictures")
    with pytest.raises(DataError, match="does not take one picture but features"):
        run(table, tmp_path / "pictures", out)
    with pytest.raises(SettingsError, match="pictures have no columns"):
        run(small["colour"], tmp_path / "pictures", out, keep=("id",))


def test_an_output_whose_name_the_result_uses_itself_is_refused(tmp_path: Path) -> None:
    artifact = picture_artifact(tmp_path / "artifact", output="row")
    photos(tmp_path / "in")
    with pytest.raises(SettingsError, match="the model's output 'row'"):
        run(artifact, tmp_path / "in", tmp_path / "out.jsonl")


def test_a_machine_that_computes_something_else_scores_nothing(small: dict[str, Artifact], tmp_path: Path) -> None:
    other = with_golden_outputs(small["table"], tmp_path / "other", 1.0)
    with pytest.raises(NotReadyError, match="does not reproduce its golden output"):
        run(other, write_parquet(tmp_path / "in.parquet", features(3)), tmp_path / "out.jsonl")


def test_the_command_says_what_it_did(
    small: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_lines(tmp_path / "in.jsonl", [{"features": [1, 2, 3, 4]}, {"features": []}])
    words = ["lading", "score", str(small["table"].path), str(source), str(tmp_path / "out.jsonl")]
    for extra, code, said in (
        ([], 1, "Data: in.jsonl, line 2"),
        (["--errors", "keep"], 1, "run it as it was started, or start over with --overwrite"),
        (["--errors", "keep", "--overwrite"], 0, "1 of 2 rows have no answer"),
        (["--errors", "keep"], 0, "2 rows scored before"),
    ):
        monkeypatch.setattr(sys, "argv", [*words, *extra])
        with pytest.raises(SystemExit) as caught:
            main()
        assert int(caught.value.code or 0) == code
        shown = capsys.readouterr()
        assert said in " ".join((shown.out + shown.err).split())
