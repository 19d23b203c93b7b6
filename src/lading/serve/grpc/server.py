"""The gRPC port: the protocol's service, ``grpc.health.v1`` and reflection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from lading.errors import ServerError, SettingsError
from lading.protocol.proto import inference_pb2
from lading.serve.grpc.inference import SERVICE, Inference, Malformed
from lading.serve.grpc.servicer import Observed, Servicer
from lading.serve.http.app import App
from lading.settings import Settings


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
            SettingsError: the certificate cannot be used.
        """
        settings = self._settings
        most = int(settings.grpc_max_message_mb * 1_000_000)
        server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", most),
                ("grpc.max_send_message_length", most),
                ("grpc.so_reuseport", int(settings.workers > 1)),
                # A client may ping as often as load balancers do; grpc's own default closes the connection on it.
                ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
                ("grpc.keepalive_permit_without_calls", 1),
                # When a server stops, gRPC cancels calls that have come in and were not yet taken up. A connection that
                # is closed before that by its age loses none; streams stay until they end.
                ("grpc.max_connection_age_ms", int(settings.grpc_connection_s * 1000)),
            ]
        )
        server.add_generic_rpc_handlers((generic_handler(self._app),))
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        await self.show_readiness()
        host = f"[{settings.http_host}]" if ":" in settings.http_host else settings.http_host
        address = f"{host}:{settings.grpc_port}"
        try:
            credentials = self._credentials()
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

    def _credentials(self) -> grpc.ServerCredentials | None:
        settings = self._settings
        if settings.tls_certificate is None or settings.tls_key is None:
            return None
        try:
            pair = (settings.tls_key.read_bytes(), settings.tls_certificate.read_bytes())
        except OSError as error:
            raise SettingsError(f"{error.filename} cannot be read: {error.strerror}") from None
        return grpc.ssl_server_credentials([pair])


def generic_handler(app: App) -> grpc.GenericRpcHandler:
    """Every call of the service."""
    servicer, inference = Servicer(app), Inference(app.backend)
    handlers = {}
    for method in inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods:
        parse = _tolerant(GetMessageClass(method.input_type))
        serialize = GetMessageClass(method.output_type).SerializeToString
        if method.name == "ModelStreamInfer":
            handler = grpc.stream_stream_rpc_method_handler(inference.stream, parse, serialize)
        elif method.name == "ModelInfer":
            handler = grpc.unary_unary_rpc_method_handler(inference.unary, parse, serialize)
        else:
            observed = Observed(app, method.name, getattr(servicer, method.name))
            handler = grpc.unary_unary_rpc_method_handler(observed.answer, parse, serialize)
        handlers[method.name] = handler
    return grpc.method_handlers_generic_handler(SERVICE, handlers)


def _tolerant(kind: type[Message]) -> Callable[[bytes], Message | Malformed]:
    """A parser that does not raise: an error in gRPC's own parser is answered by gRPC, and not counted."""

    def parse(data: bytes) -> Message | Malformed:
        try:
            return kind.FromString(data)
        except DecodeError:
            return Malformed()

    return parse
