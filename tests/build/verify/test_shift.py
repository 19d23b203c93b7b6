"""Corrupted inputs lower a score, and the table says by how much."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from lading.build.records import BuiltVariant, write_variants
from lading.build.verify.shift import SEVERITIES, corruptions_of, within_limits
from lading.cli import app
from lading.content.image import CORRUPTIONS
from lading.spec import TensorSpec, Variant
from lading.tensors.checks import check_inputs
from lading.tensors.random import random_inputs
from tests.given.onnx_text import parse, save
from tests.given.quick_verify import quick_verify
from tests.given.small_artifacts import COLUMNS

IMAGE = TensorSpec(name="image", dtype="uint8", shape=("batch", 16, 16, 3), content="image")
TABLE = TensorSpec(name="x", dtype="float32", shape=("batch", 2), minimum=-1, maximum=1)
INDEX = TensorSpec(name="edges", dtype="int64", shape=(2, "edges"), indexes="nodes")


@pytest.mark.parametrize("name", CORRUPTIONS)
@given(seed=st.integers(0, 1000))
def test_a_corrupted_picture_is_still_a_picture(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    for severity in SEVERITIES:
        corrupted = CORRUPTIONS[name](picture, severity, rng)
        assert corrupted.shape == picture.shape
        assert corrupted.dtype == np.uint8


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_higher_severity_changes_a_picture_more(name: str) -> None:
    row = np.linspace(0, 255, 64)
    picture = np.stack([np.add.outer(row, row[::-1]) / 2] * 3, axis=-1).astype(np.uint8)
    picture[8:40, 8:30] = (250, 20, 30)
    changes = [
        np.abs(CORRUPTIONS[name](picture, severity, np.random.default_rng(0)).astype(float) - picture).mean()
        for severity in SEVERITIES
    ]
    assert changes == sorted(changes)
    assert changes[0] < changes[-1]


def test_numbers_are_corrupted_in_the_scale_of_their_column_and_stay_within_limits() -> None:
    examples = [{"x": np.array([value, 0.001 * value], dtype=np.float32)} for value in np.linspace(-1, 1, 50)]
    noise = corruptions_of((TABLE,), examples)["noise"]["x"]
    rng = np.random.default_rng(0)
    noisy = np.stack([noise(example["x"], 5, rng) for example in examples])
    spread = (noisy - np.stack([example["x"] for example in examples])).std(axis=0)
    assert spread[0] > 100 * spread[1]
    assert np.abs(within_limits(TABLE, noisy)).max() <= 1


def test_indexes_are_left_alone() -> None:
    assert corruptions_of((INDEX,), [{"edges": np.zeros((2, 3), np.int64)}]) == {}


HOPELESS = """
from lading import Budget, Variant
from tests.given.tiny import TinyTable


class Hopeless(TinyTable):
    variants = (Variant(name="fp32", max_score_drop=0.0),)
    budget = Budget(min_score=2)
"""


def test_nothing_is_scored_where_no_variant_passed_and_that_is_told(tmp_path: Path) -> None:
    (tmp_path / "hopeless.py").write_text(HOPELESS)
    graph = parse("value = ReduceSum <keepdims = 1> (features, last)", "float[N, 4] features", "float[N, 1] value")
    fp32 = save(graph, tmp_path / "fp32.onnx")
    write_variants(
        tmp_path, [BuiltVariant(variant=Variant(name="fp32", max_score_drop=0.0), file=fp32.name, precision="fp32")]
    )
    words = ["verify", f"{tmp_path}/hopeless.py:Hopeless", "--variants", str(tmp_path), "--out", str(tmp_path / "out")]
    with quick_verify():
        done = CliRunner().invoke(app, [*words, "--shift"])
    assert done.exit_code == 0, done.output
    assert "--shift scores the variant that is served, and none passed" in " ".join(done.output.split())


@pytest.mark.slow
def test_the_digits_lose_score_as_their_pixels_get_noisier(tmp_path: Path) -> None:
    from lading.build.export.export import export
    from lading.build.train.train import train_command
    from lading.build.verify.shift import score_shift
    from lading.import_string import load_spec

    target = "examples/digits.py:Digits"
    checkpoint = train_command(
        target, ["logger.wandb=false", "trainer.progress=false"], out=tmp_path / "run", resume=None
    )
    spec = load_spec(target)
    exported = export(spec, tmp_path / "export", checkpoints={0.0: checkpoint})
    found = score_shift(spec, exported / "fp32.onnx", "fp32", tmp_path / "verify")
    assert found.clean > 0.9
    assert found.scores["noise"][4] < found.scores["noise"][0]
    assert (tmp_path / "verify" / "shift.svg").is_file()
    assert (tmp_path / "verify" / "shift.json").is_file()


def test_corrupted_columns_of_a_table_are_still_a_row() -> None:
    rng = np.random.default_rng(0)
    drawn = random_inputs(COLUMNS, {"batch": 50}, rng)
    drawn["size"][::3, 1] = np.nan
    rows = [{name: np.asarray(array[row]) for name, array in drawn.items()} for row in range(50)]
    found = corruptions_of(COLUMNS, rows)
    assert {name: set(changes) for name, changes in found.items()} == {
        "noise": {"size"}, "larger": {"size"}, "missing": {"size", "city"},
    }  # fmt: skip
    specs = {spec.name: spec for spec in COLUMNS}
    for changes in found.values():
        for severity in SEVERITIES:
            for row in rows:
                changed = {
                    name: within_limits(specs[name], change(row[name], severity, rng))
                    for name, change in changes.items()
                }
                check_inputs(COLUMNS, row | changed, example=True)
    assert sum(found["missing"]["city"](row["city"], 5, rng) == 2 for row in rows) > 10
