"""Calls that this server does not have, and bytes that are no message: a status and a sentence each."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from lading.artifact import Artifact
from lading.protocol.proto import inference_pb2 as pb
from tests.given.grpc_message import typed
from tests.given.live_server import LiveServer, wait_until
from tests.given.raw_grpc import raw_call
from tests.given.served_process import serving

SERVICE = "inference.GRPCInferenceService"
CODE = grpc.StatusCode


@pytest.fixture
def channel(table: LiveServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(table.grpc) as channel:
        yield channel


def refused(channel: grpc.Channel, path: str, data: bytes, kind: str = "unary_unary") -> tuple[grpc.StatusCode, str]:
    """How a call ends; ``kind`` is a method of the channel."""

    def call() -> None:
        answer = getattr(channel, kind)(path)(iter([data]) if kind.startswith("stream") else data, timeout=20)
        if kind.endswith("stream"):
            list(answer)

    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value.code(), error.value.details()


@pytest.mark.parametrize("kind", ["unary_unary", "unary_stream", "stream_unary", "stream_stream"])
@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/kserve.GRPCInferenceService/ModelInfer", ["'kserve.GRPCInferenceService'", f"/{SERVICE}/ModelInfer"]),
        ("/tensorflow.serving.PredictionService/Predict", ["'tensorflow.serving.PredictionService'", SERVICE]),
        (f"/{SERVICE}/Infer", ["'Infer'", "ModelInfer"]),
        (f"/{SERVICE}/modelinfer", ["'modelinfer'", "ModelInfer"]),
        ("/grpc.health.v1.Health/check", ["'check'", "Check"]),
        ("/ModelInfer", ["'/ModelInfer'", f"/{SERVICE}/"]),
        ("/", ["'/'", f"/{SERVICE}/"]),
        (f"/{'x' * 4000}/{'y' * 4000}", ["xxx", SERVICE]),
    ],
)
def test_an_unknown_call_is_told_what_there_is(channel: grpc.Channel, path: str, named: list[str], kind: str) -> None:
    code, sentence = refused(channel, path, b"", kind)
    assert code == CODE.UNIMPLEMENTED
    assert all(part in sentence for part in named), sentence
    assert len(sentence) <= 500


def test_an_unknown_call_has_a_key_an_id_and_a_line_in_the_log_as_any_other(
    small: dict[str, Artifact], tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text("alpha\n")
    with (
        serving(
            small["table"].path, tmp_path / "log", LADING_ACCESS_LOG="true", LADING_API_KEYS=str(tmp_path / "keys")
        ) as served,
        grpc.insecure_channel(served.grpc) as channel,
    ):
        call = channel.unary_unary("/kserve.GRPCInferenceService/ModelInfer")
        for metadata, code in (
            ((), CODE.UNAUTHENTICATED),
            ((("authorization", "Bearer alpha"), ("x-request-id", "mine")), CODE.UNIMPLEMENTED),
        ):
            with pytest.raises(grpc.RpcError) as error:
                call(b"", metadata=metadata, timeout=20)
            assert error.value.code() == code
        assert dict(error.value.trailing_metadata())["x-request-id"] == "mine"
        wait_until(lambda: '"mine"' in served.log.read_text())
        line = json.loads(next(line for line in served.log.read_text().splitlines() if '"mine"' in line))
        assert (line["path"], line["status"]) == ("/kserve.GRPCInferenceService/ModelInfer", 501)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"\xff\xff", "no protobuf"),
        (json.dumps({"inputs": []}).encode(), "JSON over REST"),
        (gzip.compress(typed([1, 2, 3, 4]).SerializeToString(), mtime=0), "grpc.Compression.Gzip"),
        (b"\xff\xd8\xff\xe0 JFIF", "datatype BYTES"),
        (b"\x89PNG\r\n\x1a\n", "datatype BYTES"),
        (typed([1, 2, 3, 4]).SerializeToString()[:-3], "incomplete"),
    ],
)
@pytest.mark.parametrize(
    "called",
    [
        (f"/{SERVICE}/ModelInfer", "unary_unary", "inference.ModelInferRequest"),
        (f"/{SERVICE}/ModelStreamInfer", "stream_stream", "inference.ModelInferRequest"),
        (f"/{SERVICE}/ServerReady", "unary_unary", "inference.ServerReadyRequest"),
        ("/grpc.health.v1.Health/Check", "unary_unary", "grpc.health.v1.HealthCheckRequest"),
        ("/grpc.health.v1.Health/Watch", "unary_stream", "grpc.health.v1.HealthCheckRequest"),
        (
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "stream_stream",
            "grpc.reflection.v1alpha.ServerReflectionRequest",
        ),
    ],
)
def test_bytes_that_are_no_message_are_named(
    channel: grpc.Channel, data: bytes, named: str, called: tuple[str, str, str]
) -> None:
    path, kind, message = called
    code, sentence = refused(channel, path, data, kind)
    assert code == CODE.INVALID_ARGUMENT
    assert sentence.startswith(f"the message of {len(data)} bytes is no {message}: ")
    assert named in sentence


def test_an_empty_message_is_told_what_to_send(channel: grpc.Channel) -> None:
    code, sentence = refused(channel, f"/{SERVICE}/ModelInfer", b"")
    assert code == CODE.INVALID_ARGUMENT
    assert sentence == "the message is empty: send inference.ModelInferRequest with model_name and inputs"
    stream = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")
    messages = [b"", typed([1, 2, 3, 4]).SerializeToString()]
    first, second = (pb.ModelStreamInferResponse.FromString(answer) for answer in stream(iter(messages)))
    assert first.error_message == sentence
    assert second.infer_response.outputs


def test_what_clients_send_wrongly_is_not_written_to_the_log_by_grpc(
    small: dict[str, Artifact], tmp_path: Path
) -> None:
    with serving(small["table"].path, tmp_path / "log") as served:
        with raw_call(served.grpc) as call:
            call.begin(f"/{SERVICE}/ModelInfer", 3, grpc_encoding="br")
            call.wait_ended()
        for nonsense in (b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"\x16\x03\x01", bytes(1000)):
            host, port = served.grpc.split(":")
            with socket.create_connection((host, int(port)), timeout=20) as connection:
                connection.sendall(nonsense)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65_536):
                    pass
        lines = served.log.read_text().splitlines()
    assert lines
    assert all(json.loads(line)["level"] == "info" for line in lines), lines


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_messages_are_answered(channel: grpc.Channel, compression: grpc.Compression) -> None:
    call = channel.unary_unary(f"/{SERVICE}/ModelInfer")
    assert call(typed([1, 2, 3, 4]).SerializeToString(), compression=compression)
