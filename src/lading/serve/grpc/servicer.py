"""The Open Inference Protocol over gRPC."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from http import HTTPStatus

import grpc
import structlog

import lading
from lading.errors import LadingError, OverloadedError
from lading.protocol.oip_grpc import OipGrpcCodec
from lading.protocol.proto import inference_pb2 as pb
from lading.record.exchange import Exchange
from lading.serve.engine.model import ServedModel
from lading.serve.errors import UNEXPECTED
from lading.serve.grpc.call import Context, GrpcCall
from lading.serve.http.app import App
from lading.serve.http.endpoint import CLIENT_WENT_AWAY
from lading.serve.http.oip import EXTENSIONS, PLATFORM, tensor_metadata
from lading.serve.metrics import UNKNOWN
from lading.serve.request_id import ids
from lading.spec import Array

log = structlog.get_logger("lading.request")

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
"""What an error is called over gRPC; anything else is INTERNAL."""
STREAM_IN_FLIGHT = 64
"""Requests of one stream that are not yet answered; the next is read when one is."""


class Servicer:
    """One method a call of the protocol, under its name; answers from the app's models and engine.

    Args:
        app: shared with the HTTP ports.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._metrics = app.metrics
        self._max_pixels = app.settings.max_pixels
        self._default_s = app.settings.deadline_ms / 1e3

    async def ServerLive(self, request: pb.ServerLiveRequest, context: Context) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=self._app.health.alive)

    async def ServerReady(self, request: pb.ServerReadyRequest, context: Context) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self._app.health.ready)

    async def ModelReady(self, request: pb.ModelReadyRequest, context: Context) -> pb.ModelReadyResponse:
        model = await self._find(context, request.name, request.version)
        return pb.ModelReadyResponse(ready=model.ready and not self._app.engine.draining)

    async def ServerMetadata(self, request: pb.ServerMetadataRequest, context: Context) -> pb.ServerMetadataResponse:
        await self._authorize(context)
        return pb.ServerMetadataResponse(name="lading", version=lading.__version__, extensions=EXTENSIONS)

    async def ModelMetadata(self, request: pb.ModelMetadataRequest, context: Context) -> pb.ModelMetadataResponse:
        await self._authorize(context)
        model = await self._find(context, request.name, request.version)
        return pb.ModelMetadataResponse(
            name=model.name,
            versions=self._app.repository.versions(model.name),
            platform=PLATFORM,
            inputs=[pb.ModelMetadataResponse.TensorMetadata(**tensor_metadata(spec)) for spec in model.inputs],
            outputs=[pb.ModelMetadataResponse.TensorMetadata(**tensor_metadata(spec)) for spec in model.outputs],
        )

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Context) -> pb.ModelInferResponse:
        await self._authorize(context)
        call = GrpcCall("ModelInfer", context, self._app.tracing)
        remaining = context.time_remaining()
        try:
            response = await self._infer(request, self._default_s if remaining is None else remaining, call)
        except Exception as error:
            await self._abort(context, error, call)
            raise
        call.answer_ids()
        return response

    async def ModelStreamInfer(
        self, request_iterator: AsyncIterator[pb.ModelInferRequest], context: Context
    ) -> AsyncIterator[pb.ModelStreamInferResponse]:
        await self._authorize(context)
        call = GrpcCall("ModelStreamInfer", context, self._app.tracing)
        answers: asyncio.Queue[pb.ModelStreamInferResponse | None] = asyncio.Queue()
        room = asyncio.Semaphore(STREAM_IN_FLIGHT)
        working: set[asyncio.Task[None]] = set()

        async def answer(request: pb.ModelInferRequest) -> None:
            answers.put_nowait(await self._streamed(request, call))

        async def read() -> None:
            try:
                async for request in request_iterator:
                    await room.acquire()
                    task = asyncio.create_task(answer(request))
                    working.add(task)
                    task.add_done_callback(working.discard)
                await asyncio.gather(*working)
            finally:
                answers.put_nowait(None)

        reading = asyncio.create_task(read())
        try:
            while (response := await answers.get()) is not None:
                yield response
                # Only now, so that a client that does not read is not read from either.
                room.release()
            await reading
        finally:
            for task in (reading, *working):
                task.cancel()

    async def RepositoryIndex(self, request: pb.RepositoryIndexRequest, context: Context) -> pb.RepositoryIndexResponse:
        await self._authorize(context)
        entries = [entry for entry in self._app.repository.index() if not request.ready or entry["state"] == "READY"]
        return pb.RepositoryIndexResponse(models=[pb.RepositoryIndexResponse.ModelIndex(**entry) for entry in entries])

    async def RepositoryModelLoad(
        self, request: pb.RepositoryModelLoadRequest, context: Context
    ) -> pb.RepositoryModelLoadResponse:
        await self._authorize(context)
        name = request.model_name or request.repository_name
        try:
            await self._app.repository.load(name)
        except Exception as error:
            await self._abort(context, error)
        return pb.RepositoryModelLoadResponse(model_name=name, isLoaded=True)

    async def RepositoryModelUnload(
        self, request: pb.RepositoryModelUnloadRequest, context: Context
    ) -> pb.RepositoryModelUnloadResponse:
        await self._authorize(context)
        name = request.model_name or request.repository_name
        try:
            await self._app.repository.unload(name)
        except Exception as error:
            await self._abort(context, error)
        return pb.RepositoryModelUnloadResponse(model_name=name, isUnloaded=True)

    async def _infer(self, request: pb.ModelInferRequest, seconds: float, call: GrpcCall) -> pb.ModelInferResponse:
        """Answer one request and count it; ``seconds`` is the time it may take."""
        begin = time.perf_counter()
        span = call.begin_span(begin)
        self._metrics.requests_in_flight.inc()
        model: ServedModel | None = None
        received, sent, code = request.ByteSize(), 0, int(HTTPStatus.OK)
        inputs: dict[str, Array] | None = None
        outputs: dict[str, Array] | None = None
        sentence = ""

        def read() -> dict[str, Array]:
            nonlocal inputs
            inputs = codec.read(request)
            return inputs

        try:
            variant = request.parameters["variant"].string_param if "variant" in request.parameters else None
            model = self._app.repository.find(request.model_name, request.model_version, variant)
            codec = OipGrpcCodec(model.info, {}, self._max_pixels, message_id=request.id)
            outputs = await self._app.engine.infer(
                model,
                read,
                deadline=begin + seconds,
                size=received,
                brief=True,
                stages=span.stages if span else None,
            )
            response = codec.write(outputs)
            sent = response.ByteSize()
            return response
        except LadingError as error:
            code, sentence = error.status, str(error)
            raise
        except asyncio.CancelledError:
            code = CLIENT_WENT_AWAY
            raise
        except Exception:
            code, sentence = HTTPStatus.INTERNAL_SERVER_ERROR, UNEXPECTED
            raise
        finally:
            end = time.perf_counter()
            self._metrics.requests_in_flight.dec()
            self._metrics.answered(
                "grpc",
                int(code),
                end - begin,
                model=model.name if model else UNKNOWN,
                variant=model.variant if model else UNKNOWN,
                received=received,
                sent=sent,
            )
            if span is not None:
                call.end_span(span, end, int(code), model)
            if self._app.recording.record is not None and model is not None:
                self._app.recording.record(
                    Exchange(
                        request.id or (call.id if self._app.recording.needs_ids else ""),
                        model.info,
                        "grpc",
                        code=int(code),
                        error=sentence,
                        seconds=end - begin,
                        time=time.time(),
                        inputs=inputs,
                        outputs=outputs,
                    )
                )
            if self._app.settings.access_log:
                call.log(int(code), end - begin, span.context if span else call.trace)

    async def _streamed(self, request: pb.ModelInferRequest, call: GrpcCall) -> pb.ModelStreamInferResponse:
        """One answer on a stream: an error is an answer too, under the request's id."""
        try:
            return pb.ModelStreamInferResponse(infer_response=await self._infer(request, self._default_s, call))
        except LadingError as error:
            sentence = str(error)
        except Exception:
            log.exception("unexpected error", **ids(call.id, call.caller))
            sentence = UNEXPECTED
        tagged = pb.ModelInferResponse(id=request.id, model_name=request.model_name)
        return pb.ModelStreamInferResponse(error_message=sentence, infer_response=tagged)

    async def _find(self, context: Context, name: str, version: str) -> ServedModel:
        try:
            return self._app.repository.find(name, version)
        except LadingError as error:
            await self._abort(context, error)
            raise

    async def _authorize(self, context: Context) -> None:
        if self._app.keys is None:
            return
        sent = {str(key): value for key, value in context.invocation_metadata() or ()}
        try:
            self._app.keys.check(sent.get("authorization"))
        except LadingError as error:
            await self._abort(context, error)

    async def _abort(self, context: Context, error: Exception, call: GrpcCall | None = None) -> None:
        """End the call with the error's status and sentence, and the ids that its log lines have.

        Raises:
            grpc.aio.AbortError: always.
        """
        call = call or GrpcCall("", context)
        if isinstance(error, OverloadedError):
            # gRPC's own name for "ask again after": https://github.com/grpc/proposal, A6.
            call.answer_ids(("grpc-retry-pushback-ms", str(error.retry_after_s * 1000)))
        else:
            call.answer_ids(always=not isinstance(error, LadingError))
        if isinstance(error, LadingError):
            await context.abort(STATUS.get(error.status, grpc.StatusCode.INTERNAL), str(error))
        log.error("unexpected error", exc_info=error, **ids(call.id, call.trace))
        await context.abort(grpc.StatusCode.INTERNAL, UNEXPECTED)
