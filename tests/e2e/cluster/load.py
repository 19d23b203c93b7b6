"""Open-loop load: requests go out at their times whether or not earlier ones were answered, and every failure is kept.

``python -m tests.e2e.cluster.load URL GRPC PHOTO MODEL RATE OUT`` sends until interrupted, waits for what is under
way, and writes a JSON report. Four streams share the rate: REST and gRPC, over kept and over new connections.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

TIMEOUT_S = 30.0


class StreamReport(TypedDict):
    """A stream, as it is written."""

    sent: int
    failed: dict[str, int]
    p50_ms: float
    p99_ms: float


@dataclass
class Stream:
    """What happened to the requests of one kind."""

    sent: int = 0
    failed: dict[str, int] = field(default_factory=lambda: collections.defaultdict(int))
    milliseconds: list[float] = field(default_factory=list, repr=False)

    def report(self) -> StreamReport:
        done = sorted(self.milliseconds)
        percentiles = statistics.quantiles(done, n=100) if len(done) > 1 else [0.0] * 99
        return {"sent": self.sent, "failed": dict(self.failed), "p50_ms": percentiles[49], "p99_ms": percentiles[98]}


Send = Callable[[], Awaitable[None]]


async def offer(send: Send, rate: float, stop: asyncio.Event, offset: float) -> Stream:
    """Call ``send`` at a constant rate until told to stop; lateness counts into the latency."""
    stream = Stream()
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    async def one(due: float) -> None:
        try:
            await send()
        except Exception as error:
            stream.failed[f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:120]] += 1
        else:
            stream.milliseconds.append(1000 * (loop.time() - due))

    due = loop.time() + offset
    while not stop.is_set():
        await asyncio.sleep(max(0.0, due - loop.time()))
        task = asyncio.create_task(one(due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        stream.sent += 1
        due += 1 / rate
    await asyncio.gather(*tasks)
    return stream


async def send_all(url: str, address: str, photo: bytes, model: str, rate: float) -> dict[str, Stream]:
    """The four streams, until SIGINT or SIGTERM."""
    import aiohttp
    import grpc

    from lading.serve.proto import inference_pb2 as pb
    from lading.serve.proto.inference_pb2_grpc import GRPCInferenceServiceStub

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    request = pb.ModelInferRequest(
        model_name=model,
        inputs=[pb.ModelInferRequest.InferInputTensor(name="image", datatype="BYTES", shape=[1])],
        raw_input_contents=[len(photo).to_bytes(4, "little") + photo],
    )
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)

    async def rest(session: aiohttp.ClientSession) -> None:
        async with session.post(f"{url}/classify", data=photo) as answer:
            body = await answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{answer.status} {body[:80]!r}")

    async def rest_new() -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True), timeout=timeout) as session:
            await rest(session)

    async def call(channel: grpc.aio.Channel) -> None:
        stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        try:
            await stub.ModelInfer(request, timeout=TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            raise RuntimeError(f"{error.code().name} {error.details()}") from None

    async def grpc_new() -> None:
        async with grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            await call(channel)

    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        grpc.aio.insecure_channel(address) as channel,
    ):
        sends: dict[str, Send] = {
            "REST, kept connections": lambda: rest(session),
            "REST, new connections": rest_new,
            "gRPC, one channel": lambda: call(channel),
            "gRPC, new channels": grpc_new,
        }
        each = rate / len(sends)
        streams = await asyncio.gather(
            *(offer(send, each, stop, place / rate) for place, send in enumerate(sends.values()))
        )
    return dict(zip(sends, streams, strict=True))


@dataclass
class Report:
    """Of one load, all streams together and each by itself."""

    seconds: float = 0.0
    streams: dict[str, StreamReport] = field(default_factory=dict)

    @property
    def sent(self) -> int:
        return sum(stream["sent"] for stream in self.streams.values())

    @property
    def failed(self) -> int:
        return sum(sum(stream["failed"].values()) for stream in self.streams.values())

    def __str__(self) -> str:
        lines = [f"{self.sent} requests in {self.seconds:.0f} s, {self.failed} failed"]
        for name, stream in self.streams.items():
            times = f"p50 {stream['p50_ms']:.1f} ms, p99 {stream['p99_ms']:.1f} ms"
            lines.append(f"  {name}: {stream['sent']}, {times}, {stream['failed']}")
        return "\n".join(lines)


@contextlib.contextmanager
def under_load(url: str, address: str, photo: Path, model: str, rate: float) -> Iterator[Report]:
    """Send load from another process while the block runs; the report is filled in at its end."""
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "report.json"
        words = [sys.executable, "-m", "tests.e2e.cluster.load", url, address, str(photo), model, str(rate), str(out)]
        begun = time.monotonic()
        process = subprocess.Popen(words)
        try:
            time.sleep(2.0)  # so that there is load before the first change
            yield report
            time.sleep(2.0)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=2 * TIMEOUT_S)
        report.seconds = time.monotonic() - begun
        report.streams = json.loads(out.read_text())
    print(report)


def main() -> None:
    url, address, photo, model, rate, out = sys.argv[1:]
    streams = asyncio.run(send_all(url, address, Path(photo).read_bytes(), model, float(rate)))
    Path(out).write_text(json.dumps({name: stream.report() for name, stream in streams.items()}))


if __name__ == "__main__":
    main()
