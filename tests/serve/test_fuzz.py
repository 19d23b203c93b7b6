"""Mutated requests over REST and gRPC: each is answered or refused at once, and the server is as it was.

``LADING_FUZZ`` is the number of requests; ``make fuzz`` sends 100,000.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import socket
import struct
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import grpc
import numpy as np
import pytest

from benchmarks.server.process_clock import cpu_seconds
from lading.artifact import Artifact
from lading.protocol.proto import inference_pb2 as pb
from tests.given.hostile_pictures import every_format
from tests.given.http_exchange import Answer, Client, address, exchange, request
from tests.given.mutations import mutated_bytes, mutated_form, mutated_json, mutated_message, mutated_picture
from tests.given.served_process import ServedProcess
from tests.given.small_artifacts import graph_artifact
from tests.given.watched_server import memory_limit_mb, peak_mb, resident_mb, within_a_pod

COUNT = int(os.environ.get("LADING_FUZZ", "1500"))
INFER = "/inference.GRPCInferenceService/ModelInfer"
COLOUR, TABLE = "/v2/models/small-colour/infer", "/v2/models/small-table/infer"
# UNKNOWN, INTERNAL and UNAVAILABLE would be the server's fault.
GOOD_CODES = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "OUT_OF_RANGE", "RESOURCE_EXHAUSTED"}
SLOW_S = 1.0
"""CPU time of the server for one request, which no busy machine makes longer."""
SENTENCE = 500
CLOSED_WITHIN_S = 30.0
"""The server's own limits are a second or two; this machine may be busy."""
AT_ONCE = 64

Send = Callable[[random.Random], Answer]


@pytest.fixture(scope="module")
def served(small: dict[str, Artifact], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedProcess]:
    """All small models within the chart's pod, with limits of time that a test can wait for."""
    folder: Path = tmp_path_factory.mktemp("fuzz")
    tensors = ("node_features", "edge_index", "owner")
    first = graph_artifact(folder / "molecules", name="small-molecules", features=11, tensors=tensors)
    with within_a_pod(
        first.path,
        folder / "log",
        LADING_MODELS=str(small["colour"].path.parent),
        LADING_TEXT_FORMS="smiles=models.molecule_graphs.smiles:read_smiles",
        LADING_FEEDBACK="1000",
        LADING_HEADER_TIMEOUT_S="1",
        LADING_BODY_TIMEOUT_S="1",
        LADING_KEEP_ALIVE_S="1",
        LADING_GRPC_CONNECTION_S="86400",  # a call that meets the end of its connection is sent again by real clients
    ) as served:
        yield served


@cache
def files() -> tuple[bytes, ...]:
    """A sound picture of each format and mode."""
    return tuple(every_format().values())


def photo(rng: random.Random) -> bytes:
    """A picture with a changed part, with changed bytes, or, rarely, as it was."""
    file = rng.choice(files())
    kind = rng.random()
    return file if kind < 0.05 else mutated_picture(rng, file) if kind < 0.7 else mutated_bytes(rng, file)


