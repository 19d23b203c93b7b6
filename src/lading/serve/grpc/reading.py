"""Messages of gRPC calls: bounded in bytes and time while they arrive, and parsed where they delay no other request.

gRPC tells the size of a message only when all of it has arrived, and holds what has arrived so far. So few messages
arrive at once (see :func:`arriving_at_once`); the others wait, unread, in the client. Most messages need a millisecond.
One that needs longer makes way for the next, and counts as if it were as large as a message may be, together with the
bodies that arrive over HTTP. Memory is therefore at most that of ``LADING_MAX_QUEUE_MB``, of as many bytes again for
the messages that arrive at once, and of one message per open stream (``LADING_GRPC_MAX_STREAMS``).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, TypeAlias

import grpc

from lading.errors import LadingError, OverloadedError, RequestError
from lading.serve.engine.engine import Engine
from lading.serve.grpc.wire import Malformed, Parse, plain_parser
from lading.serve.http.body import late_body
from lading.settings import Settings

Context: TypeAlias = grpc.aio.ServicerContext

GRACE_S = 0.05
"""How long a message may arrive without being counted as a large one."""
PARSED_HERE = 524_288
"""Bytes of a message that the event loop parses itself: up to 3 ms. For a thread, handing it over takes 0.1 ms more."""
STATUS: dict[int, grpc.StatusCode] = {
    HTTPStatus.BAD_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
    HTTPStatus.UNAUTHORIZED: grpc.StatusCode.UNAUTHENTICATED,
    HTTPStatus.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    HTTPStatus.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    HTTPStatus.REQUEST_TIMEOUT: grpc.StatusCode.DEADLINE_EXCEEDED,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: grpc.StatusCode.INVALID_ARGUMENT,
    HTTPStatus.UNPROCESSABLE_ENTITY: grpc.StatusCode.OUT_OF_RANGE,
    HTTPStatus.TOO_MANY_REQUESTS: grpc.StatusCode.RESOURCE_EXHAUSTED,
    HTTPStatus.NOT_IMPLEMENTED: grpc.StatusCode.UNIMPLEMENTED,
    HTTPStatus.SERVICE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT: grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""gRPC's code for an HTTP status; INTERNAL for any other."""


class _Arrival:
    """A message that was incomplete when the server looked. Most messages are complete before.

    Attributes:
        begin: when the server looked first.
        slow: it counts as a large one, and has given its slot to another.
        seen: it was incomplete after the grace.
        error: why its task was cancelled.
    """

    __slots__ = ("begin", "error", "seen", "slow", "task")

    def __init__(self, task: asyncio.Task[Any], begin: float) -> None:
        self.task, self.begin = task, begin
        self.slow = self.seen = False
        self.error: LadingError | None = None

    def stop(self, error: LadingError) -> None:
        if self.error is None:
            self.error = error.with_traceback(None)
            self.task.cancel()


class _Read:
    """Reads one message: one large one in a turn of the event loop, because gRPC copies it on the loop.

    Without this, messages that arrive at the same time are copied one after another in the same turn.
    """

    __slots__ = ("_context", "_reading")

    def __init__(self, reading: Reading, context: Context) -> None:
        self._reading, self._context = reading, context

    def __await__(self) -> Generator[Any, None, Any]:
        reading, read = self._reading, self._context.read()
        try:
            arrived = read.send(None)
            while True:
                yield arrived
                while reading.large:
                    yield
                arrived = read.send(None)
        except StopIteration as end:
            data = end.value
        finally:
            read.close()
        if len(data) > PARSED_HERE:
            reading.large = True
            asyncio.get_running_loop().call_soon(reading.begin_turn)
        return data


