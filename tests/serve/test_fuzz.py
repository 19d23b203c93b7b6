"""Mutated requests over REST and gRPC: each is answered or refused, and the server is as it was.

``LADING_FUZZ`` is the number of requests; ``make fuzz`` sends 100,000.
"""

from __future__ import annotations

import json
import os
import random
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
import structlog
from structlog.testing import capture_logs

from lading.artifact import Artifact
from lading.protocol.proto import inference_pb2 as pb
from tests.given.live_server import LiveServer, live_server
from tests.given.pictures import Encode

COUNT = int(os.environ.get("LADING_FUZZ", "1500"))
INFER = "/inference.GRPCInferenceService/ModelInfer"
# UNKNOWN, INTERNAL and UNAVAILABLE would be the server's fault.
GOOD_CODES = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "OUT_OF_RANGE"}

STUMBLES = [b"\0", b"\xff" * 4, b"-1", b"1e999", b"NaN", b"null", b"[", b'"', b"{}", b"9" * 30]

Post = tuple[str, bytes, dict[str, str]]


def mutated(rng: random.Random, data: bytes) -> bytes:
    """Change a few places: flip, cut, repeat, insert what parsers stumble over."""
    content = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(content) + 1)
        kind = rng.randrange(6)
        if kind == 0 and content:
            content[at % len(content)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del content[at : at + rng.randint(1, 20)]
        elif kind == 2:
            content[at:at] = content[at : at + rng.randint(1, 40)]
        elif kind == 3:
            content[at:at] = rng.choice(STUMBLES)
        elif kind == 4:
            content[at : at + 8] = struct.pack("<q", rng.choice([-1, 2**63 - 1, 2**31, 0]))
        else:
            del content[at:]
    return bytes(content)


def seeds(photo: bytes) -> list[Post]:
    """Requests that are answered."""
    pixels = np.full((1, 16, 16, 3), 200, np.uint8)
    entry = {"name": "image", "shape": [1, 16, 16, 3], "datatype": "UINT8", "parameters": {"binary_data_size": 768}}
    head = json.dumps({"id": "1", "inputs": [entry], "outputs": [{"name": "shade"}]}).encode()
    nested = json.dumps({"inputs": [entry | {"parameters": {}, "data": pixels.ravel().tolist()}]}).encode()
    form = b'--x\r\ncontent-disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n' + photo + b"\r\n--x--\r\n"
    v2 = "/v2/models/small-colour/infer"
    return [
        ("/classify", photo, {"content-type": "image/jpeg"}),
        ("/classify", form, {"content-type": "multipart/form-data; boundary=x"}),
        ("/predict", json.dumps({"image": pixels.tolist()}).encode(), {"content-type": "application/json"}),
        (v2, nested, {"content-type": "application/json"}),
        (v2, head + pixels.tobytes(), {"inference-header-content-length": str(len(head))}),
        (v2, photo, {"inference-header-content-length": "0"}),
    ]


def message(photo: bytes) -> bytes:
    tensor = pb.ModelInferRequest.InferInputTensor(name="image", datatype="BYTES", shape=[1])
    raw = struct.pack("<I", len(photo)) + photo
    request = pb.ModelInferRequest(model_name="small-colour", id="1", inputs=[tensor], raw_input_contents=[raw])
    return bytes(request.SerializeToString())


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def healthy(small: dict[str, Artifact]) -> Iterator[LiveServer]:
    with live_server(small["colour"], max_pixels=1_000_000) as live:
        yield live


def fuzz(live: LiveServer, send: Callable[[random.Random], str], good: Callable[[str], bool]) -> None:
    rng = random.Random(0)
    answers: Counter[str] = Counter()
    structlog.reset_defaults()
    with capture_logs() as lines:
        for number in range(COUNT // 2):
            if number == COUNT // 4:
                before = resident_bytes()
            answers[send(rng)] += 1
    assert not [line for line in lines if line["log_level"] in ("error", "critical")]
    bad = {answer: count for answer, count in answers.items() if not good(answer)}
    assert not bad, answers
    assert len(answers) > 1, "the mutations broke nothing, or everything"
    grown = (resident_bytes() - before) / 1e6
    print(f"\n{answers.total()} requests: {dict(answers.most_common())}; memory {grown:+.1f} MB in their second half")
    assert grown < 32
    assert live.client.get("/readyz").status_code == 200
    assert live.app.engine._pending == 0


def test_no_mutated_http_request_is_answered_5xx(healthy: LiveServer, encode: Encode) -> None:
    posts = seeds(encode())
    for path, body, headers in posts:
        assert healthy.client.post(path, content=body, headers=headers).status_code == 200

    def send(rng: random.Random) -> str:
        path, body, headers = rng.choice(posts)
        if rng.random() < 0.1:
            name = rng.choice(list(headers))
            changed = mutated(rng, headers[name].encode()).decode("latin-1")
            headers = {**headers, name: "".join(filter(str.isprintable, changed)).strip()}
        else:
            body = mutated(rng, body)
        try:
            return str(healthy.client.post(path, content=body, headers=headers).status_code)
        except (UnicodeEncodeError, httpx.LocalProtocolError):
            return "400"  # the client would not send it

    fuzz(healthy, send, lambda answer: answer[0] in "24")


def test_no_mutated_grpc_message_is_an_internal_error(healthy: LiveServer, encode: Encode) -> None:
    whole = message(encode())
    with grpc.insecure_channel(healthy.grpc) as channel:
        call = channel.unary_unary(INFER)
        assert call(whole)

        def send(rng: random.Random) -> str:
            try:
                call(mutated(rng, whole))
            except grpc.RpcError as error:
                return str(error.code().name)
            return "OK"

        fuzz(healthy, send, GOOD_CODES.__contains__)