@cache
def documents() -> tuple[tuple[str, bytes], ...]:
    """JSON that is answered, and where it goes."""
    pixels = np.full((1, 16, 16, 3), 200, np.uint8)
    picture = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [b64encode(files()[0]).decode()]}
    row = {"name": "features", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
    tensor = {"name": "image", "shape": [1, 16, 16, 3], "datatype": "UINT8", "data": pixels.ravel().tolist()}
    classes = {"name": "colour", "parameters": {"classification": 2, "binary_data": False}}
    graph = {"node_features": np.ones((2, 11)).tolist(), "edge_index": [[0, 1], [1, 0]]}
    contents: list[tuple[str, object]] = [
        ("/predict?model=small-colour", {"image": pixels.tolist()}),
        ("/predict?model=small-table", {"features": [[1, 2, 3, 4]]}),
        ("/predict", graph),
        (COLOUR, {"id": "1", "inputs": [tensor], "outputs": [{"name": "shade"}]}),
        (COLOUR, {"inputs": [picture], "parameters": {"binary_data_output": True}}),
        (TABLE, {"inputs": [row], "outputs": [{"name": "total", "parameters": {"binary_data": True}}]}),
        (COLOUR, {"inputs": [tensor], "parameters": {"priority": 1}, "outputs": [classes]}),
        ("/feedback", {"request_id": "1", "truth": {"kind": "left"}}),
    ]
    return tuple((path, json.dumps(content).encode()) for path, content in contents)


def a_picture(rng: random.Random) -> bytes:
    return request("POST", "/classify?model=small-colour", photo(rng))


def a_form(rng: random.Random) -> bytes:
    head = b'content-disposition: form-data; name="file"; filename="a"\r\n\r\n'
    body = mutated_form(rng, [head + photo(rng)])
    return request("POST", "/classify?model=small-colour", body, content_type="multipart/form-data; boundary=x")


def a_document(rng: random.Random) -> bytes:
    path, body = rng.choice(documents())
    body = mutated_json(rng, body) if rng.random() < 0.7 else mutated_bytes(rng, body)
    return request("POST", path, body, content_type="application/json")


def raw_tensors(rng: random.Random) -> bytes:
    """The protocol's JSON with raw tensors after it; either may be changed, and the length that a header says."""
    entry = {"name": "image", "shape": [1, 16, 16, 3], "datatype": "UINT8", "parameters": {"binary_data_size": 768}}
    head, data = json.dumps({"inputs": [entry]}).encode(), bytes(768)
    kind = rng.randrange(4)
    if kind == 0:
        head = mutated_json(rng, head)
    elif kind == 1:
        data = mutated_bytes(rng, data)
    elif kind == 2:
        head, data = b"", photo(rng)
    length = mutated_bytes(rng, str(len(head)).encode()) if kind == 3 else str(len(head)).encode()
    sent = "".join(filter(str.isprintable, length.decode("latin-1"))).strip()
    return request("POST", COLOUR, head + data, inference_header_content_length=sent)


def a_text(rng: random.Random) -> bytes:
    parts = (
        "C",
        "c",
        "1",
        "2",
        "%10",
        "(",
        ")",
        "=",
        "#",
        "N",
        "[nH]",
        "[13C@@H]",
        ".",
        "/",
        "\\",
        "F",
        "c1ccccc1",
        "[9+]",
    )
    text = "".join(rng.choices(parts, k=rng.choice((3, 10, 40))))
    return request("POST", "/predict/smiles", (text * rng.choice((1, 1, 20, 400))).encode())


def not_an_inference(rng: random.Random) -> bytes:
    paths = ("/livez", "/metrics", "/report?n=10", "/v2/repository/index", "/v2/models/small-table", "/", "/feedback")
    path = rng.choice(paths)
    if rng.random() < 0.5:
        changed = mutated_bytes(rng, path.encode()).decode("latin-1")
        path = "/" + "".join(c for c in changed if c.isprintable() and not c.isspace())
    return request(rng.choice(("GET", "POST", "PUT")), path, bytes(rng.choice((0, 5, 100_000))))


REQUESTS = (a_picture, a_form, a_document, raw_tensors, a_text, not_an_inference)


@dataclass
class Fuzz:
    """Sends requests one after the other, and watches the server."""

    served: ServedProcess
    good: Callable[[str], bool]
    answers: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    slowest_s: float = 0.0

    def run(self, send: Send, count: int) -> None:
        pid = self.served.process.pid
        Path(f"/proc/{pid}/clear_refs").write_text("5")
        before = resident_mb(pid)
        for number in range(count):
            if number == count // 2:
                before = resident_mb(pid)
            cpu = cpu_seconds(pid)
            answer = send(random.Random(number))  # a number alone repeats its request
            took = cpu_seconds(pid) - cpu
            self.answers[answer.status] += 1
            self.slowest_s = max(self.slowest_s, took)
            if took > SLOW_S or not self.good(answer.status) or len(answer.sentence) > SENTENCE:
                self.problems.append(f"request {number}: {took:.2f} s, {answer}"[:300])
        grown, peak = resident_mb(pid) - before, peak_mb(pid)
        print(
            f"\n{self.answers.total()} requests: {dict(self.answers.most_common())}; the slowest took "
            f"{self.slowest_s:.2f} s; memory {grown:+.1f} MB in their second half, {peak:.0f} MB at most"
        )
        assert self.problems == [], self.problems[:10]
        assert len(self.answers) > 1, "the mutations broke nothing, or everything"
        assert grown < 32
        assert peak < memory_limit_mb()
        assert b'"level": "error"' not in self.served.log.read_bytes()
        path, body = documents()[1]
        assert exchange(self.served.url, request("POST", path, body)).status == "200"


def test_a_mutated_http_request_is_answered_at_once_and_never_5xx(served: ServedProcess) -> None:
    with contextlib.closing(Client(served.url)) as client:
        for path, body in documents()[:-1]:
            assert client.ask(request("POST", path, body)).status == "200"
        fuzz = Fuzz(served, lambda status: status[0] in "24")
        fuzz.run(lambda rng: client.ask(rng.choice(REQUESTS)(rng)), COUNT * 9 // 20)


def message(rng: random.Random) -> bytes:
    """A gRPC request that is answered: a picture, pixels, or numbers."""
    tensor = pb.ModelInferRequest.InferInputTensor
    kind = rng.randrange(3)
    if kind == 0:
        file = photo(rng)
        one, model, raw = tensor(name="image", datatype="BYTES", shape=[1]), "small-colour", file
        raw = struct.pack("<I", len(file)) + file
    elif kind == 1:
        one, model, raw = tensor(name="image", datatype="UINT8", shape=[1, 16, 16, 3]), "small-colour", bytes(768)
    else:
        one, model, raw = tensor(name="features", datatype="FP32", shape=[1, 4]), "small-table", bytes(16)
    sent = pb.ModelInferRequest(model_name=model, inputs=[one], raw_input_contents=[raw])
    if rng.random() < 0.5:
        sent.parameters["priority"].uint64_param = 1
        output = "total" if model == "small-table" else "colour"
        sent.outputs.add(name=output).parameters["classification"].int64_param = 2
    return bytes(sent.SerializeToString())


def test_a_mutated_grpc_message_is_answered_at_once_and_no_internal_error(served: ServedProcess) -> None:
    with grpc.insecure_channel(served.grpc, options=[("grpc.max_send_message_length", -1)]) as channel:
        call = channel.unary_unary(INFER)

        def send(rng: random.Random) -> Answer:
            sent = message(rng)
            sent = mutated_message(rng, sent) if rng.random() < 0.5 else mutated_bytes(rng, sent)
            try:
                return Answer("OK", size=len(call(sent, timeout=60)))
            except grpc.RpcError as error:
                return Answer(error.code().name, error.details() or "")

        Fuzz(served, GOOD_CODES.__contains__).run(send, COUNT * 9 // 20)


def a_connection(rng: random.Random) -> bytes:
    """Bytes of a request and its headers, changed; another byte may follow."""
    whole = rng.choice((a_document, raw_tensors, not_an_inference))(rng)
    if rng.random() < 0.3:
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (b"{", b"}", b"")) + b"a: b\r\n\r\n"
        whole = request("POST", "/predict", None, transfer_encoding="chunked") + body
    head = whole[:300]
    return (mutated_bytes(rng, head) + whole[300:])[: rng.choice((100, 2000, 10_000_000))] + b"G" * rng.randrange(2)


def test_a_mutated_connection_is_not_held(served: ServedProcess) -> None:
    statuses: Counter[str] = Counter()
    for first in range(0, COUNT // 10, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, COUNT // 10))
        opened = {}
        for number in numbers:
            connection = socket.create_connection(address(served.url))
            connection.settimeout(5)
            opened[connection] = number
            # An answer may come, and the connection may be closed, before all is sent.
            with contextlib.suppress(OSError):
                connection.sendall(a_connection(random.Random(number)))
        end, received = time.monotonic() + CLOSED_WITHIN_S, dict.fromkeys(opened, b"")
        while opened and time.monotonic() < end:
            for connection in select.select(list(opened), [], [], end - time.monotonic())[0]:
                try:
                    part = connection.recv(1 << 16)
                except OSError:
                    part = b""
                received[connection] += part[:100]
                if not part:
                    statuses[received[connection][9:12].decode("latin-1")] += 1
                    del opened[connection]
                    connection.close()
        assert not opened, f"connections {list(opened.values())} of the fuzzer are held"
    print(f"\n{statuses.total()} connections: {dict(statuses.most_common())}")
    # A transfer coding or a version that the server does not speak is the client's fault, in spite of the number.
    bad = [status for status in statuses if status.startswith("5") and status not in ("501", "503", "505")]
    assert not bad, statuses
