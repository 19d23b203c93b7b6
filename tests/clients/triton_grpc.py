"""What tritonclient.grpc and its asyncio form are used for; run with a server's address and an encoded picture."""

from __future__ import annotations

import asyncio
import queue
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.grpc.aio


def main(url: str, photo: bytes) -> None:
    """Fails with an assertion where the server does not do what the client expects."""
    client = tritonclient.grpc.InferenceServerClient(url)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("small-colour")
    assert client.get_model_metadata("small-colour").outputs[0].name == "colour"
    assert client.get_model_repository_index().models[0].state == "READY"

    encoded = tritonclient.grpc.InferInput("image", [1], "BYTES")
    encoded.set_data_from_numpy(np.array([photo], dtype=object))
    pixels = tritonclient.grpc.InferInput("image", [2, 16, 16, 3], "UINT8")
    pixels.set_data_from_numpy(np.full((2, 16, 16, 3), (230, 20, 20), np.uint8))
    answer = client.infer("small-colour", [pixels], request_id="7", client_timeout=30.0)
    assert answer.get_response().id == "7"
    assert answer.as_numpy("colour").shape == (2, 3)
    streamed(client, encoded)
    client.close()
    asyncio.run(asynchronous(url, encoded))


def streamed(client: tritonclient.grpc.InferenceServerClient, encoded: tritonclient.grpc.InferInput) -> None:
    """Many requests on one stream."""
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for number in range(20):
        client.async_stream_infer("small-colour", [encoded], request_id=str(number))
    found = [answers.get(timeout=30) for _ in range(20)]
    assert not any(error for _, error in found)
    assert {result.get_response().id for result, _ in found} == {str(number) for number in range(20)}
    client.stop_stream()


async def asynchronous(url: str, encoded: tritonclient.grpc.InferInput) -> None:
    """The same by asyncio."""

    async def requests() -> AsyncIterator[dict[str, Any]]:
        for number in range(5):
            yield {"model_name": "small-colour", "inputs": [encoded], "request_id": str(number)}

    async with tritonclient.grpc.aio.InferenceServerClient(url) as client:
        answer = await client.infer("small-colour", [encoded])
        assert answer.as_numpy("colour").argmax() == 0
        seen = {result.get_response().id async for result, _ in client.stream_infer(requests())}
        assert seen == {"0", "1", "2", "3", "4"}


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).read_bytes())
