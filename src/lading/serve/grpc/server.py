"""The gRPC port: the protocol's service, ``grpc.health.v1`` and reflection."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from lading.errors import NotOfferedError, ServerError
from lading.errors.sentences import clipped, shown
from lading.protocol.proto import inference_pb2
from lading.serve.certificates import Certificates
from lading.serve.grpc.inference import SERVICE, Inference
from lading.serve.grpc.reading import Reading
from lading.serve.grpc.reflection import add_reflection
from lading.serve.grpc.servicer import Observed, Servicer, method_of
from lading.serve.grpc.wire import MOST_FIELDS, Limits
from lading.serve.http.app import App
from lading.serve.not_offered import INSTEAD
from lading.settings import Settings

MAX_CALLS = 1_024
"""Maximum calls of all connections that are open at once, health watches included; more get RESOURCE_EXHAUSTED."""
MAX_METADATA = 16_384
"""Bytes of a call's metadata, as gRPC's own default."""
_STREAMS = 512  # calls of one connection; the next ones wait in the client


class GrpcServer:
    """Serves an app over gRPC, on the event loop that the HTTP ports run on."""

    def __init__(self, app: App, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._server: grpc.aio.Server | None = None
        self._health: Any = None

    async def start(self) -> int:
        """Listen, and return the port.

        Raises:
            ServerError: the port is taken, or the address is not this machine's.
        """
        settings = self._settings
        reading = Reading(self._app.engine, settings)
        server = grpc.aio.server(options=_options(settings), maximum_concurrent_rpcs=MAX_CALLS)
        self._health = _Health()
        offered = _Services(reading)
        offered.handlers[SERVICE] = inference_handlers(self._app, reading)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, offered)
        add_reflection(offered, tuple(offered.handlers))
        generic = (grpc.method_handlers_generic_handler(*service) for service in offered.handlers.items())
        server.add_generic_rpc_handlers((*generic, _Unknown(self._app, reading, offered.handlers)))
        await self.show_readiness()
        host = f"[{settings.http_host}]" if ":" in settings.http_host else settings.http_host
        address = f"{host}:{settings.grpc_port}"
        try:
            credentials = _credentials(self._app.certificates)
            port: int = (
                server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
            )
        except RuntimeError:
            raise ServerError(
                f"port {settings.grpc_port} of {settings.http_host} cannot be opened for gRPC: stop what listens "
                "there, or choose another with LADING_GRPC_PORT (off: none)"
            ) from None
        await server.start()
        self._server = server
        return port

    async def show_readiness(self) -> None:
        """Tell health checks whether the models are ready now."""
        if self._health is not None:
            kinds = health_pb2.HealthCheckResponse.ServingStatus
            status = kinds.SERVING if self._app.health.ready else kinds.NOT_SERVING
            for service in ("", SERVICE):
                await self._health.set(service, status)

    async def stop(self, grace_s: float) -> None:
        """Send GOAWAY, take no more calls, and return when those accepted are answered, or after the grace."""
        if self._health is not None:
            await self._health.enter_graceful_shutdown()
        if self._server is not None:
            await self._server.stop(grace_s)
            # Let go of while the loop runs: what gRPC does when it is collected needs it.
            self._server = None


def _credentials(certificates: Certificates | None) -> grpc.ServerCredentials | None:
    if certificates is None:
        return None
    shown = certificates.pair

    def newest() -> grpc.ServerCertificateConfiguration | None:
        """gRPC calls this before each handshake; ``None`` means that nothing has changed."""
        nonlocal shown
        if certificates.pair is shown:
            return None
        shown = certificates.pair
        return grpc.ssl_server_certificate_configuration([shown[::-1]])

    return grpc.dynamic_ssl_server_credentials(grpc.ssl_server_certificate_configuration([shown[::-1]]), newest)


def _options(settings: Settings) -> list[tuple[str, int]]:
    most = settings.grpc_max_message_bytes
    return [
        ("grpc.max_receive_message_length", most),
        ("grpc.max_send_message_length", most),
        # Otherwise the window of a stream grows to megabytes, which arrive before the message is read.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.max_metadata_size", MAX_METADATA),
        ("grpc.absolute_max_metadata_size", MAX_METADATA),
        ("grpc.max_concurrent_streams", _STREAMS),
        ("grpc.max_allowed_incoming_connections", settings.max_connections),
        ("grpc.server_handshake_timeout_ms", math.ceil(settings.header_timeout_s * 1000)),
        ("grpc.so_reuseport", int(settings.workers > 1)),
        # Many clients ping every 10 s; by default gRPC closes the connection at the third ping within 15 minutes. The
        # limit is far below 10 s, so that a ping that is a millisecond early does not count.
        ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # Connections whose client has vanished end, and with them their calls.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # When a server stops, gRPC cancels calls that have come in and were not yet taken up. A connection that is
        # closed before that by its age loses none; streams stay until they end.
        ("grpc.max_connection_age_ms", int(settings.grpc_connection_s * 1000)),
    ]


class _Health(health.aio.HealthServicer):  # type: ignore[misc]
    """gRPC's own, which keeps the name of a watched service: names that are not served share one entry."""

    async def Watch(  # noqa: N802 - the name of the call
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> None:
        if request.service not in ("", SERVICE):
            request = health_pb2.HealthCheckRequest(service="unknown")
        await super().Watch(request, context)


class _Services:
    """Every service of this server, and the handler of each of its methods.

    It stands for a server, and so takes the services of other packages, with their messages bounded.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self.handlers: dict[str, dict[str, grpc.RpcMethodHandler[Any, Any]]] = {}

    def add_generic_rpc_handlers(self, _: object) -> None:
        """The same handlers come by the other method."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        """Add the handlers of one service."""
        self.handlers[service] = {name: self._reading.bounded(handler) for name, handler in handlers.items()}


class _Unknown(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers every call that no handler before it takes.

    Args:
        app: keys and settings.
        reading: is not used: no message is read.
        services: the methods of each service, the main service first.
    """

    def __init__(self, app: App, reading: Reading, services: Mapping[str, Mapping[str, Any]]) -> None:
        self._app, self._reading, self._services = app, reading, services

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        """A handler that reads no message and answers UNIMPLEMENTED with a sentence."""
        path = details.method

        async def refuse(_: object) -> Message:
            raise NotOfferedError(self._sentence(path))

        return grpc.stream_unary_rpc_method_handler(Observed(self._app, self._reading, path, refuse).answer)

    def _sentence(self, path: str) -> str:
        service, _, method = path.removeprefix("/").rpartition("/")
        methods = self._services.get(service)
        if methods is not None:
            offered = ", ".join(name for name in methods if name not in INSTEAD)
            return clipped(f"{service} has no method {shown(method)} here; it has: {offered}")
        main = next(iter(self._services))
        known = ", ".join(self._services)
        if not service:
            example = f"/{main}/{next(iter(self._services[main]))}"
            return f"{shown(path)} names no method: send /SERVICE/METHOD, such as {example}"
        same = "" if method not in self._services[main] else f": send the call to /{main}/{method}"
        return f"this server has no service {shown(service)}; it has {known}{same}"


def inference_handlers(app: App, reading: Reading) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
    """Every call of the protocol."""
    settings = app.settings
    limits = Limits(MOST_FIELDS + 8 * settings.max_batch, settings.max_json_values)
    servicer = Servicer(app)
    inference = Inference(app.backend, reading, limits.parser(inference_pb2.ModelInferRequest))
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
    for method in inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods:
        if method.name == "ModelStreamInfer":
            handler = grpc.stream_stream_rpc_method_handler(inference.stream)
        elif method.name == "ModelInfer":
            # As if it took a stream of messages: then this server reads the one message, and not gRPC.
            handler = grpc.stream_unary_rpc_method_handler(inference.unary)
        else:
            parse = limits.parser(GetMessageClass(method.input_type))
            observed = Observed(app, reading, f"/{SERVICE}/{method.name}", method_of(servicer, method.name), parse)
            handler = grpc.stream_unary_rpc_method_handler(observed.answer)
        handlers[method.name] = handler
    return handlers
