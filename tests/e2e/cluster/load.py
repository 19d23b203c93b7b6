"""Open-loop load: each request is sent at its time, whether or not earlier ones were answered. Every failure is kept.

`lading load` is a closed loop: it sends less to a server that is slow, and would hide a gap in a rollout.
``python -m tests.e2e.cluster.load URL GRPC PHOTO MODEL OUT --rate 100`` sends until interrupted, waits for
the last answers, and writes a JSON report. REST and gRPC, over kept and over new connections, share the rate.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import re
import signal
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.cluster.report import Second, StreamReport

TIMEOUT_S = 30.0
SHARES = {
    "REST, kept connections": 0.35,
    "REST, new connections": 0.2,
    "gRPC, one channel": 0.35,
    "gRPC, new channels": 0.1,
}
"""Of the rate. A new channel costs the sender most, and there are two CPUs for both ends."""

REFUSALS = ("429", "504", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED")

Profile = Sequence[tuple[float, float]]
"""Requests a second, and for how many seconds; after the last one nothing more is sent."""
Send = Callable[[], Awaitable[None]]


@dataclass
class Stream:
    """What happened to the requests of one kind: when each was due, after how many ms it was answered, or why not."""

    due: list[float] = field(default_factory=list)
    answered: list[tuple[float, float]] = field(default_factory=list)
    failed: list[tuple[float, str]] = field(default_factory=list)

    def report(self) -> StreamReport:
        done = sorted(milliseconds for _, milliseconds in self.answered)
        percentiles = statistics.quantiles(done, n=100) if len(done) > 1 else [0.0] * 99
        reasons = dict(collections.Counter(re.sub(r"\d+ (ms|in)\b", r"N \1", reason) for _, reason in self.failed))
        return {"sent": len(self.due), "failed": reasons, "p50_ms": percentiles[49], "p99_ms": percentiles[98]}


async def offer(send: Send, profile: Profile, share: float, stop: asyncio.Event, retries: int) -> Stream:
    """Call ``send`` at the rates of a profile until told to stop; lateness and retries count into the latency."""
    stream = Stream()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    tasks: set[asyncio.Task[None]] = set()

    async def one(due: float) -> None:
        for attempt in range(retries + 1):
            try:
                await send()
            except Exception as error:
                reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:120]
                await asyncio.sleep(0.2 * 2**attempt if attempt < retries else 0)
            else:
                stream.answered.append((due, 1000 * (loop.time() - begun - due)))
                return
        stream.failed.append((due, reason))

    end = 0.0
    for rate, seconds in profile:
        due, end = end, end + seconds
        while due < end and not stop.is_set():
            await asyncio.sleep(max(0.0, begun + due - loop.time()))
            stream.due.append(due)
            task = asyncio.create_task(one(due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            due += 1 / (rate * share)
    await asyncio.gather(*tasks)
    return stream


def by_second(streams: Sequence[Stream]) -> list[Second]:
    """All streams together, by the second in which a request was due."""
    last = max((due for stream in streams for due in stream.due), default=-1.0)
    rows: list[Second] = [
        {"sent": 0, "answered": 0, "shed": 0, "lost": 0, "p50_ms": 0.0, "p99_ms": 0.0} for _ in range(int(last) + 1)
    ]
    times: list[list[float]] = [[] for _ in rows]
    for stream in streams:
        for due in stream.due:
            rows[int(due)]["sent"] += 1
        for due, milliseconds in stream.answered:
            rows[int(due)]["answered"] += 1
            times[int(due)].append(milliseconds)
        for due, reason in stream.failed:
            rows[int(due)]["shed" if is_shed(reason) else "lost"] += 1
    for row, milliseconds_of in zip(rows, times, strict=True):
        if len(milliseconds_of) > 1:
            percentiles = statistics.quantiles(milliseconds_of, n=100, method="inclusive")
            row["p50_ms"], row["p99_ms"] = round(percentiles[49], 1), round(percentiles[98], 1)
    return rows


def is_shed(reason: str) -> bool:
    """Whether the server refused for overload, at once or when a deadline passed in the queue, rather than failed."""
    return reason.startswith(tuple(f"RuntimeError: {code}" for code in REFUSALS))


async def send_all(url: str, address: str, photo: bytes, model: str, options: Options) -> dict[str, Stream]:
    """The streams, until SIGINT or SIGTERM or the end of the profile."""
    import aiohttp
    import grpc

    from lading.protocol.client_codec import grpc_request
    from lading.protocol.proto.inference_pb2_grpc import GRPCInferenceServiceStub

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    request = grpc_request(model, {"image": photo})
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
        sends: dict[str, Send] = dict(
            zip(SHARES, (lambda: rest(session), rest_new, lambda: call(channel), grpc_new), strict=True)
        )
        chosen = {name: share for name, share in options.shares.items() if share}
        streams = await asyncio.gather(
            *(offer(sends[name], options.profile, share, stop, options.retries) for name, share in chosen.items())
        )
    return dict(zip(chosen, streams, strict=True))


@dataclass(frozen=True)
class Options:
    """How the load is sent."""

    profile: Profile
    retries: int = 0
    shares: dict[str, float] = field(default_factory=lambda: dict(SHARES))


def profile_of(text: str) -> Profile:
    """``100`` is a rate without an end; ``20x15,200x90`` are rates and seconds."""
    steps = [step.partition("x") for step in text.split(",")]
    return [(float(rate), float(seconds) if seconds else float("inf")) for rate, _, seconds in steps]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("url", "grpc", "photo", "model", "out"):
        parser.add_argument(name)
    parser.add_argument("--rate", required=True, help=profile_of.__doc__)
    parser.add_argument("--retries", type=int, default=0, help="after 0.2 s, 0.4 s and so on")
    parser.add_argument("--rest-new-only", action="store_true", help="what reaches a pod that is new")
    given = parser.parse_args()
    shares = {"REST, new connections": 1.0} if given.rest_new_only else dict(SHARES)
    options = Options(profile_of(given.rate), given.retries, shares)
    begun = time.time()
    photo = Path(given.photo).read_bytes()
    streams = asyncio.run(send_all(given.url, given.grpc, photo, given.model, options))
    report = {
        "begun": begun,
        "streams": {name: stream.report() for name, stream in streams.items()},
        "seconds": by_second(list(streams.values())),
    }
    Path(given.out).write_text(json.dumps(report))


if __name__ == "__main__":
    main()
