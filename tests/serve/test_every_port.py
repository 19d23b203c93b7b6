"""The same request through every port: same status, count, log line, record and id.

A new outcome is one more row of ``CASES``, a new port one more of ``PORTS``.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import LogCapture

from lading.artifact import Artifact
from lading.protocol.proto import inference_pb2 as pb
from lading.protocol.proto.inference_pb2_grpc import GRPCInferenceServiceStub
from lading.record.exchange import Exchange
from tests.given.bento_in_process import bento_in_process
from tests.given.grpc_message import typed
from tests.given.live_server import LiveServer, wait_until

SERVICE = "inference.GRPCInferenceService"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
VALUES = [1.0, 2.0, 3.0, 4.0]
MODEL = "small-table"
GRPC_CODES = {
    200: grpc.StatusCode.OK,
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


@dataclass
class Ports:
    """The ports of one server, and what it keeps of its answers."""

    bento: LiveServer
    lean: str
    exchanges: list[Exchange] = field(default_factory=list)
    lines: LogCapture = field(default_factory=LogCapture)
    held = waiting = 0

    def wants(self, exchange: Exchange) -> bool:
        """As a consumer of the recorder: keep it here, on the event loop, and hand nothing to the thread."""
        self.exchanges.append(exchange)
        return False

    def take(self, exchange: Exchange) -> None:
        raise AssertionError(exchange)

    def tick(self) -> None:
        """Nothing to do without requests."""

    def close(self) -> None:
        """Nothing to finish."""

    def counts(self) -> Counter[tuple[str, ...]]:
        """Answers so far, by code, model, variant and protocol."""
        found: Counter[tuple[str, ...]] = Counter()
        for family in text_string_to_metric_families(httpx.get(f"{self.lean}/metrics").text):
            for sample in family.samples:
                if sample.name == "lading_requests_total" and sample.value:
                    labels = tuple(sample.labels[name] for name in ("code", "model", "variant", "protocol"))
                    found[labels] = int(sample.value)
        return found


@dataclass
class Asked:
    """One request, before a port puts it into its own form."""

    model: str | None = None
    well_formed: bool = True
    timeout_ms: str = ""
    key: str = "sesame"
    message_id: str = ""
    request_id: str = ""
    traced: bool = False

    def headers(self) -> dict[str, str]:
        sent = {"authorization": f"Bearer {self.key}"} if self.key else {}
        if self.timeout_ms:
            sent["x-request-timeout-ms"] = self.timeout_ms
        if self.request_id:
            sent["x-request-id"] = self.request_id
        if self.traced:
            sent["traceparent"] = f"00-{TRACE}-00f067aa0ba902b7-01"
        return sent

    def message(self) -> bytes:
        fields: dict[str, Any] = {"model_name": self.model} if self.model else {}
        good = typed(VALUES, id=self.message_id, **fields).SerializeToString()
        return good if self.well_formed else b"\xff\xff"


@dataclass
class Seen:
    """What a client sees of an answer."""

    status: int | grpc.StatusCode | None
    """``None`` for an error that is an answer on a stream: its status shows in the count."""
    request_id: str | None
    """``None`` on a stream, whose answers have no headers."""
    message_id: str = ""


def plain(url: str, asked: Asked) -> Seen:
    query = f"?model={asked.model}" if asked.model else ""
    body = b'{"features": [[1, 2, 3, 4]]}' if asked.well_formed else b"{"
    answer = httpx.post(f"{url}/predict{query}", content=body, headers=asked.headers())
    return Seen(answer.status_code, answer.headers["x-request-id"])


def rest(url: str, asked: Asked) -> Seen:
    tensor = {"name": "features", "shape": [1, 4], "datatype": "FP32", "data": VALUES}
    content: dict[str, Any] = {"inputs": [tensor]} | ({"id": asked.message_id} if asked.message_id else {})
    path = f"/v2/models/{asked.model or MODEL}/infer"
    if asked.well_formed:
        answer = httpx.post(f"{url}{path}", json=content, headers=asked.headers())
    else:
        answer = httpx.post(f"{url}{path}", content=b"{", headers=asked.headers())
    return Seen(answer.status_code, answer.headers["x-request-id"], answer.json().get("id", ""))


def unary(address: str, asked: Asked) -> Seen:
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        answer = call.future(asked.message(), metadata=tuple(asked.headers().items()), timeout=20)
        code = answer.code()
        message_id = pb.ModelInferResponse.FromString(answer.result()).id if code == grpc.StatusCode.OK else ""
        return Seen(code, dict(answer.trailing_metadata()).get("x-request-id"), message_id)


def stream(address: str, asked: Asked) -> Seen:
    with grpc.insecure_channel(address) as channel:
        call = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")
        answers = call(iter([asked.message()]), metadata=tuple(asked.headers().items()), timeout=20)
        try:
            (answer,) = [pb.ModelStreamInferResponse.FromString(one) for one in answers]
        except grpc.RpcError as error:
            return Seen(error.code(), None)
        status = None if answer.error_message else answers.code()
        return Seen(status, None, answer.infer_response.id)


@dataclass(frozen=True)
class Port:
    """One way to ask for an inference."""

    protocol: str
    path: str
    ask: Callable[[Ports, Asked], Seen]


PORTS = {
    "3000 plain": Port("http", "/predict", lambda ports, asked: plain(ports.bento.url, asked)),
    "8080 plain": Port("http", "/predict", lambda ports, asked: plain(ports.lean, asked)),
    "3000 OIP": Port("v2", "/v2/models/{model}/infer", lambda ports, asked: rest(ports.bento.url, asked)),
    "8080 OIP": Port("v2", "/v2/models/{model}/infer", lambda ports, asked: rest(ports.lean, asked)),
    "9000 unary": Port("grpc", f"/{SERVICE}/ModelInfer", lambda ports, asked: unary(ports.bento.grpc, asked)),
    "9000 stream": Port("grpc", f"/{SERVICE}/ModelStreamInfer", lambda ports, asked: stream(ports.bento.grpc, asked)),
}


def overloaded(ports: Ports) -> Callable[[], None]:
    gate = threading.Event()
    ports.bento.hold(gate)
    engine = ports.bento.app.engine

    def end() -> None:
        gate.set()
        wait_until(lambda: engine._pending == 0)

    return end


def draining(ports: Ports) -> Callable[[], None]:
    engine = ports.bento.app.engine
    engine.draining = True

    def end() -> None:
        engine.draining = False

    return end


@dataclass(frozen=True)
class Case:
    """One outcome, as every port must show it."""

    status: int
    asked: Asked = field(default_factory=Asked)
    model: str = MODEL
    """Label of the count; only a model that is served is named."""
    grpc_model: str = ""
    """The label where a gRPC message is needed to know the model."""
    begin: Callable[[Ports], Callable[[], None]] | None = None
    """Puts the server into a state, and returns what ends it."""


CASES = {
    "good": Case(200),
    "malformed": Case(400, Asked(well_formed=False), grpc_model="unknown"),
    "no such model": Case(404, Asked(model="none"), model="unknown"),
    "no key": Case(401, Asked(key=""), model="unknown"),
    "wrong key": Case(401, Asked(key="guess"), model="unknown"),
    "late": Case(504, Asked(timeout_ms="0.0001")),
    "overloaded": Case(429, begin=overloaded),
    "draining": Case(503, begin=draining),
}


@pytest.fixture(scope="module")
def every(small: dict[str, Artifact], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    keys: Path = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text("sesame\n")
    settings = {"max_queue": 0, "api_keys": keys, "access_log": "true", "deadline_ms": 60_000}
    with bento_in_process(small["table"], **settings) as (bento, lean):
        ports = Ports(bento, lean)
        bento.app.recording._quick._consumers = (ports,)
        yield ports


@pytest.fixture
def ports(every: Ports) -> Ports:
    """The same server, with what it has kept so far forgotten."""
    every.exchanges.clear()
    every.lines = LogCapture()
    structlog.configure(processors=[every.lines])
    return every


def lines(ports: Ports) -> list[dict[str, Any]]:
    """The access log's lines on inference."""
    # An answer is sent before it is logged. Both happen in one turn of the loop, and this is answered in a later one.
    httpx.get(f"{ports.lean}/livez")
    paths = ("/livez", "/metrics")
    return [dict(line) for line in ports.lines.entries if line["event"] == "request" and line["path"] not in paths]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("port", PORTS.values(), ids=PORTS)
