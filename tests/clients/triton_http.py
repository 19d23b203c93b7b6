"""What tritonclient.http and its asyncio form are used for; run with a server's address and an encoded picture."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import numpy as np
import tritonclient.http
import tritonclient.http.aio


def main(url: str, photo: bytes) -> None:
    """Fails with an assertion where the server does not do what the client expects."""
    client = tritonclient.http.InferenceServerClient(url)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("small-colour", "1")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    assert client.get_model_metadata("small-colour")["inputs"][0]["datatype"] == "UINT8"
    assert client.get_model_repository_index()[0]["state"] == "READY"

    encoded = tritonclient.http.InferInput("image", [1], "BYTES")
    encoded.set_data_from_numpy(np.array([photo], dtype=object))
    pixels = tritonclient.http.InferInput("image", [2, 16, 16, 3], "UINT8")
    red = np.full((2, 16, 16, 3), (230, 20, 20), np.uint8)
    for binary in (True, False):
        pixels.set_data_from_numpy(red, binary_data=binary)
        wanted = [tritonclient.http.InferRequestedOutput("colour", binary_data=binary)]
        answer = client.infer("small-colour", [pixels], outputs=wanted, request_id="7")
        assert answer.get_response()["id"] == "7"
        assert answer.as_numpy("colour").shape == (2, 3)
        assert answer.as_numpy("shade") is None
    for algorithm in ("gzip", "deflate"):
        answer = client.infer("small-colour", [encoded], request_compression_algorithm=algorithm)
        assert answer.as_numpy("colour").argmax() == 0
    assert client.async_infer("small-colour", [encoded]).get_result().as_numpy("colour").argmax() == 0
    client.close()
    asyncio.run(asynchronous(url, encoded))


async def asynchronous(url: str, encoded: tritonclient.http.InferInput) -> None:
    """The same by asyncio."""
    async with tritonclient.http.aio.InferenceServerClient(url) as client:
        answers = await asyncio.gather(*(client.infer("small-colour", [encoded]) for _ in range(8)))
        assert all(answer.as_numpy("colour").argmax() == 0 for answer in answers)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).read_bytes())
