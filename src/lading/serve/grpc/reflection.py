"""Server reflection, ``v1`` and ``v1alpha``: how grpcurl, ghz or Postman learn the calls of this server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf import descriptor_pool, text_format
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

ALPHA: str = reflection.SERVICE_NAME
STABLE = ALPHA.replace("v1alpha", "v1")


class _Symbols:
    """The files of some services and of all that they import, as the library's servicer looks them up.

    protobuf's own pool does not find methods, and its default one has the files of every package in the process.
    """

    def __init__(self, services: Iterable[str]) -> None:
        self._pool = descriptor_pool.DescriptorPool()
        self._methods: dict[str, FileDescriptor] = {}
        known: dict[str, FileDescriptorProto] = {STABLE: _stable()}
        added: set[str] = set()
        for name in services:
            if name in known:
                self._pool.Add(known[name])
            else:
                self._add(descriptor_pool.Default().FindServiceByName(name).file, added)
            for method in self._pool.FindServiceByName(name).methods:
                self._methods[method.full_name] = method.containing_service.file

    def FindFileContainingSymbol(self, name: str) -> FileDescriptor:  # noqa: N802 - the name in protobuf
        """The file that declares a service, method, message, enum or field.

        Raises:
            KeyError: none does.
        """
        return self._methods.get(name) or self._pool.FindFileContainingSymbol(name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def _add(self, file: FileDescriptor, added: set[str]) -> None:
        if file.name not in added:
            added.add(file.name)
            for imported in file.dependencies:
                self._add(imported, added)
            self._pool.AddSerializedFile(file.serialized_pb)


def add_reflection(server: Any, services: Iterable[str]) -> None:
    """Offer reflection under both names.

    Args:
        server: takes the handlers.
        services: every other service of it.
    """
    names = (*services, ALPHA, STABLE)
    servicer = reflection.aio.ReflectionServicer(names, pool=_Symbols(names))
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, _Both(server))


class _Both:
    """Passes the handlers of ``v1alpha`` on under the name ``v1`` too: the messages have the same fields."""

    def __init__(self, server: Any) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        self._server.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(self, _: str, handlers: Any) -> None:
        for name in (ALPHA, STABLE):
            self._server.add_registered_method_handlers(name, handlers)


def _stable() -> FileDescriptorProto:
    """The file of ``v1``, which grpcio-reflection does not have."""
    alpha = FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(alpha)
    text = text_format.MessageToString(alpha)
    return text_format.Parse(text.replace("v1alpha", "v1"), FileDescriptorProto())
