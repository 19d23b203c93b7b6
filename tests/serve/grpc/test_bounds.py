"""What a gRPC client may cost: messages that arrive, streams, connections, names."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc._cython import cygrpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

import lading
from lading.artifact import Artifact
from lading.protocol.proto import inference_pb2 as pb
from lading.protocol.proto.inference_pb2_grpc import GRPCInferenceServiceStub
from lading.serve.grpc.reading import PARSED_HERE, arriving_at_once
from lading.serve.grpc.server import MAX_CALLS
from lading.serve.grpc.wire import MOST_PLAIN
from tests.given.grpc_message import typed
from tests.given.live_server import LiveServer, live_server, wait_until
from tests.given.process_memory import memory
from tests.given.raw_grpc import raw_call
from tests.given.served_process import serving

MB = 1_000_000
INFERENCE = "/inference.GRPCInferenceService/"
METHODS = [
    f"{INFERENCE}ModelInfer",
    f"{INFERENCE}RepositoryIndex",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
]


def large_message() -> bytes:
    message = pb.ModelInferRequest(model_name="small-table", raw_input_contents=[bytes(15 * MB)])
    message.inputs.add(name="features", datatype="FP32", shape=[15 * MB // 16, 4])
    data: bytes = message.SerializeToString()
    return data


def stub_of(channel: grpc.Channel) -> Any:
    return GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]


def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value.code(), error.value.details()


@pytest.fixture(scope="module")
def table(small: dict[str, Artifact]) -> Iterator[LiveServer]:
    with live_server(small["table"], grpc_max_streams=2) as live:
        yield live


@pytest.mark.parametrize("method", METHODS)
def test_calls_of_large_messages_at_once_hold_no_more_than_the_limits(
    small: dict[str, Artifact], tmp_path: Path, method: str
) -> None:
    data = large_message()
    limited = serving(small["table"].path, tmp_path / "log", LADING_MAX_QUEUE_MB="64", LADING_LANES="1")
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
    with limited as served, contextlib.ExitStack() as stack:
        before = memory(served.process.pid)
        channels = [stack.enter_context(grpc.insecure_channel(served.grpc, options)) for _ in range(24)]
        calls = [channel.unary_unary(method).future(data, timeout=20) for channel in channels]
        for call in calls:
            call.exception()
        # 64 MB wait, 32 MB arrive, one is parsed and one is read by the lane.
        assert memory(served.process.pid, "VmHWM") - before < 250 * MB
        assert stub_of(channels[0]).ModelInfer(typed([1, 2, 3, 4])).outputs


@pytest.mark.parametrize("method", METHODS[::2])
def test_unfinished_messages_make_way_and_end(small: dict[str, Artifact], tmp_path: Path, method: str) -> None:
    limited = serving(small["table"].path, tmp_path / "log", LADING_MAX_QUEUE_MB="64", LADING_BODY_TIMEOUT_S="1.5")
    with limited as served, contextlib.ExitStack() as stack:
        before = memory(served.process.pid)
        calls = [stack.enter_context(raw_call(served.grpc)) for _ in range(24)]
        for call in calls:
            call.begin(method, 15 * MB)
        for call in calls:
            call.send(14 * MB, 0.1)
        assert memory(served.process.pid, "VmHWM") - before < 180 * MB
        with grpc.insecure_channel(served.grpc) as channel:  # others are served meanwhile
            assert stub_of(channel).ModelInfer(typed([1, 2, 3, 4]), timeout=10).outputs
        for call in calls:
            call.wait_ended()


def test_a_call_without_a_message_ends_in_time(small: dict[str, Artifact]) -> None:
    done = threading.Event()

    def nothing() -> Iterator[bytes]:
        done.wait(20)
        yield from ()

    with live_server(small["table"], body_timeout_s=0.2) as live, grpc.insecure_channel(live.grpc) as channel:
        for method in METHODS:
            code, sentence = refused(lambda: channel.stream_unary(method)(nothing()))  # noqa: B023 - called at once
            assert code == grpc.StatusCode.DEADLINE_EXCEEDED
            assert "did not arrive within 0.2 s" in sentence
        done.set()
        assert refused(lambda: channel.stream_unary(METHODS[0])(iter(()))) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "the call has no message: send one",
        )


def test_waiting_calls_take_turns(small: dict[str, Artifact]) -> None:
    """One message arrives at once, and every other call that waits for its turn still gets it."""
    with live_server(small["table"], max_queue_mb=0.1) as live, grpc.insecure_channel(live.grpc) as channel:
        stub = stub_of(channel)
        calls = [stub.ModelInfer.future(typed([number % 10, 0, 0, 0])) for number in range(200)]
        calls[50].cancel()
        for number, call in enumerate(calls):
            if number != 50:
                assert call.result(20).outputs[0].contents.fp32_contents[0] == number % 10


def test_open_streams_are_bounded(table: LiveServer) -> None:
    with grpc.insecure_channel(table.grpc) as channel:
        done = threading.Event()

        def requests() -> Iterator[pb.ModelInferRequest]:
            yield typed([1, 2, 3, 4])
            done.wait(20)

        stub = stub_of(channel)
        streams = [stub.ModelStreamInfer(requests()) for _ in range(2)]
        for stream in streams:
            assert next(stream).infer_response.outputs
        code, sentence = refused(lambda: next(stub.ModelStreamInfer(requests())))
        assert (code, sentence) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "2 streams are open, which is the maximum: send it again later",
        )
        reflection = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        assert refused(lambda: next(reflection(iter([b""]))))[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert stub.ModelInfer(typed([1, 2, 3, 4])).outputs
        done.set()
        for stream in streams:
            assert list(stream) == []
        assert next(stub.ModelStreamInfer(iter([typed([1, 2, 3, 4])]))).infer_response.outputs


def test_large_messages_of_a_stream_are_not_kept_until_their_answers_are_read(
    small: dict[str, Artifact], tmp_path: Path
) -> None:
    data = large_message()
    sent = 0

    def requests() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(30):
            sent += 1
            yield data

    limited = serving(small["table"].path, tmp_path / "log", LADING_MAX_QUEUE_MB="64", LADING_LANES="1")
    options = [("grpc.max_send_message_length", -1)]
    with limited as served, grpc.insecure_channel(served.grpc, options) as channel:
        before = memory(served.process.pid)
        stream = channel.stream_stream(f"{INFERENCE}ModelStreamInfer")(requests())
        wait_until(lambda: sent > 3)
        answers = [pb.ModelStreamInferResponse.FromString(answer) for answer in stream]
        assert len(answers) == 30
        assert all(answer.error_message for answer in answers)
        assert memory(served.process.pid, "VmHWM") - before < 250 * MB


def test_a_connection_too_many_is_not_taken(small: dict[str, Artifact]) -> None:
    options = [("grpc.use_local_subchannel_pool", 1)]
    with live_server(small["table"], max_connections=3) as live, contextlib.ExitStack() as stack:
        channels = [stack.enter_context(grpc.insecure_channel(live.grpc, options)) for _ in range(3)]
        for channel in channels:
            assert stub_of(channel).ServerReady(pb.ServerReadyRequest(), wait_for_ready=True).ready
        with grpc.insecure_channel(live.grpc, options) as one_more:
            code, _ = refused(lambda: stub_of(one_more).ServerReady(pb.ServerReadyRequest(), timeout=5))
            assert code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
        assert stub_of(channels[0]).ServerReady(pb.ServerReadyRequest()).ready


def test_names_and_ids_of_a_megabyte_are_refused_and_not_repeated(table: LiveServer) -> None:
    long = "x" * MB
    with grpc.insecure_channel(table.grpc) as channel:
        stub = stub_of(channel)
        for message in (
            typed([1, 2, 3, 4], id=long),
            typed([1, 2, 3, 4], model_name=long),
            typed([1, 2, 3, 4], model_version=long),
        ):
            code, sentence = refused(lambda: stub.ModelInfer(message))  # noqa: B023 - called at once
            assert code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)
            assert len(sentence) <= 500
            code, sentence = refused(lambda: next(stub.ModelStreamInfer(iter([message]))))  # noqa: B023 - called at once
            assert code == grpc.StatusCode.INVALID_ARGUMENT
            assert len(sentence) <= 500
        for call, request in (
            (stub.ModelReady, pb.ModelReadyRequest(name=long)),
            (stub.ModelMetadata, pb.ModelMetadataRequest(name=long)),
            (stub.RepositoryModelLoad, pb.RepositoryModelLoadRequest(model_name=long)),
        ):
            assert len(refused(lambda: call(request))[1]) <= 500  # noqa: B023 - called at once


def test_a_watch_of_a_name_that_is_not_served_keeps_nothing(table: LiveServer) -> None:
    with grpc.insecure_channel(table.grpc) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch
        watches = [watch(health_pb2.HealthCheckRequest(service=f"none-{number}")) for number in range(5)]
        for one in watches:
            assert next(one).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
            one.cancel()


@pytest.mark.parametrize("size", [20_000, 1 * MB])
def test_metadata_of_many_bytes_end_the_call(table: LiveServer, size: int) -> None:
    with grpc.insecure_channel(table.grpc) as channel:
        call = stub_of(channel).ModelInfer
        code, _ = refused(lambda: call(typed([1, 2, 3, 4]), metadata=[("note", "x" * size)], timeout=20))
        assert code in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)
        assert call(typed([1, 2, 3, 4])).outputs


def test_a_call_too_many_is_refused(table: LiveServer) -> None:
    options = [("grpc.use_local_subchannel_pool", 1)]
    request = health_pb2.HealthCheckRequest()
    with contextlib.ExitStack() as stack:
        channels = [stack.enter_context(grpc.insecure_channel(table.grpc, options)) for _ in range(4)]
        stubs = [health_pb2_grpc.HealthStub(channel) for channel in channels]
        watches = [stubs[number % len(stubs)].Watch(request) for number in range(MAX_CALLS)]
        for watch in watches:
            next(watch)
        one_more = stub_of(channels[0]).ServerReady
        assert refused(lambda: one_more(pb.ServerReadyRequest()))[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
        watches.pop().cancel()
        wait_until(lambda: no_error(lambda: one_more(pb.ServerReadyRequest())))


def no_error(call: Callable[[], object]) -> bool:
    with contextlib.suppress(grpc.RpcError):
        call()
        return True
    return False


@pytest.mark.parametrize("size", [PARSED_HERE - 64, PARSED_HERE + 64, MB])
def test_a_large_message_is_answered_as_a_small_one_alone_and_in_a_stream(
    small: dict[str, Artifact], size: int
) -> None:
    rows = size // 16
    message = pb.ModelInferRequest(model_name="small-table", raw_input_contents=[bytes(16 * rows)])
    message.inputs.add(name="features", datatype="FP32", shape=[rows, 4])
    unreadable = b"\xff" * size
    with live_server(small["table"], max_batch=rows) as live, grpc.insecure_channel(live.grpc) as channel:
        stub = stub_of(channel)
        answer = stub.ModelInfer(message)
        assert list(answer.outputs[0].shape) == [rows, 1]
        assert answer.raw_output_contents[0] == bytes(4 * rows)
        streamed = list(stub.ModelStreamInfer(iter([message, typed([1, 2, 3, 4]), message])))
        assert sorted(one.infer_response.outputs[0].shape[0] for one in streamed) == [1, rows, rows]
        infer = channel.unary_unary(f"{INFERENCE}ModelInfer")
        assert refused(lambda: infer(unreadable)) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            f"the message of {size} bytes is no inference.ModelInferRequest: it is incomplete, or no protobuf",
        )


def test_a_message_of_another_service_is_short(table: LiveServer) -> None:
    with grpc.insecure_channel(table.grpc) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        code, sentence = refused(lambda: check(health_pb2.HealthCheckRequest(service="x" * MOST_PLAIN)))
        assert code == grpc.StatusCode.INVALID_ARGUMENT
        assert f"at most {MOST_PLAIN} are accepted" in sentence
        assert refused(lambda: check(health_pb2.HealthCheckRequest(service="x")))[0] == grpc.StatusCode.NOT_FOUND
        unreadable = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert refused(lambda: unreadable(b"\xff"))[0] == grpc.StatusCode.INVALID_ARGUMENT


def test_fewer_messages_arrive_at_once_where_they_may_be_larger() -> None:
    assert [arriving_at_once(64 * MB, size * MB) for size in (1, 2, 4, 16, 100)] == [16, 16, 8, 2, 2]


def test_every_option_is_one_that_grpc_knows() -> None:
    """gRPC ignores others without a word."""
    library = Path(cygrpc.__file__).read_bytes()
    sources = [file.read_text() for file in Path(lading.__file__).parent.rglob("*.py")]
    options = {name for text in sources for name in re.findall(r'\("(grpc\.[a-z0-9_.]+)", ', text)}
    assert len(options) > 10
    assert not [name for name in options if name.encode() + b"\0" not in library]
