"""A client of a running server: the Open Inference Protocol over REST and gRPC, and the plain endpoints."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import grpc
import orjson

from lading.errors import ClientError, SettingsError
from lading.key_file import bearer
from lading.protocol.client_codec import (
    JSON_LENGTH,
    Inputs,
    Request,
    binary_request,
    grpc_request,
    json_request,
    predict_request,
    read_grpc,
    read_infer,
    read_predict,
)
from lading.protocol.proto.inference_pb2_grpc import GRPCInferenceServiceStub
from lading.spec import Array

TIMEOUT_S = 30.0
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Access:
    """What a client needs to reach a server: a key, and the certificate to trust."""

    key: Path | None = None
    """File of API keys; the first that has not expired is sent."""
    ca: Path | None = None
    """PEM file of the certificate to trust; with it gRPC speaks TLS. Default: the system's authorities."""

    def headers(self) -> dict[str, str]:
        """The key as a header, or nothing.

        Raises:
            SettingsError: the file cannot be read, or has no valid key.
        """
        return bearer(self.key) if self.key else {}

    def trust(self) -> ssl.SSLContext:
        """The context for HTTPS.

        Raises:
            SettingsError: the file has no certificate.
        """
        try:
            context = ssl.create_default_context(cafile=str(self.ca) if self.ca else None)
        except OSError as error:
            raise SettingsError(f"{self.ca} has no certificate that can be read: {error}") from None
        # A server's own certificate may be trusted without the authority that signed it, as Python 3.13 and gRPC do.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context

    def channel(self, address: str, options: Sequence[tuple[str, int]] = ()) -> grpc.Channel:
        """A gRPC channel to ``host:port``, over TLS if there is a certificate.

        Raises:
            SettingsError: the file has no certificate.
        """
        options = [("grpc.max_receive_message_length", -1), *options]
        if self.ca is None:
            return grpc.insecure_channel(address, options)
        self.trust()  # gRPC only logs an unreadable certificate, and then tries to connect forever
        return grpc.secure_channel(address, grpc.ssl_channel_credentials(self.ca.read_bytes()), options)


ANYONE = Access()


