"""A closed loop over gRPC: a number of callers, each with its own connection and one call in flight.

Runs in its own process: ``python -m benchmarks.server.grpc_load ADDRESS BODY SECONDS CONNECTIONS``.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import grpc
import numpy as np

from benchmarks import ROOT
from benchmarks.server.load import Load

METHOD = "/inference.GRPCInferenceService/ModelInfer"


async def closed_loop(address: str, body: bytes, seconds: float, connections: int) -> Load:
    """Call as fast as the answers arrive. Each answer must equal the first one.

    Raises:
        RuntimeError: it is not.
    """
    channels = [
        grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) for _ in range(connections)
    ]
    calls = [channel.unary_unary(METHOD) for channel in channels]  # bytes in, bytes out: no parsing here
    first = await calls[0](body)
    latencies: list[float] = []
    end = time.perf_counter() + seconds

    async def caller(call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]) -> None:
        while (begin := time.perf_counter()) < end:
            if await call(body) != first:
                raise RuntimeError("the same request was answered differently")
            latencies.append(time.perf_counter() - begin)

    begin = time.perf_counter()
    await asyncio.gather(*map(caller, calls))
    took = time.perf_counter() - begin
    for channel in channels:
        await channel.close()
    percentiles = {str(q): float(np.percentile(latencies, q)) * 1e3 for q in (50, 90, 99, 99.9)}
    return Load(len(latencies) / took, percentiles, {"200": len(latencies)}, 0)


def run_grpc(address: str, body: Path, *, seconds: float, connections: int) -> Load:
    """As :func:`benchmarks.server.load.run`, over gRPC."""
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.server.grpc_load", address, str(body), str(seconds), str(connections)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 60,
    )
    return Load(**json.loads(result.stdout))


if __name__ == "__main__":
    found = asyncio.run(closed_loop(sys.argv[1], Path(sys.argv[2]).read_bytes(), float(sys.argv[3]), int(sys.argv[4])))
    print(json.dumps(found.as_dict()))
