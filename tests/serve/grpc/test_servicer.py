"""The Open Inference Protocol over gRPC: every call, deadlines, cancelling, health."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lading.artifact import Artifact
from lading.protocol.proto import inference_pb2 as pb
from lading.protocol.proto.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.given.grpc_message import typed
from tests.given.live_server import LiveServer, live_server, wait_until
from tests.given.pictures import Encode

SERVICE = "inference.GRPCInferenceService"


@pytest.fixture
def stub(table: LiveServer) -> Iterator[Any]:
    with grpc.insecure_channel(table.grpc) as channel:
        yield GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]


def raw(array: np.ndarray[Any, Any], name: str = "features", datatype: str = "FP32") -> pb.ModelInferRequest:
    tensor = pb.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=array.shape)
    return pb.ModelInferRequest(model_name="small-table", inputs=[tensor], raw_input_contents=[array.tobytes()])


def refused(call: Any, request: Any, **options: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as error:
        call(request, **options)
    return error.value.code(), error.value.details()


def test_server_and_model_describe_themselves(stub: Any) -> None:
    assert stub.ServerLive(pb.ServerLiveRequest()).live
    assert stub.ServerReady(pb.ServerReadyRequest()).ready
    assert stub.ModelReady(pb.ModelReadyRequest(name="small-table", version="1")).ready
    assert stub.ServerMetadata(pb.ServerMetadataRequest()).name == "lading"
    metadata = stub.ModelMetadata(pb.ModelMetadataRequest(name="small-table"))
    assert (list(metadata.versions), metadata.inputs[0].datatype, list(metadata.inputs[0].shape)) == (
        ["1"],
        "FP32",
        [-1, 4],
    )


def test_typed_contents_get_typed_contents_and_the_id_back(stub: Any) -> None:
    answer = stub.ModelInfer(typed([1, 2, 3, 4], id="abc"))
    assert (answer.id, answer.model_name, answer.model_version) == ("abc", "small-table", "1")
    assert list(answer.outputs[0].contents.fp32_contents) == [10.0]
    assert not answer.raw_output_contents


def test_raw_contents_get_raw_contents_back(stub: Any) -> None:
    answer = stub.ModelInfer(raw(np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32)))
    assert np.frombuffer(answer.raw_output_contents[0], "<f4").tolist() == [10.0, 26.0]
    assert list(answer.outputs[0].shape) == [2, 1]


def test_a_picture_may_be_an_encoded_file(pictures: LiveServer, encode: Encode) -> None:
    tensor = pb.ModelInferRequest.InferInputTensor(name="image", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(encode())
    request = pb.ModelInferRequest(model_name="small-colour", inputs=[tensor])
    request.outputs.add(name="colour")
    with grpc.insecure_channel(pictures.grpc) as channel:
        answer = GRPCInferenceServiceStub(channel).ModelInfer(request)  # type: ignore[no-untyped-call]
    assert len(answer.outputs) == 1
    assert int(np.argmax(answer.outputs[0].contents.fp32_contents)) == 0


def test_every_error_has_its_status_and_a_sentence(stub: Any) -> None:
    code = grpc.StatusCode
    assert refused(stub.ModelInfer, typed([1, 2]))[0] == code.INVALID_ARGUMENT
    assert refused(stub.ModelInfer, typed([1, 2, 3, 4], model_name="x"))[0] == code.NOT_FOUND
    assert refused(stub.ModelReady, pb.ModelReadyRequest(name="x"))[0] == code.NOT_FOUND
    assert refused(stub.ModelMetadata, pb.ModelMetadataRequest(name="x"))[0] == code.NOT_FOUND
    mixed = typed([1, 2, 3, 4])
    mixed.inputs[0].contents.int_contents.append(1)
    assert "its values in" in refused(stub.ModelInfer, mixed)[1]
    short = raw(np.zeros((1, 4), np.float32))
    short.raw_input_contents.append(b"")
    assert "send one each" in refused(stub.ModelInfer, short)[1]
    asked = typed([1, 2, 3, 4])
    asked.outputs.add(name="y")
    assert refused(stub.ModelInfer, asked) == (
        code.INVALID_ARGUMENT,
        "unknown output 'y'; the outputs are: total",
    )
    load = pb.RepositoryModelLoadRequest(model_name="x")
    assert refused(stub.RepositoryModelLoad, load)[0] == code.PERMISSION_DENIED


def test_many_requests_are_in_flight_on_one_stream_and_errors_are_answers_too(stub: Any) -> None:
    requests = [typed([number, 0, 0, 0], id=str(number)) for number in range(5)] * 30
    requests.append(typed([1], id="bad"))
    answers = list(stub.ModelStreamInfer(iter(requests)))
    assert len(answers) == 151
    errors = {answer.infer_response.id: answer.error_message for answer in answers if answer.error_message}
    assert list(errors) == ["bad"]
    assert "which is not its shape" in errors["bad"]
    for answer in answers:
        if not answer.error_message:
            total = answer.infer_response.outputs[0].contents.fp32_contents[0]
            assert total == float(answer.infer_response.id)


def test_bytes_that_are_no_message_are_refused_in_a_sentence(table: LiveServer) -> None:
    with grpc.insecure_channel(table.grpc) as channel:
        alone = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        sentence = "the message of 2 bytes is no inference.ModelInferRequest: it is incomplete, or no protobuf"
        refusal = (grpc.StatusCode.INVALID_ARGUMENT, sentence)
        assert refused(alone, b"\xff\xff") == refusal
        streamed = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")
        assert refused(lambda bad: list(streamed(iter([bad]))), b"\xff\xff") == refusal


def test_an_overloaded_server_refuses_and_says_when_to_return(small: dict[str, Artifact]) -> None:
    with live_server(small["table"], lanes=1, max_queue=0) as live, grpc.insecure_channel(live.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        gate = threading.Event()
        live.hold(gate)
        with pytest.raises(grpc.RpcError) as error:
            stub.ModelInfer(typed([1, 2, 3, 4]))
        gate.set()
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert dict(error.value.trailing_metadata())["grpc-retry-pushback-ms"] == "1000"


def test_a_deadline_ends_a_call_and_a_cancelled_call_leaves_the_queue(small: dict[str, Artifact]) -> None:
    with live_server(small["table"], lanes=1) as live, grpc.insecure_channel(live.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        gate = threading.Event()
        live.hold(gate)
        live.app.repository.find().service_seconds = 0.0  # so that the late one is accepted
        assert refused(stub.ModelInfer, typed([1, 2, 3, 4]), timeout=0.5)[0] == grpc.StatusCode.DEADLINE_EXCEEDED
        call = stub.ModelInfer.future(typed([1, 2, 3, 4]))
        wait_until(lambda: live.app.engine._pending == 3)
        call.cancel()
        wait_until(lambda: "lading_requests_in_flight 0.0" in live.client.get("/metrics").text)
        gate.set()
        wait_until(lambda: live.app.engine._pending == 0)
        text = live.client.get("/metrics").text
        # Only what held the lane was ever run.
        assert 'lading_inference_duration_seconds_count{model="small-table",variant="fp32"} 1.0' in text


def test_health_follows_readiness(small: dict[str, Artifact]) -> None:
    loading = threading.Event()
    status = health_pb2.HealthCheckResponse.ServingStatus
    with live_server(small["table"], ready=False, loading=loading) as live, grpc.insecure_channel(live.grpc) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        check = health_pb2.HealthCheckRequest(service=SERVICE)
        assert health.Check(check).status == status.NOT_SERVING
        loading.set()
        wait_until(lambda: health.Check(check).status == status.SERVING)


def test_what_was_accepted_is_answered_when_the_server_stops(small: dict[str, Artifact]) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    with live_server(small["table"], lanes=1) as live, grpc.insecure_channel(live.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        gate = threading.Event()
        live.hold(gate)
        calls = [stub.ModelInfer.future(typed([1, 2, 3, 4])) for _ in range(5)]
        for call in calls:
            call.add_done_callback(lambda done: answers.put(done.code()))
        wait_until(lambda: live.app.engine._pending == 6)
        live.stop.set()
        wait_until(lambda: live.app.repository.stopping)
        gate.set()
        assert [answers.get(timeout=20) for _ in calls] == [grpc.StatusCode.OK] * 5


def test_requests_are_counted_under_their_protocol(small: dict[str, Artifact]) -> None:
    with live_server(small["table"]) as live, grpc.insecure_channel(live.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        stub.ModelInfer(typed([1, 2, 3, 4]))
        refused(stub.ModelInfer, typed([1, 2, 3, 4], model_name="made-up"))
        text = live.client.get("/metrics").text
    assert 'lading_requests_total{code="200",model="small-table",protocol="grpc",variant="fp32"} 1.0' in text
    assert 'lading_requests_total{code="404",model="unknown",protocol="grpc",variant="unknown"} 1.0' in text
    assert "made-up" not in text


def test_a_connection_is_told_to_go_when_it_is_old_and_no_call_is_lost(small: dict[str, Artifact]) -> None:
    states: queue.SimpleQueue[grpc.ChannelConnectivity] = queue.SimpleQueue()
    connected = 0
    with live_server(small["table"], grpc_connection_s=0.2) as live, grpc.insecure_channel(live.grpc) as channel:
        channel.subscribe(states.put)
        stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        while connected < 4:
            assert stub.ModelInfer(typed([1, 2, 3, 4])).outputs[0].name
            while not states.empty():
                connected += states.get() is grpc.ChannelConnectivity.READY
