"""Inference over gRPC: ``ModelInfer`` and ``ModelStreamInfer``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from typing import TypeAlias

import grpc

from lading.errors import OverloadedError, RequestError
from lading.protocol.oip_grpc import OipGrpcCodec
from lading.protocol.proto import inference_pb2 as pb
from lading.serve.call import Backend, Call, InferenceRequest, Outcome, Reply
from lading.serve.trace_context import TRACEPARENT, caller_in

Context: TypeAlias = grpc.aio.ServicerContext
GrpcOutcome = Outcome[pb.ModelInferResponse]

SERVICE: str = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
STATUS: dict[int, grpc.StatusCode] = {
    HTTPStatus.BAD_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
    HTTPStatus.UNAUTHORIZED: grpc.StatusCode.UNAUTHENTICATED,
    HTTPStatus.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    HTTPStatus.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: grpc.StatusCode.INVALID_ARGUMENT,
    HTTPStatus.UNPROCESSABLE_ENTITY: grpc.StatusCode.OUT_OF_RANGE,
    HTTPStatus.TOO_MANY_REQUESTS: grpc.StatusCode.RESOURCE_EXHAUSTED,
    HTTPStatus.SERVICE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT: grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""gRPC's code for an HTTP status; INTERNAL for any other."""
STREAM_IN_FLIGHT = 64
"""Maximum of unanswered requests on one stream. The next one is read when one is answered."""
_NO_ATTRIBUTES: Mapping[str, str | int] = {}


class Malformed:
    """Stands for bytes that are no message."""


MALFORMED = RequestError("the bytes sent are no message of this call")


