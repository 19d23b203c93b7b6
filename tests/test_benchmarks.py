"""The harness: what it reads from the load generator, whom it asks in which order, and what it sends."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.compare import cores, order, table
from benchmarks.load import Load, parse
from benchmarks.peers import ALL, LADING, Peer, target_of
from benchmarks.tiny_model import write
from lading.predictor import open_session

REPORT = {
    "summary": {"total": 2.0},
    "latencyPercentiles": {"p50": 0.001, "p99": 0.01, "p99.9": None},
    "statusCodeDistribution": {"200": 100, "429": 7},
    "errorDistribution": {"aborted due to deadline": 3, "connection closed": 2},
}


def test_only_answers_count_and_what_the_clock_cut_off_is_no_failure() -> None:
    load = parse(REPORT)
    assert (load.rate, load.p50, load.p99, load.p999) == (50.0, 1.0, 10.0, 0.0)
    assert (load.codes, load.failed) == ({"200": 100, "429": 7}, 2)


def test_every_other_round_goes_backwards() -> None:
    assert order(ALL, 1) == list(reversed(order(ALL, 0)))
    assert cores("0,2") == {0, 2}


def test_the_table_compares_medians_with_the_limit_and_with_lading() -> None:
    def load(rate: float) -> Load:
        return Load(rate, 1.0, 2.0, 3.0, {"200": 1}, 0)

    shown = table({"lading": [load(80), load(90), load(100)], "other": [load(45)]}, [100.0], "cards")
    assert [column.header for column in shown.columns][2] == "share of L_pipe 100/s"
    assert [list(column.cells) for column in shown.columns][2:4] == [["0.900", "0.450"], ["1.00x", "2.00x"]]


@pytest.mark.parametrize("model", ["cards", "tiny"])
@pytest.mark.parametrize("peer", ALL, ids=lambda peer: peer.name)
def test_every_peer_gets_the_same_photo_or_row_in_its_own_form(peer: Peer, model: str) -> None:
    if model not in peer.models:
        return
    target = target_of(peer, model, 1)
    body = target.body.read_bytes()
    if target.content_type == "application/json":
        assert json.loads(body)
    else:
        assert b"\xff\xd8\xff" in body
    assert target.url.startswith("http://127.0.0.1:1/")


def test_the_tiny_model_answers_probabilities(tmp_path: Path) -> None:
    session = open_session(write(tmp_path / "tiny.onnx"))
    (y,) = session.run(None, {"x": np.ones((3, 16), np.float32)})
    assert y.shape == (3, 4)
    assert y.sum(axis=1) == pytest.approx(1)
    assert LADING in ALL
