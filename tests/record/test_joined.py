"""What pods recorded is put together in the same way, whichever pod wrote it and in whatever order it is read."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.artifact import Artifact
from lading.errors import DataError
from lading.record.joined import Joined, Newest
from tests.given.logged_rows import logged_rows, logged_truth
from tests.given.recorded import with_reference
from tests.given.small_artifacts import table_artifact


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("artifact")
    return with_reference(table_artifact(folder / "plain"), folder / "artifact")


def result(joined: Joined) -> tuple[Any, ...]:
    found = joined.check()
    histograms = {name: counts.tolist() for name, counts in found.block.histograms.items()}
    return found.block.requests, histograms, found.block.sketch.tolist(), found.scores, found.accuracy, found.errors


@given(st.integers(1, 5), st.integers(0, 2**32), st.integers(50, 90))
def test_any_split_over_pods_and_any_order_gives_the_same_result(
    artifact: Artifact, pods: int, seed: int, newest: int
) -> None:
    rows = logged_rows(artifact, 70, 1.0)
    truths = [logged_truth(number, number / 7, 60 + number) for number in range(40)]
    truths += [logged_truth(number, 0.25, 30) for number in range(20, 60)]
    expected = Joined(artifact, newest)
    expected.add_rows(rows)
    expected.add_truths(truths)
    chance = random.Random(seed)
    files: list[list[tuple[str, dict[str, Any]]]] = [[] for _ in range(pods)]
    for kind, row in [("answer", row) for row in rows] + [("truth", row) for row in truths]:
        chance.choice(files).append((kind, row))
    files += [chance.choice(files)]  # one is read twice
    chance.shuffle(files)
    joined = Joined(artifact, newest)
    for file in files:
        chance.shuffle(file)
        for kind, row in file:
            (joined.add_rows if kind == "answer" else joined.add_truths)([row])
    assert result(joined) == result(expected)


def test_rows_of_a_version_with_other_shapes_are_left_out(artifact: Artifact) -> None:
    joined = Joined(artifact, 50)
    odd = {**logged_rows(artifact, 1)[0], "input.features": [1.0, 2.0, 3.0], "input.features.shape": [1, 3]}
    torn = {**logged_rows(artifact, 1)[0], "input.features": [1.0], "input.features.shape": [1, 4]}
    joined.add_rows([odd, torn, *logged_rows(artifact, 60)])
    assert len(joined.newest_examples()) == 50
    assert joined.check().block.requests == 50


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 30)), unique_by=lambda one: one[0]), st.randoms())
def test_what_is_kept_within_a_limit_of_bytes_does_not_depend_on_the_order(
    entries: list[tuple[int, int]], chance: random.Random
) -> None:
    kept: list[list[Any]] = []
    for _ in range(2):
        newest: Newest[tuple[int], None] = Newest(10, 60)
        for key, size in entries:
            newest.add((key,), None, size)
        kept.append(list(newest))
        chance.shuffle(entries)
    assert kept[0] == kept[1]


def test_the_newest_truth_counts_and_one_that_cannot_be_is_left_out(artifact: Artifact) -> None:
    joined = Joined(artifact, 50)
    rows = logged_rows(artifact, 50)
    joined.add_rows(rows)
    total = rows[0]["output.total"][0]
    joined.add_truths([logged_truth(0, total + 2, 2), logged_truth(0, total + 5, 1), logged_truth(1, "red")])
    joined.add_truths([logged_truth(99, 1.0), {**logged_truth(2, 1.0), "output": "colour"}])
    assert joined.check().errors == {"total": pytest.approx(2)}


def test_errors_and_answers_of_other_models_variants_and_artifacts_are_left_out(artifact: Artifact) -> None:
    rows = logged_rows(artifact, 60)
    changed: tuple[dict[str, Any], ...] = (
        {"code": 400},
        {"model": "other"},
        {"variant": "int8"},
        {"digest": "sha256:other"},
    )
    for row, change in zip(rows, changed, strict=False):
        row.update(change)
    joined = Joined(artifact, 100, digest=True)
    joined.add_rows(rows)
    assert len(joined.newest_examples()) == 56


def test_a_truth_about_a_request_of_several_examples_is_left_out(artifact: Artifact) -> None:
    (row,) = logged_rows(artifact, 1)
    row |= {"input.features": [0.0] * 8, "input.features.shape": [2, 4]}
    row |= {"output.total": [1.0, 2.0], "output.total.shape": [2, 1]}
    joined = Joined(artifact, 50)
    joined.add_rows([row])
    joined.add_truths([logged_truth(0, 1.0)])
    assert len(joined.newest_examples()) == 2
    assert joined.check().errors == {}


def test_nothing_logged_is_refused(artifact: Artifact) -> None:
    with pytest.raises(DataError, match="holds no answer of small-table's variant"):
        Joined(artifact, 50).check()


def test_numbers_do_not_depend_on_the_order_of_their_sum(artifact: Artifact, tmp_path: Path) -> None:
    joined = Joined(artifact, 50)
    joined.add_rows(reversed(logged_rows(artifact, 50)))
    assert np.array_equal(joined.newest_examples()[0]["features.0"], [logged_rows(artifact, 1)[0]["input.features"][0]])