def test_an_outcome_has_one_status_count_line_and_record_on_every_port(ports: Ports, port: Port, case: Case) -> None:
    asked = Asked(**{**vars(case.asked), "request_id": "order-66"})
    before = ports.counts()
    end = case.begin(ports) if case.begin else None
    try:
        seen = port.ask(ports, asked)
    finally:
        if end is not None:
            end()
    expected = GRPC_CODES[case.status] if port.protocol == "grpc" else case.status
    assert seen.status in (expected, None)
    assert seen.request_id in ("order-66", None)

    model = (case.grpc_model or case.model) if port.protocol == "grpc" else case.model
    known = model != "unknown"
    labels = (str(case.status), model, "fp32" if known else "unknown", port.protocol)
    assert ports.counts() - before == Counter([labels])

    (line,) = lines(ports)
    path = port.path.format(model=asked.model or MODEL)
    assert (line["method"], line["path"], line["status"]) == ("POST", path, case.status)
    assert line["request_id"] == "order-66"

    kept = [(one.request_id, one.model.name, one.protocol, one.code) for one in ports.exchanges]
    assert kept == ([("order-66", MODEL, port.protocol, case.status)] if known else [])


IDS = {
    "the header": (Asked(request_id="order-66"), "order-66"),
    "the message": (Asked(message_id="m-1"), "m-1"),
    "the trace": (Asked(traced=True), TRACE),
    "the header before the trace": (Asked(request_id="order-66", traced=True), "order-66"),
    "the message before the trace": (Asked(message_id="m-1", traced=True), "m-1"),
    "what fits into a header": (Asked(message_id="two words\r\n", traced=True), TRACE),
    "nothing": (Asked(), ""),
}


