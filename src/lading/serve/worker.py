"""One worker: it loads the models, serves on the ports until it is stopped, and says why it cannot start."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import structlog

from lading.errors import LadingError, ServerError
from lading.serve.engine.artifacts import leave_message
from lading.serve.engine.engine import JOIN_S
from lading.serve.health import share_of_one
from lading.serve.http.app import App
from lading.serve.ports import Ports
from lading.settings import Settings

log = structlog.get_logger("lading.server")


def run_worker(settings: Settings, parent: int | None = None) -> None:
    """Serve in this process, as the only worker or one of several.

    Args:
        settings: settings of the whole server. Limits are divided by the number of workers.
        parent: a file descriptor that becomes readable when the parent process ends. The worker then stops.

    Raises:
        LadingError: as :func:`serve`.
    """
    with asyncio.Runner(loop_factory=_uvloop) as runner:
        running = runner.run(_serve(share_of_one(settings), parent))
        if running:
            log.error("stopped without waiting for what still runs", running=running)
            # Python would wait for some threads, and ONNX Runtime must not be taken down while it runs.
            os._exit(1)


async def _serve(settings: Settings, parent: int | None) -> list[str]:
    """Serve until asked to stop. Return what still runs then."""
    with saying_why():
        app = App(settings)
        ports = Ports(app, settings)
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def orphaned(parent: int) -> None:
        loop.remove_reader(parent)
        asked_to_stop.set()

    def stop(number: int) -> None:
        if asked_to_stop.is_set():
            end_at_once(number)
        asked_to_stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop, number)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda number, _: loop.call_soon_threadsafe(stop, number))
    if parent is not None:
        loop.add_reader(parent, orphaned, parent)
    late = app.health.replacing
    if not late:
        with saying_why():
            await ports.start()
    starting = asyncio.create_task(_start(app, ports, late=late))
    asked = asyncio.create_task(asked_to_stop.wait())
    await asyncio.wait((starting, asked), return_when=asyncio.FIRST_COMPLETED)
    failure = starting.exception() if starting.done() else None
    if failure is None:
        await asked
    log.info("stopping")
    until = loop.time() + settings.drain_s
    app.prepare_to_stop()
    starting.cancel()
    await ports.stop()
    running = await app.stop(until - loop.time())
    if failure is not None:
        asked.cancel()
        raise failure
    return running + await app.engine.end_executor(max(JOIN_S, until - loop.time()))


def end_at_once(number: int) -> NoReturn:
    """End this process on a second signal, whatever it does."""
    log.error("stopped at once: a second signal came", signal=signal.Signals(number).name)
    os._exit(128 + number)


async def _start(app: App, ports: Ports, *, late: bool) -> None:
    """Load the models. One that cannot be loaded is no reason not to start: it is not ready, and says why.

    Args:
        app: whose models.
        ports: of the app.
        late: open the ports after that. The requests that come before would get 503, and other workers can answer them.
    """
    with saying_why():
        await app.start()
        freeze_what_stays()
        if late:
            if not app.repository.ready:
                raise ServerError(app.repository.not_ready_because)
            await ports.start()
        await ports.show_readiness()


@contextmanager
def saying_why() -> Iterator[None]:
    """Log why a server cannot start, and leave it where Kubernetes shows it.

    Raises:
        LadingError: always instead of another exception, so that the command ends with a sentence and its exit code.
    """
    try:
        yield
    except LadingError as error:
        log.error("the server cannot start", reason=str(error))
        leave_message(f"the server cannot start: {error}")
        raise
    except Exception as error:
        reason = f"the server cannot start: {type(error).__name__}: {error}"
        log.exception("the server cannot start")
        leave_message(reason)
        raise ServerError(reason) from error


def freeze_what_stays() -> None:
    """Exclude all objects so far from garbage collection: a full pass over the models would take long."""
    gc.freeze()
    gc.enable()


def _uvloop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ModuleNotFoundError:  # Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