class Client:
    """A client of one server, with connections that stay open. One thread may use it at a time.

    It ignores proxies in the environment. It uses ``http.client``, because its latency is part of our reports: a
    request to a tiny model takes 0.32 ms, and 0.61 ms with httpx.

    Args:
        url: base URL of the HTTP port, ``http://`` or ``https://``; its path, if any, is a prefix.
        grpc_address: ``host:port`` of the gRPC port, for :meth:`infer_grpc`.
        access: key and certificate.
        timeout_s: seconds for each step of a request.

    Raises:
        SettingsError: the URL, the file of keys or the certificate cannot be used.
    """

    def __init__(
        self, url: str, grpc_address: str | None = None, *, access: Access = ANYONE, timeout_s: float = TIMEOUT_S
    ) -> None:
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._headers = access.headers()
        try:
            parts = urlsplit(self.url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise SettingsError(f"{url!r} is not the address of a server: {error}") from None
        if parts.scheme not in ("http", "https") or not host:
            raise SettingsError(f"{url!r} is not the address of a server: write http://host:port or https://host:port")
        self._path = parts.path
        self._connection = (
            http.client.HTTPSConnection(host, port, timeout=timeout_s, context=access.trust())
            if parts.scheme == "https"
            else http.client.HTTPConnection(host, port, timeout=timeout_s)
        )
        if grpc_address and ("/" in grpc_address or not grpc_address.rpartition(":")[2].isdigit()):
            raise SettingsError(f"{grpc_address!r} is not the address of a gRPC port: write host:port, without http://")
        self._grpc_address = grpc_address
        self._channel = access.channel(grpc_address) if grpc_address else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        if self._channel is not None:
            self._channel.close()

    def ready(self) -> bool:
        """Whether the server is ready.

        Raises:
            ClientError: the server does not answer.
        """
        return self._ask("GET", "/v2/health/ready")[0] == HTTPStatus.OK

    def get(self, path: str) -> dict[str, Any]:
        """The JSON object at a path, such as ``/model``, ``/v2/models`` or ``/v2/models/NAME``.

        Raises:
            ClientError: the server does not answer, refuses, or gives an answer that cannot be read.
        """
        _, body, _ = self._asked("GET", path)

        def read() -> dict[str, Any]:
            content = orjson.loads(body)
            if not isinstance(content, dict):
                raise TypeError("not a JSON object")
            return content

        return self._understood(path, read)

    def predict(self, inputs: Inputs) -> dict[str, Array]:
        """Outputs of ``POST /predict``.

        Raises:
            ClientError: the server does not answer, refuses, or gives an answer that cannot be read.
        """
        request = predict_request(inputs)
        _, body, _ = self._asked("POST", request.path, request)
        return self._understood(request.path, lambda: read_predict(body))

    def infer(self, model: str, inputs: Inputs, *, binary: bool = True) -> dict[str, Array]:
        """Outputs of a model over REST.

        Args:
            model: its name.
            inputs: to send.
            binary: raw tensors both ways; else JSON.

        Raises:
            ClientError: the server does not answer, refuses, or gives an answer that cannot be read.
        """
        return self.send(binary_request(model, inputs) if binary else json_request(model, inputs))

    def send(self, request: Request) -> dict[str, Array]:
        """Outputs for an encoded request of the Open Inference Protocol.

        Raises:
            ClientError: the server does not answer, refuses, or gives an answer that cannot be read.
        """
        _, body, json_length = self._asked("POST", request.path, request)
        return self._understood(request.path, lambda: read_infer(body, json_length))

    def infer_grpc(self, model: str, inputs: Inputs) -> dict[str, Array]:
        """Outputs of a model over gRPC.

        Raises:
            ClientError: the server does not answer, refuses, or gives an answer that cannot be read.
        """
        assert self._channel is not None, "the client needs grpc_address"
        stub = GRPCInferenceServiceStub(self._channel)  # type: ignore[no-untyped-call]
        try:
            answer = stub.ModelInfer(
                grpc_request(model, inputs),
                timeout=self._timeout_s,
                metadata=tuple(self._headers.items()),
                wait_for_ready=True,
            )
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and not error.initial_metadata():
                raise ClientError(
                    f"gRPC: {self._grpc_address} did not answer within {self._timeout_s:g} s; is it the gRPC port "
                    "(9000), and not the HTTP port (8080)?"
                ) from None
            raise ClientError(
                f"gRPC: {self._grpc_address} answered {error.code().name}: {error.details()}"
                f"{_advice(error.code() is grpc.StatusCode.UNAUTHENTICATED)}"
            ) from None
        return self._understood("ModelInfer", lambda: read_grpc(answer))

    def _asked(self, method: str, path: str, request: Request | None = None) -> tuple[int, bytes, str | None]:
        """A successful answer."""
        status, body, json_length = self._ask(method, path, request)
        if status >= HTTPStatus.BAD_REQUEST:
            raise ClientError(
                f"{method} {self.url}{path} answered {status}: {body[:300].decode('utf-8', 'replace')}"
                f"{_advice(status == HTTPStatus.UNAUTHORIZED)}",
                answered=status,
            )
        return status, body, json_length

    def _ask(self, method: str, path: str, request: Request | None = None) -> tuple[int, bytes, str | None]:
        """Status, body and length of the JSON in it."""
        content, own = (request.content, request.headers) if request else (None, {})
        try:
            self._connection.request(method, self._path + path, content, {**own, **self._headers})
            answer = self._connection.getresponse()
            return answer.status, answer.read(), answer.getheader(JSON_LENGTH)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise ClientError(f"{self.url} does not answer: {_reason(error)}") from None

    def _understood(self, what: str, read: Callable[[], Answer]) -> Answer:
        try:
            return read()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ClientError(f"the answer of {self.url} to {what} cannot be read: {error!r}") from None


def _reason(error: Exception) -> str:
    """Why there is no answer, and what to do."""
    match error:
        case ssl.SSLError(reason="WRONG_VERSION_NUMBER" | "RECORD_LAYER_FAILURE" | "HTTP_REQUEST"):
            return "that port speaks no TLS; write http://"
        case ssl.SSLError():
            return f"{error}; give its certificate with --ca"
        case http.client.BadStatusLine() | http.client.RemoteDisconnected() | ConnectionResetError():
            return "what listens there does not speak plain HTTP; give the HTTP port (8080), or write https:// for TLS"
        case OSError(strerror=str(reason)):
            return f"{reason}; is the server running there?"
    return f"{error or type(error).__name__}; is the server running there?"


def _advice(refused: bool) -> str:
    return "; give a file of keys with --key" if refused else ""
