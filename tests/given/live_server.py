"""A real server on free ports, in a thread of the test's own process."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

import httpx
import uvloop

from lading.artifact import Artifact
from lading.serve.http.app import App
from lading.serve.ports import Ports
from lading.settings import Settings
from lading.spec import Array
from tests.given.engine import infer

DEADLINE_S = 20.0


@dataclass
class LiveServer:
    """What a test needs of a running server."""

    app: App
    url: str
    grpc: str
    client: httpx.Client
    stop: threading.Event = field(repr=False)
    """Set it to make the server drain."""
    loop: asyncio.AbstractEventLoop = field(repr=False)

    @property
    def artifact(self) -> Artifact:
        """What is served by default."""
        return self.app.repository.find().artifact

    def hold(self, gate: threading.Event) -> None:
        """Keep one lane busy until the gate opens."""
        begun = threading.Event()

        def read() -> Mapping[str, Array]:
            begun.set()
            assert gate.wait(DEADLINE_S)
            return self.artifact.golden_inputs()

        asyncio.run_coroutine_threadsafe(infer(self.app, self.app.repository.find(), read), self.loop)
        assert begun.wait(DEADLINE_S)


@contextlib.contextmanager
def live_server(
    *artifacts: Artifact, ready: bool = True, loading: threading.Event | None = None, **settings: object
) -> Iterator[LiveServer]:
    """Serve artifacts over HTTP and gRPC until the block ends, then drain.

    Args:
        artifacts: what to serve.
        ready: wait until it is.
        loading: the models are loaded once this is set.
        settings: what differs from the defaults.
    """
    given = {"lanes": 2, "http_port": 0, "grpc_port": 0, "deadline_ms": 60_000, **settings}
    app = App(Settings(**given), artifacts=artifacts)  # type: ignore[arg-type]
    opened: Future[tuple[int, int, asyncio.AbstractEventLoop]] = Future()
    started: Future[None] = Future()
    stop = threading.Event()

    async def serve() -> None:
        ports = Ports(app, app.settings)
        try:
            opened.set_result((*await ports.start(), asyncio.get_running_loop()))
        except BaseException as error:
            opened.set_exception(error)
            raise
        if loading is not None:
            await asyncio.to_thread(loading.wait, DEADLINE_S)
        await app.start()
        await ports.show_readiness()
        started.set_result(None)
        await asyncio.to_thread(stop.wait)
        app.prepare_to_stop()
        await ports.stop()
        await app.stop()

    def run() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run, name="live-server")
    thread.start()
    try:
        http, grpc, loop = opened.result(DEADLINE_S)
        url = f"http://127.0.0.1:{http}"
        with httpx.Client(base_url=url, timeout=DEADLINE_S) as client:
            live = LiveServer(app, url, f"127.0.0.1:{grpc}", client, stop, loop)
            if ready:
                wait_until(lambda: app.repository.ready)
                started.result(DEADLINE_S)  # the time that the start took is set after that
            yield live
    finally:
        stop.set()
        thread.join(DEADLINE_S)
        assert not thread.is_alive(), "the server did not drain"


def wait_until(condition: object, seconds: float = DEADLINE_S) -> None:
    """Poll until a condition holds, and fail after a deadline that a loaded machine does not reach."""
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.005)
