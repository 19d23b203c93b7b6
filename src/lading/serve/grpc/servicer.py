"""The calls of the Open Inference Protocol over gRPC that run no model: metadata, readiness, model control."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, TypeAlias

from google.protobuf.message import Message

import lading
from lading.errors import LadingError
from lading.errors.sentences import clipped
from lading.protocol.proto import inference_pb2 as pb
from lading.serve.grpc.inference import abort, metadata_of
from lading.serve.grpc.reading import Context, Reading, well_formed
from lading.serve.grpc.wire import Parse
from lading.serve.http.app import App
from lading.serve.http.oip import EXTENSIONS, PLATFORM, check_load_parameters, inputs_metadata, tensor_metadata
from lading.serve.not_offered import INSTEAD, not_offered
from lading.serve.outcome import UNEXPECTED, Outcome
from lading.serve.request import REQUEST_ID, choose_id
from lading.serve.telemetry.request_log import log, log_fields, log_request
from lading.serve.telemetry.trace_context import caller_in

OPEN_CALLS = frozenset({"ServerLive", "ServerReady"})
"""Calls that need no key, as the same paths over HTTP."""
OPERATOR_CALLS = frozenset({"RepositoryModelLoad", "RepositoryModelUnload"})
"""Calls that need a key which is not limited to inference or feedback."""
Method: TypeAlias = Callable[[Any], Awaitable[Message]]


class Servicer:
    """One method per call, with the call's name; answers from the app's models and engine.

    Args:
        app: shared with the HTTP ports.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def ServerLive(self, _: pb.ServerLiveRequest) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=self._app.health.alive)

    async def ServerReady(self, _: pb.ServerReadyRequest) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self._app.health.ready)

    async def ModelReady(self, request: pb.ModelReadyRequest) -> pb.ModelReadyResponse:
        model = self._app.repository.find(request.name, request.version)
        return pb.ModelReadyResponse(ready=model.ready and not self._app.engine.draining)

    async def ServerMetadata(self, _: pb.ServerMetadataRequest) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(name="lading", version=lading.__version__, extensions=EXTENSIONS)

    async def ModelMetadata(self, request: pb.ModelMetadataRequest) -> pb.ModelMetadataResponse:
        model = self._app.repository.find(request.name, request.version)
        return pb.ModelMetadataResponse(
            name=model.name,
            versions=self._app.repository.versions(model.name),
            platform=PLATFORM,
            inputs=[pb.ModelMetadataResponse.TensorMetadata(**entry) for entry in inputs_metadata(model.inputs)],
            outputs=[pb.ModelMetadataResponse.TensorMetadata(**tensor_metadata(spec)) for spec in model.outputs],
        )

    async def ModelStatistics(self, request: pb.ModelStatisticsRequest) -> pb.ModelStatisticsResponse:
        entries = await self._app.statistics.of(request.name, request.version)
        return pb.ModelStatisticsResponse(model_stats=[pb.ModelStatistics(**entry) for entry in entries])

    async def RepositoryIndex(self, request: pb.RepositoryIndexRequest) -> pb.RepositoryIndexResponse:
        entries = [entry for entry in self._app.repository.index() if not request.ready or entry["state"] == "READY"]
        return pb.RepositoryIndexResponse(models=[pb.RepositoryIndexResponse.ModelIndex(**entry) for entry in entries])

    async def RepositoryModelLoad(self, request: pb.RepositoryModelLoadRequest) -> pb.RepositoryModelLoadResponse:
        name = request.model_name or request.repository_name
        check_load_parameters(request.parameters)
        await self._app.repository.load(name)
        return pb.RepositoryModelLoadResponse(model_name=name, isLoaded=True)

    async def RepositoryModelUnload(self, request: pb.RepositoryModelUnloadRequest) -> pb.RepositoryModelUnloadResponse:
        name = request.model_name or request.repository_name
        check_load_parameters(request.parameters)
        await self._app.repository.unload(name)
        return pb.RepositoryModelUnloadResponse(model_name=name, isUnloaded=True)


def method_of(servicer: Servicer, name: str) -> Method:
    """What answers a call; for one that is not offered, a method that says so."""
    instead = INSTEAD.get(name)
    if instead is None:
        method: Method = getattr(servicer, name)
        return method

    async def refuse(_: Message) -> Message:
        raise not_offered(name, instead)

    return refuse


class Observed:
    """What HTTP's ``Observe`` does, for one of these calls: its key, its errors, and its line in the access log.

    Args:
        app: keys and settings.
        reading: reads its message.
        path: of the call.
        method: answers it, and raises a LadingError otherwise.
        parse: parses the message; ``None`` for a call whose message is not read.
    """

    def __init__(self, app: App, reading: Reading, path: str, method: Method, parse: Parse | None = None) -> None:
        self._reading, self._parse = reading, parse
        name = path.rpartition("/")[2]
        self._keys = None if name in OPEN_CALLS else app.keys
        self._purpose = "operate" if name in OPERATOR_CALLS else "infer"
        self._access_log = app.settings.access_log
        self._path, self._method = path, method

    async def answer(self, _: object, context: Context) -> bytes:
        """Answer one call.

        Raises:
            grpc.aio.AbortError: after an error, which the client has got as the status of the call.
        """
        begin = time.perf_counter()
        pairs = metadata_of(context)
        metadata = dict(pairs)
        caller = caller_in(pairs)
        trace = caller.own_span() if caller else None
        request_id = choose_id(metadata.get(REQUEST_ID), "", trace)
        status, sentence, cause = HTTPStatus.INTERNAL_SERVER_ERROR, UNEXPECTED, None
        try:
            if self._keys is not None:
                self._keys.check(metadata.get(b"authorization"), self._purpose)
            message = None
            if self._parse is not None:
                message = well_formed((await self._reading.one(context, self._parse))[0])
            answer = await self._method(message)
            status = HTTPStatus.OK
            return bytes(answer.SerializeToString())
        except LadingError as error:
            status, sentence, cause = error.status, clipped(str(error)), error
        except Exception:
            log.exception("unexpected error", **log_fields(self._path, request_id, trace))
        finally:
            if self._access_log:
                seconds = time.perf_counter() - begin
                log_request("POST", self._path, status, seconds=seconds, request_id=request_id, trace=trace)
        ids = [(REQUEST_ID, request_id.encode()), *(trace.headers() if trace else ())]
        await abort(context, Outcome(status, request_id, ids, None, error=sentence, cause=cause))
        raise AssertionError