@pytest.mark.parametrize(("asked", "expected"), IDS.values(), ids=IDS)
@pytest.mark.parametrize("name", ["3000 OIP", "8080 OIP", "9000 unary", "9000 stream"])
def test_one_answer_has_one_id_in_its_headers_its_log_line_and_its_record(
    ports: Ports, name: str, asked: Asked, expected: str
) -> None:
    seen = PORTS[name].ask(ports, asked)
    (line,), (kept,) = lines(ports), ports.exchanges
    used = expected or line["request_id"]
    assert used
    assert (line["request_id"], kept.request_id, seen.request_id) == (used, used, seen.request_id and used)
    assert seen.request_id or name == "9000 stream"
    assert seen.message_id == asked.message_id, "the message's own id is echoed"


@pytest.mark.parametrize("name", ["3000 OIP", "8080 OIP", "9000 unary"])
def test_the_header_goes_before_the_messages_id(ports: Ports, name: str) -> None:
    seen = PORTS[name].ask(ports, Asked(request_id="order-66", message_id="m-1"))
    assert (lines(ports)[0]["request_id"], ports.exchanges[0].request_id) == ("order-66", "order-66")
    assert (seen.request_id, seen.message_id) == ("order-66", "m-1")


def test_a_streams_header_names_the_stream_and_each_message_has_its_own_id(ports: Ports) -> None:
    seen = stream(ports.bento.grpc, Asked(request_id="order-66", message_id="m-1"))
    assert (lines(ports)[0]["request_id"], ports.exchanges[0].request_id, seen.message_id) == ("m-1", "m-1", "m-1")


OPEN = {"ServerLive": pb.ServerLiveRequest(), "ServerReady": pb.ServerReadyRequest()}
LOCKED = {
    "ModelReady": pb.ModelReadyRequest(name="guess"),
    "ModelMetadata": pb.ModelMetadataRequest(name="guess"),
    "ServerMetadata": pb.ServerMetadataRequest(),
    "RepositoryIndex": pb.RepositoryIndexRequest(),
    "RepositoryModelLoad": pb.RepositoryModelLoadRequest(model_name="guess"),
    "RepositoryModelUnload": pb.RepositoryModelUnloadRequest(model_name="guess"),
}


def test_grpc_calls_that_run_no_model_need_a_key_and_are_logged_as_over_http(ports: Ports) -> None:
    with grpc.insecure_channel(ports.bento.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        for name, request in OPEN.items():
            assert getattr(stub, name)(request)
        for name, request in LOCKED.items():
            with pytest.raises(grpc.RpcError) as refused:
                getattr(stub, name)(request)
            assert (name, refused.value.code()) == (name, grpc.StatusCode.UNAUTHENTICATED)
            assert MODEL not in refused.value.details()
    logged = [(line["path"].rpartition("/")[2], line["status"]) for line in lines(ports)]
    assert logged == [(name, 200) for name in OPEN] + [(name, 401) for name in LOCKED]
