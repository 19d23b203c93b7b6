"""A real server on a free port, in a thread of the test's own process."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import uvicorn
from starlette.applications import Starlette

from lading.artifact import Artifact
from lading.serve.app import create_app
from lading.serve.engine import Engine
from lading.settings import Settings

DEADLINE_S = 20.0


@dataclass
class LiveServer:
    """What a test needs of a running server."""

    app: Starlette
    url: str
    client: httpx.Client
    server: uvicorn.Server = field(repr=False)

    @property
    def engine(self) -> Engine:
        engine = self.app.state.engine
        assert isinstance(engine, Engine)
        return engine


@contextlib.contextmanager
def live_server(
    artifact: Artifact, *, ready: bool = True, loading: threading.Event | None = None, **settings: object
) -> Iterator[LiveServer]:
    """Serve an artifact until the block ends, then drain.

    Args:
        artifact: what to serve.
        ready: wait until it is.
        loading: keep every lane busy until this is set, so that loading the model has to wait.
        settings: what differs from the defaults.
    """
    app = create_app(Settings(**{"lanes": 2, **settings}), artifact=artifact)  # type: ignore[arg-type]
    if loading is not None:
        for _ in range(app.state.engine.lanes):
            app.state.engine._pool.submit(loading.wait, DEADLINE_S)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = uvicorn.Config(app, loop="uvloop", http="httptools", ws="none", log_config=None, access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="live-server")
        thread.start()
        try:
            with httpx.Client(base_url=url, timeout=DEADLINE_S) as client:
                wait_until(lambda: server.started)
                live = LiveServer(app, url, client, server)
                if ready:
                    wait_until(lambda: live.engine.ready)
                yield live
        finally:
            server.should_exit = True
            thread.join(DEADLINE_S)
            assert not thread.is_alive(), "the server did not drain"


def wait_until(condition: object) -> None:
    """Poll until a condition holds, and fail after a deadline that a loaded machine does not reach."""
    assert callable(condition)
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.005)
