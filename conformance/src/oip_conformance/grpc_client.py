"""Calls over gRPC, and what came back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import grpc
from google.protobuf.message import Message

from oip_conformance.proto import oip_pb2 as pb
from oip_conformance.statement import Failed, require, shown

SERVICE = "inference.GRPCInferenceService"
LARGEST_MESSAGE = 256 << 20
NOT_OFFERED = (grpc.StatusCode.UNIMPLEMENTED,)
M = TypeVar("M", bound=Message)


@dataclass(frozen=True)
class Reply(Generic[M]):
    """The outcome of a call: a status and its details, and the message of a successful one."""

    asked: str
    """The call, for messages."""
    code: grpc.StatusCode
    details: str
    message: M | None

    def ok(self) -> M:
        """The message.

        Raises:
            Failed: the call was not answered with OK.
        """
        if self.message is None:
            raise Failed(f"{self.asked} answers {self.code.name}: {shown(self.details)}")
        return self.message

    def require_refused(self, what: str) -> None:
        """Fail unless the status is an error of the server's, not of the connection."""
        require(self.code is not grpc.StatusCode.OK, f"{what}: {self.asked} answers OK")
        lost = self.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
        require(not lost, f"{what}: {self.asked} has no answer: {self.code.name} {shown(self.details)}")


class GrpcClient:
    """One server's gRPC address.

    Args:
        address: ``host:port``, or ``grpcs://host:port`` for TLS.
        metadata: sent with every call, such as an API key.
        timeout_s: of one call.
        authority: PEM file of the certificate authority that signed the server's certificate; ``None``: public ones.
    """

    def __init__(
        self,
        address: str,
        metadata: Mapping[str, str] | None = None,
        timeout_s: float = 30.0,
        authority: Path | None = None,
    ) -> None:
        options = [("grpc.max_receive_message_length", LARGEST_MESSAGE), ("grpc.enable_http_proxy", 0)]
        scheme, separator, rest = address.rpartition("://")
        if separator and scheme == "grpcs":
            roots = authority.read_bytes() if authority is not None else None
            self._channel = grpc.secure_channel(rest, grpc.ssl_channel_credentials(roots), options=options)
        else:
            self._channel = grpc.insecure_channel(rest, options=options)
        self._metadata = tuple((name.lower(), value) for name, value in (metadata or {}).items())
        self._timeout_s = timeout_s

    def server_live(self) -> Reply[pb.ServerLiveResponse]:
        """ServerLive."""
        return self._call("ServerLive", pb.ServerLiveRequest(), pb.ServerLiveResponse)

    def server_ready(self) -> Reply[pb.ServerReadyResponse]:
        """ServerReady."""
        return self._call("ServerReady", pb.ServerReadyRequest(), pb.ServerReadyResponse)

    def model_ready(self, name: str, version: str = "") -> Reply[pb.ModelReadyResponse]:
        """ModelReady."""
        return self._call("ModelReady", pb.ModelReadyRequest(name=name, version=version), pb.ModelReadyResponse)

    def server_metadata(self) -> Reply[pb.ServerMetadataResponse]:
        """ServerMetadata."""
        return self._call("ServerMetadata", pb.ServerMetadataRequest(), pb.ServerMetadataResponse)

    def model_metadata(self, name: str, version: str = "") -> Reply[pb.ModelMetadataResponse]:
        """ModelMetadata."""
        request = pb.ModelMetadataRequest(name=name, version=version)
        return self._call("ModelMetadata", request, pb.ModelMetadataResponse)

    def infer(self, request: pb.ModelInferRequest) -> Reply[pb.ModelInferResponse]:
        """ModelInfer."""
        return self._call("ModelInfer", request, pb.ModelInferResponse)

    def index(self, *, ready: bool = False) -> Reply[pb.RepositoryIndexResponse]:
        """RepositoryIndex of the model repository extension."""
        return self._call("RepositoryIndex", pb.RepositoryIndexRequest(ready=ready), pb.RepositoryIndexResponse)

    def load(self, name: str) -> Reply[pb.RepositoryModelLoadResponse]:
        """RepositoryModelLoad of the model repository extension."""
        request = pb.RepositoryModelLoadRequest(model_name=name)
        return self._call("RepositoryModelLoad", request, pb.RepositoryModelLoadResponse)

    def unload(self, name: str) -> Reply[pb.RepositoryModelUnloadResponse]:
        """RepositoryModelUnload of the model repository extension."""
        request = pb.RepositoryModelUnloadRequest(model_name=name)
        return self._call("RepositoryModelUnload", request, pb.RepositoryModelUnloadResponse)

    def statistics(self, name: str = "", version: str = "") -> Reply[pb.ModelStatisticsResponse]:
        """ModelStatistics of the statistics extension."""
        request = pb.ModelStatisticsRequest(name=name, version=version)
        return self._call("ModelStatistics", request, pb.ModelStatisticsResponse)

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def _call(self, method: str, request: Message, response: type[M]) -> Reply[M]:
        call = self._channel.unary_unary(
            f"/{SERVICE}/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=response.FromString,
        )
        try:
            message: Any = call(request, timeout=self._timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            return Reply(method, error.code(), error.details() or "", None)
        return Reply(method, grpc.StatusCode.OK, "", message)
