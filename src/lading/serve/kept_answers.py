"""Answers kept for a minute: a retry with the same id gets the first attempt's answer, and the model runs once.

Off unless ``LADING_IDEMPOTENCY_MB`` is set. Everything here belongs to the event loop of one process.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from lading.errors import ExpiredError, LadingError, ReusedKeyError
from lading.protocol.codec import Encoded
from lading.protocol.plain import PlainModel
from lading.serve.outcome import GONE, Outcome
from lading.serve.request import InferenceRequest
from lading.serve.retry_name import RetryId, RetryName, retry_id
from lading.serve.telemetry.metrics import RETRY_RESULTS, Metrics

REPLAYED = (b"idempotency-replayed", b"true")
"""Header of an answer that another request got first."""
KEPT_S = 60.0
"""Seconds that an answer is kept."""
OVERHEAD = 2048
"""Bytes that an answer takes in addition to its body: keys, headers and objects."""
_FINAL = frozenset({200, 400, 413, 415, 422})
"""Statuses that the same request would get again. Overload, timeouts and faults of the server are worth another try."""
LARGE = 262_144
"""A body of more bytes is named in a thread."""


class Attempt(Protocol):
    """A request with an id: the first, or a retry."""

    body: Any
    size: int
    deadline: float
    in_flight: bool
    """It has no answer yet."""

    def submit(self, body: Any, size: int) -> None:
        """Run it."""

    def done(self, result: BaseException) -> None:
        """End it with an error."""

    def replay(self, answer: Any, error: LadingError | None, request_id: str) -> None:
        """End it with what another attempt got."""


class SharedAnswer:
    """The one answer of all attempts: it is coming, or it has come."""

    __slots__ = (
        "_answers",
        "_replaying",
        "_waiting",
        "answer",
        "error",
        "first",
        "left",
        "name",
        "request_id",
        "size",
        "until",
    )

    def __init__(self, answers: KeptAnswers, name: RetryName, first: Attempt) -> None:
        self._answers, self.name = answers, name
        self.first: Attempt | None = first
        """The attempt that runs; ``None`` once the answer has come."""
        self.left = False
        """The client of that attempt went away. It still runs, because a retry is likely."""
        self._waiting: dict[Attempt, asyncio.TimerHandle] = {}
        self._replaying: Attempt | None = None
        self.answer: Any = None
        self.error: LadingError | None = None
        self.request_id = ""
        self.size = 0
        """Bytes that it takes while it is kept."""
        self.until = 0.0

    def wait(self, attempt: Attempt) -> None:
        """Let a retry wait for the answer, within its own deadline."""
        seconds = max(0.0, attempt.deadline - time.perf_counter())
        late = ExpiredError("the deadline passed while an earlier request with the same id was running")
        self._waiting[attempt] = asyncio.get_running_loop().call_later(seconds, attempt.done, late)

    def leave(self, attempt: Attempt) -> None:
        """The client of an attempt went away."""
        if attempt is self.first:
            self.left = True
        else:
            self._stop_waiting(attempt)

    def ended(self, attempt: Attempt, answer: Any, error: BaseException | None, request_id: str) -> bool:
        """An attempt has ended: keep its answer, or let a waiting one run.

        Args:
            attempt: any of them.
            answer: what its client gets; ``None`` after an error.
            error: why there is no answer.
            request_id: of the attempt.

        Returns:
            Whether the attempt's client has left before, so that there is no one to answer.
        """
        if attempt is not self.first:
            self._stop_waiting(attempt)
            return False
        self.first = None
        final = error is None or (isinstance(error, LadingError) and error.status in _FINAL)
        if final:
            self.answer, self.request_id = answer, request_id
            self.error = error if isinstance(error, LadingError) else None
            self.size = OVERHEAD + _size(answer)
        self._answers.ended(self, keep=final)
        loop = asyncio.get_running_loop()
        for retry in list(self._waiting):
            self._stop_waiting(retry)
            # On the loop's next turn: each may end at once, as this one did.
            loop.call_soon(self.replay if final else _run, retry)
        return self.left

    def replay(self, attempt: Attempt) -> None:
        """Give a retry the answer."""
        if attempt.in_flight:
            self._answers.replayed.inc()
            self._replaying = attempt
            attempt.replay(self.answer, self.error, self.request_id)
            self._replaying = None

    def replays(self, attempt: Attempt) -> bool:
        """Whether an attempt gets the answer of another."""
        return attempt is self._replaying

    def _stop_waiting(self, attempt: Attempt) -> None:
        timer = self._waiting.pop(attempt, None)
        if timer is not None:
            timer.cancel()


class KeptAnswers:
    """The answers of one process, and the requests that are being answered.

    Args:
        max_bytes: that they may take together; the oldest are forgotten first.
        metrics: where to count.
        clock: seconds, from any origin.
    """

    def __init__(self, max_bytes: int, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes, self._clock = max_bytes, clock
        self._coming: dict[bytes, SharedAnswer] = {}
        self._kept: OrderedDict[bytes, SharedAnswer] = OrderedDict()
        self._bytes = 0
        self._metrics = metrics
        self.replayed, self._refused = (metrics.retries.labels(result) for result in RETRY_RESULTS)

    def join(self, name: RetryName, attempt: Attempt) -> SharedAnswer:
        """The answer that an attempt shares with those before it. It runs itself if it is the first.

        Raises:
            ReusedKeyError: another body was sent with the same ``idempotency-key``.
        """
        self._forget(self._clock())
        shared = self._coming.get(name.key) or self._kept.get(name.key)
        if shared is None:
            shared = self._coming[name.key] = SharedAnswer(self, name, attempt)
        elif shared.name != name:
            self._refused.inc()
            raise ReusedKeyError(
                "the idempotency-key was sent with another body less than a minute ago: send a new key with each new "
                "request, and the same key only with the same body"
            )
        return shared

    def ended(self, shared: SharedAnswer, *, keep: bool) -> None:
        """An answer has come; keep it for :data:`KEPT_S`, where there is room and it is final."""
        del self._coming[shared.name.key]
        if keep and shared.size <= self._max_bytes:
            now = self._clock()
            shared.until = now + KEPT_S
            self._kept[shared.name.key] = shared
            self._bytes += shared.size
            self._forget(now)

    def _forget(self, now: float) -> None:
        """Forget answers that are too old, or too many."""
        while self._kept and (self._bytes > self._max_bytes or next(iter(self._kept.values())).until <= now):
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.size
        self._metrics.kept_bytes.set(self._bytes)


class Retry:
    """The part of one request in a kept answer.

    Args:
        kept: the answers of this process.
        attempt: the request's call.
        request: its headers, with an id.
        info: its model.
        sent: the id.
    """

    __slots__ = ("_attempt", "_kept", "_name", "_named", "_shared")

    def __init__(
        self, kept: KeptAnswers, attempt: Attempt, request: InferenceRequest, info: PlainModel, sent: RetryId
    ) -> None:
        self._kept, self._attempt = kept, attempt
        route = (request.protocol, request.path, info.name, info.variant, info.digest)
        self._named = partial(RetryName.of, sent, request.headers, *route)
        self._name: RetryName | None = None
        self._shared: SharedAnswer | None = None

    @classmethod
    def of(cls, kept: KeptAnswers, attempt: Attempt, request: InferenceRequest, info: PlainModel) -> Retry | None:
        """``None`` for a request without an id.

        Raises:
            RequestError: the id cannot be used.
        """
        sent = None if request.streamed else retry_id(request.headers)  # the metadata of a stream name the stream
        return None if sent is None else cls(kept, attempt, request, info, sent)

    def joins(self) -> bool:
        """Whether another attempt runs, or has run, for this one. True also while a thread reads a large body.

        Raises:
            ReusedKeyError: another body was sent with the same ``idempotency-key``.
        """
        attempt = self._attempt
        if self._name is None:
            named = partial(self._named, body=attempt.body)
            if attempt.size > LARGE:
                asyncio.get_running_loop().run_in_executor(None, named).add_done_callback(self._submit)
                return True
            self._name = named()
        shared = self._shared = self._kept.join(self._name, attempt)
        if shared.first is attempt:
            return False
        if shared.first is None:
            shared.replay(attempt)
        else:
            shared.wait(attempt)  # what was reserved for its body stays reserved
        return True

    def ended(self, outcome: Outcome[Any]) -> bool:
        """Share an outcome with the other attempts. Whether the client left before, so that it was counted then."""
        shared = self._shared
        if shared is None:
            return False
        if outcome.cause is GONE:
            shared.leave(self._attempt)
            return False
        if shared.replays(self._attempt):
            outcome.ids.append(REPLAYED)
        return shared.ended(self._attempt, outcome.answer, outcome.cause, outcome.request_id)

    def _submit(self, name: asyncio.Future[RetryName]) -> None:
        if not self._attempt.in_flight:
            return
        try:
            self._name = name.result()
        except Exception as error:
            self._attempt.done(error)
        else:
            self._attempt.submit(self._attempt.body, self._attempt.size)


def _run(attempt: Attempt) -> None:
    if attempt.in_flight:
        attempt.submit(attempt.body, attempt.size)


def _size(answer: Encoded | bytes | None) -> int:
    """Bytes of an answer over HTTP or gRPC."""
    return len((answer.body if isinstance(answer, Encoded) else answer) or b"")
