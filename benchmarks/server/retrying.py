"""Clients that retry: open-loop load where each client tries a few times, with the same pause and no jitter."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from benchmarks.server.process_clock import cpu_seconds
from lading.artifact import Artifact
from lading.protocol.client_codec import Request, binary_request

TRIES = 3
PAUSE_S = 0.05
DEADLINE_S = 1.0
"""Of one try. The server is told, and refuses what it cannot answer by then."""
NORMAL = 0.99
"""Share of requests whose first try is answered while a server is not overloaded."""
IN_A_ROW = 3
"""Seconds for which it has to be, to count as over."""


@dataclass
class Phase:
    """What became of the requests of one load, by the second in which each came."""

    rate: float
    seconds: float
    good: Counter[int] = field(default_factory=Counter)
    first_try: Counter[int] = field(default_factory=Counter)
    came: Counter[int] = field(default_factory=Counter)
    codes: Counter[int] = field(default_factory=Counter)
    took: list[float] = field(default_factory=list, repr=False)
    cpu_s: float = 0.0
    """CPU time of the server."""
    late_s: float = 0.0
    """How far the clients fell behind their own schedule."""

    @property
    def goodput(self) -> float:
        """Requests per second that were answered with 200."""
        return self.good.total() / self.seconds

    @property
    def good_per_cpu_s(self) -> float:
        """The same per second of the server's CPU time. Other work on the machine hardly changes it."""
        return self.good.total() / self.cpu_s

    def normal_after(self) -> float:
        """Seconds until nearly every first try is answered, for :data:`IN_A_ROW` seconds; infinite: it never is.

        A single later second says more of other work on the machine.
        """
        good = {second for second, came in self.came.items() if self.first_try[second] >= NORMAL * came}
        return min((s for s in sorted(self.came) if good.issuperset(range(s, s + IN_A_ROW))), default=math.inf)


class Peak(NamedTuple):
    """What clients get that wait for their answers."""

    rate: float
    """Answers per second."""
    per_cpu_s: float
    """Answers per second of the server's CPU time."""


class Clients:
    """Connections to one server, each used by one try at a time.

    Args:
        url: of the server.
        pid: its process, whose CPU time is measured.
        request: what is sent.
    """

    def __init__(self, url: str, pid: int, request: Request) -> None:
        self._pid = pid
        self._host, port = url.removeprefix("http://").split(":")
        self._port = int(port)
        headers = {**request.headers, "x-request-timeout-ms": f"{DEADLINE_S * 1e3:g}"}
        lines = [f"POST {request.path} HTTP/1.1", "host: x", *(f"{name}: {value}" for name, value in headers.items())]
        lines.append(f"content-length: {len(request.content)}")
        self._content = "\r\n".join(lines).encode() + b"\r\n\r\n" + request.content
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def once(self) -> int:
        """One try: its status, or 0 when the connection ended."""
        try:
            reader, writer = self._free.pop() if self._free else await asyncio.open_connection(self._host, self._port)
        except OSError:
            return 0
        try:
            writer.write(self._content)
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
            )
            await reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError):
            writer.close()
            return 0
        if b"connection: close" in head.lower():
            writer.close()
        else:
            self._free.append((reader, writer))
        return int(head[9:12])

    def close(self) -> None:
        for _, writer in self._free:
            writer.close()

    async def peak(self, seconds: float, connections: int = 8) -> Peak:
        """Ask all the time, with some clients that wait for their answers."""
        begin = cpu_seconds(self._pid)
        end, answered = time.perf_counter() + seconds, 0

        async def ask() -> None:
            nonlocal answered
            while time.perf_counter() < end:
                status = await self.once()
                answered += status == 200

        await asyncio.gather(*(ask() for _ in range(connections)))
        return Peak(answered / seconds, answered / (cpu_seconds(self._pid) - begin))

    async def load(self, rate: float, seconds: float) -> Phase:
        """Clients that come at a rate, whatever became of those before them."""
        cpu = cpu_seconds(self._pid)
        phase, begin, tasks = Phase(rate, seconds), time.perf_counter(), set[asyncio.Task[None]]()
        for number in range(int(rate * seconds)):
            due = begin + number / rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            phase.late_s = max(phase.late_s, time.perf_counter() - due)
            task = asyncio.create_task(self._client(phase, int(number / rate)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        phase.cpu_s = cpu_seconds(self._pid) - cpu
        return phase

    async def _client(self, phase: Phase, second: int) -> None:
        came = time.perf_counter()
        phase.came[second] += 1
        for number in range(TRIES):
            status = await self.once()
            phase.codes[status] += 1
            if status == 200:
                phase.good[second] += 1
                phase.first_try[second] += number == 0
                phase.took.append(time.perf_counter() - came)
                return
            await asyncio.sleep(PAUSE_S)


@dataclass(frozen=True)
class Overload:
    """Half of the peak, twice the peak, and half of it again."""

    peak: Peak
    """Before the loads."""
    later: Peak
    """After them. It differs when the machine has other work."""
    before: Phase
    during: Phase
    after: Phase


async def overload(url: str, pid: int, request: Request, seconds: float) -> Overload:
    """Load a server with twice what it can answer for some seconds, and with half of it before and after.

    Args:
        url: of the server.
        pid: its process.
        request: what is sent.
        seconds: length of the overload.
    """
    warm = min(3.0, seconds)
    with contextlib.closing(Clients(url, pid, request)) as clients:
        await clients.peak(warm)
        peak = await clients.peak(warm)
        before = await clients.load(0.5 * peak.rate, warm)
        during = await clients.load(2.0 * peak.rate, seconds)
        after = await clients.load(0.5 * peak.rate, max(10.0, seconds / 6))
        return Overload(peak, await clients.peak(warm), before, during, after)


def one_of(artifact: Artifact) -> Request:
    """A request with one golden example."""
    batched = {spec.name for spec in artifact.manifest.inputs if spec.batched}
    golden = artifact.golden_inputs()
    return binary_request(
        artifact.manifest.name, {name: array[:1] if name in batched else array for name, array in golden.items()}
    )
