"""Scoring texts: strings in a file of lines, in a column of a table, or files of a folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lading.artifact import Artifact
from lading.content.text import tokenize
from lading.predictor import Predictor
from lading.tensors.padded import fill_in
from tests.given.small_text import TEXTS, text_artifact
from tests.score.scored import read, run


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return text_artifact(tmp_path_factory.mktemp("scored"))


def write(folder: Path, kind: str) -> Path:
    if kind == "lines":
        (folder / "in.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in TEXTS))
        return folder / "in.jsonl"
    if kind == "table":
        pq.write_table(pa.table({"text": list(TEXTS)}), folder / "in.parquet")
        return folder / "in.parquet"
    (folder / "in").mkdir()
    for number, text in enumerate(TEXTS):
        (folder / "in" / f"{number}.txt").write_text(text)
    return folder / "in"


@pytest.mark.parametrize("kind", ["lines", "table", "folder"])
def test_each_text_is_answered_as_it_is_alone(artifact: Artifact, tmp_path: Path, kind: str) -> None:
    run(artifact, write(tmp_path, kind), tmp_path / "out.jsonl", batch=8)
    predictor = Predictor(artifact)
    for text, row in zip(TEXTS, read(tmp_path / "out.jsonl"), strict=True):
        alone = predictor(fill_in(predictor.inputs, {"text": tokenize(predictor.inputs[0], text)[None]}))
        np.testing.assert_allclose(row["kind"], alone["kind"][0], atol=1e-5)
        np.testing.assert_allclose(row["each"], alone["each"][0], atol=1e-5)


def test_a_text_that_is_too_long_gets_its_reason(artifact: Artifact, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in ("cat", "cat " * 20)))
    run(artifact, tmp_path / "in.jsonl", tmp_path / "out.jsonl", keep_errors=True)
    good, bad = read(tmp_path / "out.jsonl")
    assert good["kind_label"] in ("animal", "thing")
    assert "22 tokens; at most 8 are accepted" in bad["error"]
