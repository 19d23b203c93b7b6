"""A large answer is written in a lane, so that the event loop stays free for the others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path

import grpc
import numpy as np
import pytest

from lading.artifact import Artifact
from lading.protocol.proto import inference_pb2 as pb
from lading.protocol.proto.inference_pb2_grpc import GRPCInferenceServiceStub
from lading.spec import Array
from tests.given.changed_artifacts import with_costs
from tests.given.engine import Awaited, Given, started
from tests.given.live_server import LiveServer, live_server
from tests.given.small_artifacts import wide_artifact

COLUMNS = 20_000


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return wide_artifact(tmp_path_factory.mktemp("wide") / "wide", COLUMNS)


@pytest.fixture(scope="module")
def live(wide: Artifact) -> Iterator[LiveServer]:
    with live_server(wide) as server:
        yield server


def writers(artifact: Artifact, rows: int, *, brief: bool, columns: int) -> list[str]:
    """The threads that write the answer to a request, before the loop gets it."""

    def read() -> Mapping[str, Array]:
        return {"x": np.ones((rows, 1), np.float32)}

    async def scenario() -> list[str]:
        async with started(artifact, lanes=1) as (app, model):
            codec = Given(read, brief)
            job = Awaited(model, codec, float("inf"), 100)
            app.engine.submit(job)
            assert (await job.answer)["y"].shape == (rows, columns)
            assert job.written == ("written" if codec.writers else None)
            return codec.writers

    return asyncio.run(scenario())


def test_the_lane_that_ran_a_large_answer_writes_it(wide: Artifact) -> None:
    assert writers(wide, 1, brief=False, columns=COLUMNS) == ["lane-0"]


def test_a_small_answer_is_written_on_the_loop(tmp_path: Path) -> None:
    assert writers(wide_artifact(tmp_path / "narrow", 3), 2, brief=False, columns=3) == []


@pytest.mark.parametrize(("rows", "by"), [(1, []), (100, ["lane-0"])])
def test_a_small_body_of_many_examples_is_run_and_written_in_a_lane(tmp_path: Path, rows: int, by: list[str]) -> None:
    artifact = wide_artifact(tmp_path / "wide", 1_000)
    brief = with_costs(artifact, tmp_path / "brief", {1: 0.01})
    assert writers(brief, rows, brief=True, columns=1_000) == by


def test_an_answer_that_a_lane_wrote_is_as_any_other_on_every_port(live: LiveServer) -> None:
    plain = live.client.post("/predict", json={"x": [[1.0], [1.0]]}).json()
    assert plain["outputs"] == {"y": [[0.0] * COLUMNS] * 2}
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}
    rest = live.client.post("/v2/models/small-wide/infer", json={"inputs": [tensor]}).json()
    assert rest["outputs"][0]["data"] == [0.0] * COLUMNS
    message = pb.ModelInferRequest(model_name="small-wide", raw_input_contents=[np.ones(1, np.float32).tobytes()])
    message.inputs.add(name="x", datatype="FP32", shape=[1, 1])
    with grpc.insecure_channel(live.grpc) as channel:
        answer = GRPCInferenceServiceStub(channel).ModelInfer(message)  # type: ignore[no-untyped-call]
    assert answer.raw_output_contents[0] == bytes(4 * COLUMNS)


def test_a_large_answer_that_cannot_be_written_is_refused_as_a_small_one_is(live: LiveServer) -> None:
    refused = live.client.post("/predict", json={"x": [[0.0]]})
    assert refused.status_code == 422
    assert refused.json()["error"].startswith("the model's answer to these inputs is not finite")
