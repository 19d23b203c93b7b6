"""The deadline of a call: the setting's, or the client's own up to a maximum."""

from __future__ import annotations

import asyncio

import pytest

from lading.artifact import Artifact
from lading.protocol.plain import PredictCodec
from lading.serve.call import Call
from lading.serve.request import InferenceRequest
from tests.given.engine import app_of


@pytest.mark.parametrize(
    ("header", "grpc_s", "expected_s"),
    [
        (None, None, 2.0),
        (b"500", None, 0.5),
        (b"2500", None, 2.5),
        (b"5000", None, 5.0),
        (b"5001", None, 5.0),
        (b"3600000", None, 5.0),
        (b"1e300", None, 5.0),
        (None, 0.25, 0.25),
        (None, 3600.0, 5.0),
        (None, 1e18, 5.0),
        (b"500", 3600.0, 0.5),
        (b"3600000", 0.25, 0.25),
    ],
)
def test_a_clients_deadline_has_a_maximum(
    small: dict[str, Artifact], header: bytes | None, grpc_s: float | None, expected_s: float
) -> None:
    assert open_call(small["table"], header, grpc_s, max_deadline_ms=5000) == pytest.approx(expected_s)


def test_the_servers_own_deadline_may_exceed_that_maximum(small: dict[str, Artifact]) -> None:
    settings = {"deadline_ms": 9000, "max_deadline_ms": 5000}
    assert open_call(small["table"], None, None, **settings) == pytest.approx(9.0)
    assert open_call(small["table"], b"8000", None, **settings) == pytest.approx(8.0)
    assert open_call(small["table"], b"10000", None, **settings) == pytest.approx(9.0)


def open_call(artifact: Artifact, header: bytes | None, grpc_s: float | None, **settings: float) -> float:
    """Seconds that a call has from its begin to its deadline."""

    async def scenario() -> float:
        app = app_of(artifact, **{"deadline_ms": 2000, **settings})
        await app.start()
        try:
            headers = {} if header is None else {b"x-request-timeout-ms": header}
            begin = asyncio.get_running_loop().time()
            request = InferenceRequest("http", "POST", "/predict", headers, begin, timeout_s=grpc_s)
            call = Call(app.backend, request, PredictCodec, lambda _: 0)
            call.open()
            call.leave()
            return call.deadline - begin
        finally:
            await app.stop()

    return asyncio.run(scenario())