class Inference:
    """The two calls of the protocol that run a model.

    Args:
        backend: what their calls use; shared with the HTTP ports.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def unary(self, message: pb.ModelInferRequest | Malformed, context: Context) -> pb.ModelInferResponse:
        """Answer one request, within the deadline of its call.

        Raises:
            grpc.aio.AbortError: after an error, which the client has got as the status of the call.
        """
        answered: asyncio.Future[GrpcOutcome] = asyncio.get_running_loop().create_future()

        def reply(outcome: GrpcOutcome) -> int:
            if not answered.done():
                answered.set_result(outcome)
            return outcome.answer.ByteSize() if outcome.answer is not None else 0

        asked = self._asked("ModelInfer", context)._replace(timeout_s=context.time_remaining())
        call = self._start(message, asked, reply)
        try:
            outcome = await answered
        finally:
            call.leave()  # counts a call that was cancelled; the others are done
        if outcome.answer is None:
            await abort(context, outcome)
        context.set_trailing_metadata(_metadata(outcome))
        return outcome.answer  # type: ignore[return-value]  # abort raises

    async def stream(
        self, messages: AsyncIterator[pb.ModelInferRequest | Malformed], context: Context
    ) -> AsyncIterator[pb.ModelStreamInferResponse]:
        """Answer each request of a stream as soon as it is done: an error is an answer too, under the request's id.

        Raises:
            grpc.aio.AbortError: the key is wrong, or bytes are no message.
        """
        asked = self._asked("ModelStreamInfer", context)._replace(streamed=True)
        answers: asyncio.Queue[tuple[pb.ModelInferRequest | Malformed, GrpcOutcome] | None] = asyncio.Queue()
        room = asyncio.Semaphore(STREAM_IN_FLIGHT)
        calls: dict[int, Call[pb.ModelInferRequest, pb.ModelInferResponse]] = {}

        def start(number: int, message: pb.ModelInferRequest | Malformed) -> None:
            def reply(outcome: GrpcOutcome) -> int:
                calls.pop(number, None)
                answers.put_nowait((message, outcome))
                return outcome.answer.ByteSize() if outcome.answer is not None else 0

            call = self._start(message, asked._replace(begin=time.perf_counter()), reply)
            if call.in_flight:
                calls[number] = call

        async def read() -> None:
            number = 0
            try:
                async for message in messages:
                    await room.acquire()
                    start(number, message)
                    number += 1
                for _ in range(STREAM_IN_FLIGHT):  # until every answer has been sent
                    await room.acquire()
            finally:
                answers.put_nowait(None)

        await self._authorize(asked, context)
        reading = asyncio.create_task(read())
        try:
            while (entry := await answers.get()) is not None:
                message, outcome = entry
                if isinstance(message, Malformed) or outcome.status == HTTPStatus.UNAUTHORIZED:
                    await abort(context, outcome)
                else:
                    yield _streamed(message, outcome)
                # Only now, so that a client that does not read is not read from either.
                room.release()
            await reading
        finally:
            reading.cancel()
            for call in list(calls.values()):
                call.leave()

    def _asked(self, method: str, context: Context) -> InferenceRequest:
        """The part of a request that the metadata say."""
        begin = time.perf_counter()
        pairs = metadata_of(context)
        metadata = dict(pairs)
        return InferenceRequest(
            "grpc",
            "POST",
            f"/{SERVICE}/{method}",
            metadata,
            begin,
            caller=caller_in(pairs) if TRACEPARENT in metadata else None,
            span_name=f"{SERVICE}/{method}",
            span_attributes=_NO_ATTRIBUTES
            if self._backend.tracing is None
            else {"rpc.system": "grpc", "rpc.service": SERVICE, "rpc.method": method},
        )

    async def _authorize(self, asked: InferenceRequest, context: Context) -> None:
        """Refuse a stream without a key before its first message."""
        refused: list[GrpcOutcome] = []

        def reply(outcome: GrpcOutcome) -> int:
            refused.append(outcome)
            return 0

        if not Call(self._backend, asked, OipGrpcCodec, reply).authorize():
            await abort(context, refused[0])

    def _start(
        self,
        message: pb.ModelInferRequest | Malformed,
        asked: InferenceRequest,
        reply: Reply[pb.ModelInferResponse],
    ) -> Call[pb.ModelInferRequest, pb.ModelInferResponse]:
        if isinstance(message, Malformed):
            call = Call(self._backend, asked, OipGrpcCodec, reply)
            call.refuse(MALFORMED)
            return call
        size = message.ByteSize()
        request = asked._replace(
            model=message.model_name,
            version=message.model_version,
            variant=message.parameters["variant"].string_param if "variant" in message.parameters else None,
            size=size,
            message_id=message.id,
        )
        call = Call(self._backend, request, OipGrpcCodec, reply)
        if call.open():
            call.submit(message, size)
        return call


def metadata_of(context: Context) -> list[tuple[bytes, bytes]]:
    """The metadata of a call, as bytes."""
    return [
        (key.encode(), value.encode("latin-1", "replace") if isinstance(value, str) else value)
        for key, value in context.invocation_metadata() or ()
    ]


async def abort(context: Context, outcome: GrpcOutcome) -> None:
    """End a call with an error: its status, its sentence, and the ids that its log lines have.

    Raises:
        grpc.aio.AbortError: always.
    """
    context.set_trailing_metadata(_metadata(outcome))
    await context.abort(STATUS.get(outcome.status, grpc.StatusCode.INTERNAL), outcome.error)


def _metadata(outcome: GrpcOutcome) -> tuple[tuple[str, str], ...]:
    ids = [(name.decode(), value.decode()) for name, value in outcome.ids]
    if isinstance(outcome.cause, OverloadedError):
        # gRPC's own name for retry-after: https://github.com/grpc/proposal, A6.
        ids.append(("grpc-retry-pushback-ms", str(outcome.cause.retry_after_s * 1000)))
    return tuple(ids)


def _streamed(message: pb.ModelInferRequest, outcome: GrpcOutcome) -> pb.ModelStreamInferResponse:
    if outcome.answer is not None:
        return pb.ModelStreamInferResponse(infer_response=outcome.answer)
    named = pb.ModelInferResponse(id=message.id, model_name=message.model_name)
    return pb.ModelStreamInferResponse(error_message=outcome.error, infer_response=named)
