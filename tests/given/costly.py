"""Ways to send a request that costs a server more than its sender: over HTTP, gRPC, a stream, many connections."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from lading.protocol.proto import inference_pb2 as pb
from tests.given import http_exchange
from tests.given.http_exchange import Answer, request
from tests.given.served_process import ServedProcess

Send = Callable[[ServedProcess], Sequence[Answer]]
Body = Callable[[], bytes]

INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"

REFUSED = frozenset({"400", "413", "415", "422", "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "OUT_OF_RANGE"})
BUSY = frozenset({"408", "429", "503", "504", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "UNAVAILABLE"})
ANSWERED = frozenset({"200", "OK"})
NO_ROUTE = REFUSED | {"401", "404", "405"}
TOO_LONG = REFUSED | {"404", "408", "414", "431"}


SETTINGS = {
    "table": {"LADING_FEEDBACK": "1000", "LADING_MODEL_CONTROL": "true"},
    "colour": {},
    "smiles": {"LADING_TEXT_FORMS": "smiles=models.molecule_graphs.smiles:read_smiles"},
}
"""What each server needs to answer on all routes that costly requests are sent to."""


@dataclass(frozen=True)
class Costly:
    """One thing that is sent."""

    cost: str
    """The row of the table: what is costly about it."""
    name: str
    model: str
    """Which server it is for: ``table``, ``colour`` or ``smiles``."""
    send: Send
    accepted: frozenset[str]

    def __str__(self) -> str:
        return f"{self.cost}: {self.name}"


def rows(cost: str, model: str, sends: dict[str, Send], accepted: frozenset[str] = REFUSED) -> list[Costly]:
    return [Costly(cost, name, model, send, accepted) for name, send in sends.items()]


def post(path: str, body: Body, **headers: str) -> Send:
    """One HTTP request on a connection that the client wants to keep."""
    return lambda served: [http_exchange.exchange(served.url, request("POST", path, body(), **headers))]


def raw(content: Body) -> Send:
    """Bytes as they are."""
    return lambda served: [http_exchange.exchange(served.url, content())]


def infer(*messages: Body, metadata: tuple[tuple[str, str], ...] = ()) -> Send:
    """Messages over gRPC, all at once."""

    def send(served: ServedProcess) -> list[Answer]:
        with _channel(served) as channel:
            call = channel.unary_unary(INFER)
            return [_result(future) for future in [call.future(make(), metadata=metadata) for make in messages]]

    return send


def on_connections(count: int, content: Body, *, patience: float = http_exchange.PATIENCE_S) -> Send:
    """The same bytes on several connections at once, each held until all of them were sent or answered."""

    def send(served: ServedProcess) -> list[Answer]:
        written, answers = content(), list[Answer]()

        def one() -> None:
            answers.append(http_exchange.exchange(served.url, written, patience=patience))

        threads = [threading.Thread(target=one) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return answers

    return send


def streamed(*messages: Body) -> Send:
    """Messages over one gRPC stream."""

    def send(served: ServedProcess) -> list[Answer]:
        answers = []
        with _channel(served) as channel:
            call = channel.stream_stream(STREAM, response_deserializer=pb.ModelStreamInferResponse.FromString)
            try:
                for response in call((make() for make in messages), timeout=http_exchange.PATIENCE_S):
                    code = "INVALID_ARGUMENT" if response.error_message else "OK"
                    answers.append(Answer(code, response.error_message, response.ByteSize()))
            except grpc.RpcError as error:
                answers.append(Answer(error.code().name, error.details() or ""))
        return answers

    return send


@contextlib.contextmanager
def _channel(served: ServedProcess) -> Iterator[grpc.Channel]:
    unlimited = [
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_metadata_size", 2**26),
        ("grpc.absolute_max_metadata_size", 2**26),
    ]
    with grpc.insecure_channel(served.grpc, options=unlimited) as channel:
        yield channel


def _result(call: Any) -> Answer:
    try:
        return Answer("OK", size=len(call.result(http_exchange.PATIENCE_S)))
    except grpc.RpcError as error:
        return Answer(error.code().name, error.details() or "")
    except grpc.FutureTimeoutError:
        return Answer("none")


def binary_infer(path: str, head: Body, data: Body) -> Send:
    """The protocol's JSON with raw tensors after it."""

    def send(served: ServedProcess) -> list[Answer]:
        written = head()
        content = request("POST", path, written + data(), inference_header_content_length=str(len(written)))
        return [http_exchange.exchange(served.url, content)]

    return send


def deadlines(count: int, milliseconds: str, body: Body) -> Send:
    """Requests that may take long, all at once, and after them one that may not."""

    def send(served: ServedProcess) -> list[Answer]:
        patient = on_connections(count, lambda: request("POST", "/predict", body(), x_request_timeout_ms=milliseconds))
        return [*patient(served), http_exchange.exchange(served.url, request("POST", "/predict", body()))]

    return send
