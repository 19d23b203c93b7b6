"""Inference over gRPC: ``ModelInfer`` and ``ModelStreamInfer``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus

import grpc

from lading.errors import LadingError, OverloadedError, RequestError
from lading.protocol.oip_grpc import OipGrpcCodec
from lading.protocol.proto import inference_pb2 as pb
from lading.serve.backend import Backend
from lading.serve.call import Call
from lading.serve.grpc.reading import STATUS, Context, Reading
from lading.serve.grpc.stream_answers import ASK_FINAL, Asked, StreamAnswer, StreamAnswers
from lading.serve.grpc.wire import Malformed, Parse
from lading.serve.outcome import Outcome, Reply
from lading.serve.request import InferenceRequest
from lading.serve.telemetry.conventions import rpc_request
from lading.serve.telemetry.trace_context import TRACEPARENT, caller_in

GrpcOutcome = Outcome[bytes]

SERVICE: str = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
_REQUEST = pb.ModelInferRequest.DESCRIPTOR.full_name
_NO_ATTRIBUTES: Mapping[str, str | int] = {}


class Inference:
    """The two calls of the protocol that run a model.

    Args:
        backend: what their calls use; shared with the HTTP ports.
        reading: reads their messages.
        parse: parses them.
    """

    def __init__(self, backend: Backend, reading: Reading, parse: Parse) -> None:
        self._backend, self._reading, self._parse = backend, reading, parse
        settings, methods = backend.settings, ("ModelInfer", "ModelStreamInfer") if backend.names_requests else ()
        self._names = {
            method: rpc_request(SERVICE, method, host=settings.http_host, port=settings.grpc_port) for method in methods
        }

    async def unary(self, _: object, context: Context) -> bytes:
        """Answer one request, within the deadline of its call.

        Raises:
            grpc.aio.AbortError: after an error, which the client has got as the status of the call.
        """
        answered: asyncio.Future[GrpcOutcome] = asyncio.get_running_loop().create_future()

        def reply(outcome: GrpcOutcome) -> int:
            if not answered.done():
                answered.set_result(outcome)
            return len(outcome.answer or b"")

        asked = self._asked("ModelInfer", context, timeout_s=context.time_remaining())
        if self._backend.keys is not None:
            await self._authorize(asked, context)
        message: pb.ModelInferRequest | Malformed
        try:
            message, size = await self._reading.one(context, self._parse)
        except LadingError as error:
            message, size = Malformed(error), 0
        call = self._start(message, size, asked, reply)
        del message  # an aborted call stays in memory until garbage is collected
        try:
            outcome = await answered
        finally:
            call.leave()  # counts a call that was cancelled; the others are done
        if outcome.answer is None:
            await abort(context, outcome)
        context.set_trailing_metadata(_metadata(outcome))
        assert outcome.answer is not None
        return outcome.answer

    async def stream(self, _: object, context: Context) -> AsyncIterator[bytes]:
        """Answer the requests of a stream in their order: an error is an answer too, under the request's id.

        Triton does the same for a model that has one answer for each request.

        Raises:
            grpc.aio.AbortError: the key is wrong, too many streams are open, or a message cannot be read.
        """
        asked = self._asked("ModelStreamInfer", context, streamed=True)
        await self._authorize(asked, context)
        try:
            with self._reading.open_stream():
                async for answer in self._answers(asked, context):
                    yield answer
        except OverloadedError as error:
            await self._refuse(asked, error, context)

    async def _answers(self, asked: InferenceRequest, context: Context) -> AsyncIterator[bytes]:
        answers = StreamAnswers(self._reading.max_message_bytes)
        calls: dict[int, Call[pb.ModelInferRequest, bytes]] = {}

        def start(message: pb.ModelInferRequest | Malformed, size: int) -> None:
            said = Asked(readable=False) if isinstance(message, Malformed) else Asked.by(message)
            number = answers.begin(size)

            def reply(outcome: GrpcOutcome) -> int:
                calls.pop(number, None)
                answers.put(number, StreamAnswer(size, said, outcome))
                return len(outcome.answer or b"")

            call = self._start(message, size, asked._replace(begin=time.perf_counter()), reply)
            if call.in_flight:
                calls[number] = call

        async def read() -> None:
            try:
                async for message, size in self._reading.many(context, self._parse):
                    start(message, size)
                    del message
                    await answers.room()
                await answers.room(0)  # until every answer has been sent
            finally:
                answers.end()

        reading = asyncio.create_task(read())
        try:
            while (answer := await answers.next()) is not None:
                if not answer.asked.readable or answer.outcome.status == HTTPStatus.UNAUTHORIZED:
                    await abort(context, answer.outcome)
                yield answer.to_bytes()
                answers.sent(answer)
            await reading
        finally:
            reading.cancel()
            for call in list(calls.values()):
                call.leave()

    def _asked(
        self, method: str, context: Context, *, timeout_s: float | None = None, streamed: bool = False
    ) -> InferenceRequest:
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
            timeout_s=timeout_s,
            streamed=streamed,
            caller=caller_in(pairs) if TRACEPARENT in metadata else None,
            span_name=f"{SERVICE}/{method}" if self._names else "",
            span_attributes=self._names.get(method, _NO_ATTRIBUTES),
        )

    async def _authorize(self, asked: InferenceRequest, context: Context) -> None:
        """Refuse a call without a key before its first message."""
        refused: list[GrpcOutcome] = []
        if not Call(self._backend, asked, OipGrpcCodec, _into(refused)).authorize():
            await abort(context, refused[0])

    async def _refuse(self, asked: InferenceRequest, error: LadingError, context: Context) -> None:
        refused: list[GrpcOutcome] = []
        Call(self._backend, asked, OipGrpcCodec, _into(refused)).refuse(error)
        await abort(context, refused[0])

    def _start(
        self,
        message: pb.ModelInferRequest | Malformed,
        size: int,
        asked: InferenceRequest,
        reply: Reply[bytes],
    ) -> Call[pb.ModelInferRequest, bytes]:
        if not size and not isinstance(message, Malformed):
            # An empty message is also what gRPC makes of bytes that are not framed as one.
            message = Malformed(RequestError(f"the message is empty: send {_REQUEST} with model_name and inputs"))
        if isinstance(message, Malformed):
            call = Call(self._backend, asked, OipGrpcCodec, reply)
            call.refuse(message.error)
            return call
        parameters = message.parameters
        request = asked._replace(
            model=message.model_name,
            version=message.model_version,
            variant=parameters["variant"].string_param if parameters and "variant" in parameters else None,
            size=size,
            message_id=message.id,
        )
        call = Call(self._backend, request, OipGrpcCodec, reply)
        if parameters and ASK_FINAL in parameters and not parameters[ASK_FINAL].HasField("bool_param"):
            call.refuse(RequestError(f"parameter {ASK_FINAL!r} is not a bool: send bool_param"))
        elif call.open():
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


def _into(outcomes: list[GrpcOutcome]) -> Reply[bytes]:
    def reply(outcome: GrpcOutcome) -> int:
        outcomes.append(outcome)
        return 0

    return reply
