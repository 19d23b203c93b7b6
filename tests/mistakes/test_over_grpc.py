"""Every mistake over gRPC is answered by one sentence that names it, what is wanted, and what to do."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from lading.artifact import Artifact
from lading.protocol.proto.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.given.live_server import live_server
from tests.given.mistakes_over_grpc import OVER_GRPC, GrpcMistake
from tests.given.sentences import check_sentence


@pytest.fixture(scope="module")
def stub(small: dict[str, Artifact]) -> Iterator[GRPCInferenceServiceStub]:
    served = [small[name] for name in ("colour", "table", "graph")]
    with live_server(*served, max_batch=4) as live, grpc.insecure_channel(live.grpc) as channel:
        yield GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("mistake", OVER_GRPC, ids=lambda mistake: mistake.title)
def test_the_sentence_names_the_mistake_and_what_to_do(stub: GRPCInferenceServiceStub, mistake: GrpcMistake) -> None:
    with pytest.raises(grpc.RpcError) as refusal:
        stub.ModelInfer(mistake.message, metadata=mistake.metadata)
    assert refusal.value.code() == mistake.code, refusal.value.details()
    check_sentence(refusal.value.details(), mistake.words)


# A stream's metadata are those of all its messages.
@pytest.mark.parametrize(
    "mistake", [mistake for mistake in OVER_GRPC if not mistake.metadata], ids=lambda mistake: mistake.title
)
def test_a_stream_says_the_same(stub: GRPCInferenceServiceStub, mistake: GrpcMistake) -> None:
    (answer,) = stub.ModelStreamInfer(iter([mistake.message]))
    check_sentence(answer.error_message, mistake.words)