class Reading:
    """Reads the messages of all calls of a server.

    Args:
        engine: counts what arrives.
        settings: limits and timeouts.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self.max_message_bytes = settings.grpc_max_message_bytes
        self._timeout_s = settings.body_timeout_s
        self._idle_s = settings.keep_alive_s
        self._slots = arriving_at_once(settings.max_queue_bytes, self.max_message_bytes)
        self._waiting: deque[asyncio.Future[None]] = deque()
        """Calls without a slot, oldest first."""
        self._arrivals: dict[asyncio.Task[Any], _Arrival | None] = {}
        """The messages that arrive, by the task that reads them; ``None`` until the server looks."""
        self._look: asyncio.TimerHandle | None = None
        self.large = False
        """A large message was read in this turn of the event loop."""
        self._max_streams = settings.grpc_max_streams
        self._streams = 0

    async def one(self, context: Context, parse: Parse) -> tuple[Any, int]:
        """The message of a call, or why it is malformed, and its bytes.

        Raises:
            LateBodyError: it did not arrive in time.
            NotReadyError: it is a large one, and the server starts or stops.
            OverloadedError: it arrives slowly, and there is no room for one as large as a message may be.
            RequestError: the client sent none.
        """
        task = asyncio.current_task()
        assert task is not None
        if self._slots > 0:
            self._slots -= 1
        else:
            await self._slot(task)
        self._arrivals[task] = arrival = None
        if self._look is None:
            self._look = task.get_loop().call_later(GRACE_S / 2, self._look_after)
        try:
            try:
                data = await _Read(self, context)
            finally:
                arrival = self._arrivals.pop(task)
            if len(data) > PARSED_HERE:
                return await self._engine.aside(parse, data), len(data)
        except asyncio.CancelledError:
            if arrival is None or arrival.error is None:
                raise
            task.uncancel()
            raise arrival.error from None
        finally:
            if arrival is not None and arrival.slow:
                self._engine.release(self.max_message_bytes)
            else:
                self._give_slot()
        if data is grpc.aio.EOF:
            raise RequestError("the call has no message: send one")
        return parse(data), len(data)

    def begin_turn(self) -> None:
        """Let the next large message be read."""
        self.large = False

    async def _slot(self, task: asyncio.Task[Any]) -> None:
        mine: asyncio.Future[None] = task.get_loop().create_future()
        self._waiting.append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self._give_slot()
            raise

    def _give_slot(self) -> None:
        while self._waiting:
            other = self._waiting.popleft()
            if not other.done():
                other.set_result(None)
                return
        self._slots += 1

    def _look_after(self) -> None:
        """Look after the messages that arrive. One timer for all, because most need none."""
        self._look = None
        now = time.perf_counter()
        for task, looked_at in list(self._arrivals.items()):
            arrival = self._arrivals[task] = looked_at or _Arrival(task, now)
            age = now - arrival.begin
            if arrival.slow:
                if age > self._timeout_s:
                    arrival.stop(late_body(self._timeout_s))
            elif age > GRACE_S:
                self._make_way(arrival)
        if self._arrivals:
            self._look = asyncio.get_running_loop().call_later(GRACE_S / 2, self._look_after)

    def _make_way(self, arrival: _Arrival) -> None:
        if not arrival.seen:  # a busy event loop may not have noticed yet that the message is complete
            arrival.seen = True
        elif arrival.error is None:
            try:
                self._engine.reserve(self.max_message_bytes)
            except OverloadedError as error:
                arrival.stop(error)
            else:
                arrival.slow = True
                self._give_slot()

    @contextmanager
    def open_stream(self) -> Iterator[None]:
        """Count a stream while it is open. Each one may hold a message that is still arriving.

        Raises:
            OverloadedError: there are as many as may be.
        """
        if self._streams >= self._max_streams:
            raise OverloadedError(f"{self._streams} streams are open, which is the maximum: send it again later")
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1

    async def many(self, context: Context, parse: Parse) -> AsyncIterator[tuple[Any, int]]:
        """The messages of a stream, as those of :meth:`one`.

        It ends after a silence that an idle HTTP connection would end after.
        """
        while True:
            try:
                async with asyncio.timeout(self._idle_s):
                    data = await _Read(self, context)
            except TimeoutError:
                return
            if data is grpc.aio.EOF:
                return
            size = len(data)
            message = parse(data) if size <= PARSED_HERE else await self._engine.aside(parse, data)
            del data
            yield message, size
            del message

    def bounded(self, handler: Any) -> grpc.RpcMethodHandler[Any, Any]:
        """A handler of another service, whose messages are read here."""
        parse = plain_parser(handler.request_deserializer)

        async def alone(_: object, context: Context) -> Any:
            try:
                message, _ = await self.one(context, parse)
                return await (handler.unary_unary or handler.unary_stream)(well_formed(message), context)
            except LadingError as error:
                await context.abort(STATUS[error.status], str(error))
            except grpc.aio.AbortError as error:
                # gRPC keeps the error in a cycle, and the frames that it has passed hold the message.
                raise error.with_traceback(None) from None

        async def streamed(_: object, context: Context) -> AsyncIterator[Any]:
            try:
                with self.open_stream():
                    messages = (well_formed(message) async for message, _ in self.many(context, parse))
                    async for answer in handler.stream_stream(messages, context):
                        yield answer
            except LadingError as error:
                await context.abort(STATUS[error.status], str(error))

        coders = None, handler.response_serializer
        if handler.stream_stream is not None:
            return grpc.stream_stream_rpc_method_handler(streamed, *coders)
        if handler.unary_stream is not None:
            return grpc.stream_stream_rpc_method_handler(alone, *coders)
        return grpc.stream_unary_rpc_method_handler(alone, *coders)


def well_formed(message: Any) -> Any:
    """The message itself.

    Raises:
        LadingError: it is malformed.
    """
    if isinstance(message, Malformed):
        raise message.error
    return message


def arriving_at_once(max_queue_bytes: int, max_message_bytes: int) -> int:
    """How many messages arrive at once. One takes its bytes twice for a moment: as it arrived, and parsed."""
    return min(16, max(2, max_queue_bytes // (2 * max_message_bytes)))
