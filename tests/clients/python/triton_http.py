"""What tritonclient.http and its asyncio form are used for; run with a server's addresses and the folder of bodies."""

from __future__ import annotations

import asyncio
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http
import tritonclient.http.aio
import tritonclient.utils


def main(url: str, photo: bytes) -> None:
    """Fails with an assertion where the server does not do what the client expects."""
    client = tritonclient.http.InferenceServerClient(url)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("small-colour", "1")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    assert client.get_model_metadata("small-colour")["inputs"][0]["datatype"] == "UINT8"
    assert client.get_model_repository_index()[0]["state"] == "READY"

    print("call live, ready, metadata, repository index")
    unoffered(client)
    print("call config, trace, log, shared memory: refused by name")

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
        best = tritonclient.http.InferRequestedOutput("colour", binary_data=binary, class_count=2)
        classes = client.infer("small-colour", [pixels], outputs=[best]).as_numpy("colour")
        assert classes.shape == (2, 2)
        score, index, label = (classes[1, 0].decode() if binary else classes[1, 0]).split(":")
        assert (round(float(score), 3), index, label) == (1.0, "0", "red")
    print("call infer (JSON, binary), class_count")
    for algorithm in ("gzip", "deflate"):
        answer = client.infer("small-colour", [encoded], request_compression_algorithm=algorithm)
        assert answer.as_numpy("colour").argmax() == 0
    assert client.async_infer("small-colour", [encoded]).get_result().as_numpy("colour").argmax() == 0
    print("call infer (gzip, deflate), async_infer")
    shared = tritonclient.http.InferRequestedOutput("colour")
    shared.set_shared_memory("region", 24)
    with pytest.raises(tritonclient.http.InferenceServerException, match="this server has no shared memory"):
        client.infer("small-colour", [pixels], outputs=[shared])
    (statistics,) = client.get_inference_statistics("small-colour")["model_stats"]
    assert statistics["inference_stats"]["success"]["count"] >= 5
    assert client.get_inference_statistics()["model_stats"][0]["name"] == "small-colour"
    print("call statistics")
    client.close()
    asyncio.run(asynchronous(url, encoded))
    print("call 8 x infer (asyncio)")


def unoffered(client: tritonclient.http.InferenceServerClient) -> None:
    """Calls that the server refuses by name."""
    calls = (
        lambda: client.get_model_config("small-colour"),
        lambda: client.update_trace_settings("small-colour", {"trace_rate": "1"}),
        lambda: client.get_trace_settings("small-colour"),
        client.get_trace_settings,
        lambda: client.update_log_settings({"log_verbose_level": 1}),
        client.get_log_settings,
        client.get_system_shared_memory_status,
        lambda: client.register_system_shared_memory("region", "/region", 16),
        client.unregister_system_shared_memory,
        lambda: client.get_cuda_shared_memory_status("region"),
        lambda: client.register_cuda_shared_memory("region", b"aGFuZGxl", 0, 16),
        lambda: client.unregister_cuda_shared_memory("region"),
    )
    for call in calls:
        with pytest.raises(tritonclient.utils.InferenceServerException, match="this server does not offer "):
            call()


async def asynchronous(url: str, encoded: tritonclient.http.InferInput) -> None:
    """The same by asyncio."""
    async with tritonclient.http.aio.InferenceServerClient(url) as client:
        answers = await asyncio.gather(*(client.infer("small-colour", [encoded]) for _ in range(8)))
        assert all(answer.as_numpy("colour").argmax() == 0 for answer in answers)


if __name__ == "__main__":
    print("version", version("tritonclient"))
    main(sys.argv[1].removeprefix("http://"), Path(sys.argv[3], "photo.jpg").read_bytes())
