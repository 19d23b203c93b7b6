"""The BentoML service in the test's own process: BentoML's port, the lean HTTP port and gRPC over one app."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import httpx
import pytest
import uvicorn
import uvloop

from lading.artifact import Artifact
from tests.given.live_server import DEADLINE_S, LiveServer, wait_until


@contextlib.contextmanager
def bento_in_process(artifact: Artifact, **settings: object) -> Iterator[tuple[LiveServer, str]]:
    """Serve an artifact as ``bentoml serve`` does, until the block ends.

    Args:
        artifact: what to serve.
        settings: that differ from the defaults.

    Yields:
        The server, with BentoML's port as its ``url``, and the URL of the lean HTTP port.
    """
    grpc_port = _free_port()
    given = {"artifact": artifact.path, "http_port": 0, "grpc_port": grpc_port, "lanes": 1, **settings}
    with pytest.MonkeyPatch.context() as environment:
        for name, value in given.items():
            environment.setenv(f"LADING_{name.upper()}", str(value))
        with warnings.catch_warnings():  # BentoML's own imports warn
            warnings.simplefilter("ignore")
            import bentoml

            import service

            asgi = service.Lading.to_asgi()  # type: ignore[attr-defined]  # the decorator made it a Service

        server = uvicorn.Server(uvicorn.Config(asgi, port=0, lifespan="on", log_config=None, access_log=False))
        opened: Future[tuple[Any, asyncio.AbstractEventLoop]] = Future()

        async def serve() -> None:
            serving = asyncio.create_task(server.serve())
            while not server.started and not serving.done():
                await asyncio.sleep(0.01)
            opened.set_result((bentoml.get_current_service(), asyncio.get_running_loop()))
            await serving

        def run() -> None:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(serve())

        thread = threading.Thread(target=run, name="bento-in-process")
        thread.start()
        try:
            running, loop = opened.result(60)
            host, port = server.servers[0].sockets[0].getsockname()
            lean = f"http://127.0.0.1:{running.ports._listener.getsockname()[1]}"
            with httpx.Client(base_url=f"http://{host}:{port}", timeout=DEADLINE_S) as client:
                live = LiveServer(
                    running.app, str(client.base_url), f"127.0.0.1:{grpc_port}", client, threading.Event(), loop
                )
                wait_until(lambda: running.app.repository.ready)
                yield live, lean
        finally:
            server.should_exit = True
            thread.join(DEADLINE_S)
            assert not thread.is_alive(), "the server did not drain"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
