"""What tritonclient.grpc and its asyncio form are used for; run with a server's addresses and the folder of bodies."""

from __future__ import annotations

import asyncio
import queue
import sys
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.utils


def main(url: str, photo: bytes) -> None:
    """Fails with an assertion where the server does not do what the client expects."""
    client = tritonclient.grpc.InferenceServerClient(url)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("small-colour")
    assert client.get_model_metadata("small-colour").outputs[0].name == "colour"
    assert client.get_model_repository_index().models[0].state == "READY"

    print("call live, ready, metadata, repository index")
    unoffered(client)
    print("call config, trace, log, shared memory: refused by name")

    encoded = tritonclient.grpc.InferInput("image", [1], "BYTES")
    encoded.set_data_from_numpy(np.array([photo], dtype=object))
    pixels = tritonclient.grpc.InferInput("image", [2, 16, 16, 3], "UINT8")
    pixels.set_data_from_numpy(np.full((2, 16, 16, 3), (230, 20, 20), np.uint8))
    answer = client.infer("small-colour", [pixels], request_id="7", client_timeout=30.0)
    assert answer.get_response().id == "7"
    assert answer.as_numpy("colour").shape == (2, 3)
    best = tritonclient.grpc.InferRequestedOutput("colour", class_count=2)
    classes = client.infer("small-colour", [pixels], outputs=[best], timeout=30_000_000, priority=1).as_numpy("colour")
    assert classes.shape == (2, 2)
    score, index, label = classes[1, 0].decode().split(":")
    assert (round(float(score), 3), index, label) == (1.0, "0", "red")
    for algorithm in ("gzip", "deflate"):
        packed = client.infer("small-colour", [pixels], compression_algorithm=algorithm)
        assert packed.as_numpy("colour").argmax(axis=1).tolist() == [0, 0]
    print("call infer (gzip, deflate too), class_count")
    streamed(client, encoded)
    print("call stream_infer, with a mistake, final response")
    statistics = client.get_inference_statistics("small-colour").model_stats[0]
    assert statistics.inference_stats.success.count >= 20
    assert client.get_inference_statistics().model_stats[0].name == "small-colour"
    print("call statistics")
    shared = tritonclient.grpc.InferRequestedOutput("colour")
    shared.set_shared_memory("region", 24)
    with pytest.raises(tritonclient.grpc.InferenceServerException, match="this server has no shared memory"):
        client.infer("small-colour", [pixels], outputs=[shared])
    client.close()
    asyncio.run(asynchronous(url, encoded))
    print("call infer, stream_infer (asyncio)")


def unoffered(client: tritonclient.grpc.InferenceServerClient) -> None:
    """Calls that the server refuses by name."""
    calls = {
        "ModelConfig": lambda: client.get_model_config("small-colour"),
        "TraceSetting": lambda: client.update_trace_settings("small-colour", {"trace_rate": "1"}),
        "LogSettings": lambda: client.update_log_settings({"log_verbose_level": 1}),
        "SystemSharedMemoryStatus": client.get_system_shared_memory_status,
        "SystemSharedMemoryRegister": lambda: client.register_system_shared_memory("region", "/region", 16),
        "SystemSharedMemoryUnregister": client.unregister_system_shared_memory,
        "CudaSharedMemoryStatus": client.get_cuda_shared_memory_status,
        "CudaSharedMemoryRegister": lambda: client.register_cuda_shared_memory("region", b"aGFuZGxl", 0, 16),
        "CudaSharedMemoryUnregister": client.unregister_cuda_shared_memory,
    }
    for name, call in calls.items():
        with pytest.raises(tritonclient.utils.InferenceServerException, match=f"UNIMPLEMENTED.*does not offer {name}"):
            call()


def streamed(client: tritonclient.grpc.InferenceServerClient, encoded: tritonclient.grpc.InferInput) -> None:
    """Many requests on one stream."""
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for number in range(20):
        client.async_stream_infer("small-colour", [encoded], request_id=str(number), enable_empty_final_response=True)
    found = [answers.get(timeout=30) for _ in range(20)]
    assert not any(error for _, error in found)
    assert [result.get_response().id for result, _ in found] == [str(number) for number in range(20)]
    assert all(result.get_response().parameters["triton_final_response"].bool_param for result, _ in found)
    client.async_stream_infer("small-colour", [encoded], request_id="right")
    client.async_stream_infer("no-such-model", [encoded], request_id="wrong")
    first, second = answers.get(timeout=30), answers.get(timeout=30)
    assert (first[0].get_response().id, first[1]) == ("right", None)
    assert "no model 'no-such-model'" in second[1].message()
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
    print("version", version("tritonclient"))
    main(sys.argv[2], Path(sys.argv[3], "photo.jpg").read_bytes())
