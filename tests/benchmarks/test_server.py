"""The harness: what it reads from the load generator, whom it asks in which order, what it sends, what it concludes."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.server import answers, bench, closed_loop, grpc_load, load, peer_list, plots, report, running_peer
from benchmarks.server.limits import Limit
from benchmarks.server.peer_list import ALL, LADING
from benchmarks.server.request_bodies import grpc_message
from benchmarks.server.tiny_model import write
from lading.artifact import Artifact
from lading.build.onnx_file import pack_onnx
from lading.predictor import open_session
from lading.protocol.proto import inference_pb2 as pb
from tests.given.engine import value
from tests.given.live_server import LiveServer, live_server, wait_until

REPORT = {
    "summary": {"total": 2.0},
    "latencyPercentiles": {"p50": 0.001, "p99": 0.01, "p99.9": None},
    "statusCodeDistribution": {"200": 100, "429": 7},
    "errorDistribution": {"aborted due to deadline": 3, "connection closed": 2},
}
PROTOCOL = {"model_name": "cards", "outputs": [{"name": "suit", "data": ["hearts"]}, {"name": "rank", "data": [0, 1]}]}
CARDS = answers.Expected({"suit": ("clubs", "hearts"), "rank": ("two", "ace")}, {"suit": "hearts", "rank": "ace"}, ())


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    pack_onnx(write(folder / "tiny.onnx"), folder / "tiny", name="tiny")
    return folder / "tiny"


def answered(live: LiveServer) -> float:
    return value(live.app, "lading_requests_total", code="200")


def test_only_answers_count_and_what_the_clock_cut_off_is_no_failure() -> None:
    found = load.parse(REPORT)
    assert (found.rate, found.p50, found.p99) == (50.0, 1.0, 10.0)
    assert (found.codes, found.failed) == ({"200": 100, "429": 7}, 2)


def test_goodput_counts_the_answers_within_the_deadline_and_rather_too_few() -> None:
    found = load.Load(1000.0, {"50": 5.0, "90": 20.0, "99": 90.0, "99.9": 300.0}, {"200": 1}, 0)
    assert [found.within(ms) for ms in (1.0, 30.0, 100.0, 300.0)] == [0.0, 900.0, 990.0, 1000.0]


def test_every_other_round_goes_backwards() -> None:
    assert closed_loop.order(peer_list.ALL, 1) == list(reversed(closed_loop.order(peer_list.ALL, 0)))
    assert bench.cores("0,2") == {0, 2}


@pytest.mark.parametrize("model", ["cards", "tiny"])
@pytest.mark.parametrize("peer", peer_list.ALL, ids=lambda peer: peer.name)
def test_every_peer_gets_the_same_photo_or_row_in_its_own_form(peer: peer_list.Peer, model: str) -> None:
    if not peer.serves(model):
        return
    target = running_peer.target_of(peer, model, 1)
    body = target.body.read_bytes()
    if target.content_type == "application/json":
        assert json.loads(body)
    else:
        assert b"\xff\xd8\xff" in body
    assert target.url.startswith("http://127.0.0.1:1/")
    message = pb.ModelInferRequest.FromString(grpc_message("cards"))
    assert message.inputs[0].datatype == "BYTES"


def test_a_server_that_was_left_over_is_not_measured() -> None:
    with socket.create_server(("127.0.0.1", 0)) as left_over:
        port = left_over.getsockname()[1]
        with pytest.raises(RuntimeError, match=f"port {port} is in use"):
            running_peer.refuse_taken(port)
    running_peer.refuse_taken(port)


@pytest.mark.parametrize(
    "answer",
    [
        {"suit": "hearts", "rank": "ace", "confidence": 1.0},
        {"outputs": {"suit": [[0.1, 0.9]], "rank": [[0.1, 0.9]]}, "model": "cards"},
        PROTOCOL,
    ],
    ids=["labels", "probabilities", "the protocol's list"],
)
def test_a_right_answer_is_known_in_every_form_and_a_wrong_one_too(answer: Mapping[str, Any]) -> None:
    assert CARDS.right(answer)
    assert not answers.Expected(CARDS.labels, {"suit": "clubs", "rank": "ace"}, ()).right(answer)


def test_numbers_are_compared_with_those_of_the_model_in_process(tiny: Path) -> None:
    expected = answers.expected_of(tiny)
    assert expected.right([list(expected.numbers)])
    assert expected.right({"outputs": {"y": [list(expected.numbers)]}, "model": "tiny"})
    assert not expected.right({"y": [[0.25] * 4]})


def test_the_watch_asks_while_the_load_runs_and_tells_of_a_wrong_answer(tiny: Path) -> None:
    with live_server(Artifact.load(tiny)) as live:
        target = running_peer.target_of(peer_list.LADING, "tiny", 1)
        target = load.Target(f"{live.url}/predict", target.body, target.content_type)
        right = answers.expected_of(tiny)
        with answers.watching(target, right) as seen:
            wait_until(lambda: seen.right)
        wrong = answers.Expected({}, {}, (9.0,) * 4)
        asked = answered(live)
        with (
            pytest.raises(RuntimeError, match=r"while the load ran: .* answered wrongly"),
            answers.watching(target, wrong),
        ):
            wait_until(lambda: answered(live) > asked)


def test_the_grpc_loop_counts_calls_whose_answers_agree(tiny: Path) -> None:
    with live_server(Artifact.load(tiny)) as live:
        found = asyncio.run(grpc_load.closed_loop(live.grpc, grpc_message("tiny"), 0.1, 2))
    assert found.rate > 0
    assert found.codes["200"] >= 1


def test_the_limit_is_measured_in_a_process_of_its_own(tiny: Path) -> None:
    assert Limit("tiny", tiny, 0).measure(0.05) > 0


def test_several_turns_are_one_load_of_medians() -> None:
    turns = [load.Load(rate, {"50": rate / 10, "99": rate}, {"200": 5}, 1) for rate in (10.0, 30.0, 20.0)]
    assert closed_loop.middle(turns) == load.Load(20.0, {"50": 2.0, "99": 20.0}, {"200": 15}, 3)


def one_round(**rates: float) -> dict[str, Any]:
    def entry(rate: float) -> dict[str, Any]:
        found = load.Load(rate, {"50": 1.0, "99": 2.0, "99.9": 3.0}, {"200": 1}, 0)
        turns = [{"rate": rate, "lading": rates["lading"], "limit": 100.0}]
        return {"load": found.as_dict(), "turns": turns, "checked": 9, "start_s": 0.5, "resident_mb": 150.0}

    return {"peers": {name: entry(rate) for name, rate in rates.items()}}


def test_the_report_compares_with_the_goals_and_draws(tmp_path: Path) -> None:
    cards = [one_round(lading=rate, litserve=rate / 2, mlserver=rate / 3, fastapi_torch=10.0) for rate in (80, 96, 90)]
    loads = [
        {
            "share": share,
            "peak": 90.0,
            "steady": True,
            "within": min(share, 1.0) * 90,
            **load.Load(90.0, {"50": 1, "99": 3, "99.9": 4}, {}, 0).as_dict(),
        }
        for share in (0.7, 1.0, 3.0)
    ]
    turn = {"rate": 93.0, "limit": 100.0, "steady": 1.0}
    slower_meanwhile = {"rate": 50.0, "limit": 100.0, "steady": 0.0}
    paths = ("REST", "REST, OIP with binary tensors", "gRPC", "port 3000", "port 8080 beside it")
    contents = {
        "peers-cards": cards,
        "loads-cards-lading": [{"loads": loads}],
        "shares": [{"paths": {path: [slower_meanwhile, turn, slower_meanwhile] for path in paths}}],
        "start": [{"start_s": 0.9, "idle_mb": 100.0, "loaded_mb": 150.0}],
    }
    for name, rounds in contents.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({"rounds": rounds}))
    report.write(tmp_path, tmp_path / "out")
    table = (tmp_path / "out" / "table.md").read_text()
    assert "| cards, JPEG in, REST: share of L_pipe | >= 0.92 | 0.93 | met |" in table
    assert "| cards: times the best framework | >= 1.7x | 2x | met | litserve |" in table
    assert "| cards: times FastAPI + torch eager, core for core | >= 12x | 9x | missed |" in table
    assert "| process start to ready | <= 0.7 s | 0.9 s | missed |" in table
    assert "| lading | 90 | 0.900 | 1.00x |" in table
    drawn = sorted(file.name for file in (tmp_path / "out").glob("*.svg"))
    assert drawn == ["goodput.svg", "latency.svg", "throughput-cards.svg"]
    assert "litserve" in (tmp_path / "out" / "throughput-cards.svg").read_text()


def test_plots_are_the_same_each_time() -> None:
    rates = {"lading": 90.0, "litserve": 40.0}
    assert plots.throughput(rates, 100.0, "cards") == plots.throughput(rates, 100.0, "cards")
    assert plots.batch_cost({1: 1e-5, 2: 1.5e-5}) == plots.batch_cost({1: 1e-5, 2: 1.5e-5})


def test_every_server_that_runs_onnx_is_asked_for_a_molecule_but_ray_serve_and_batches_of_one_shape() -> None:
    without = {peer.name for peer in ALL if not peer.serves("molecules")}
    assert without == {"fastapi_torch", "ray_serve", "litserve_batched"}


def test_the_tiny_model_answers_probabilities(tmp_path: Path) -> None:
    session = open_session(write(tmp_path / "tiny.onnx"))
    (y,) = session.run(None, {"x": np.ones((3, 16), np.float32)})
    assert y.shape == (3, 4)
    assert y.sum(axis=1) == pytest.approx(1)
    assert LADING in ALL
