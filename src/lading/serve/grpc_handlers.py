"""The protocol's calls bound to a servicer, with bytes that are no message refused in a sentence.

grpcio's own binding answers them UNKNOWN and logs a traceback.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from lading.serve.grpc_servicer import Servicer
from lading.serve.proto import inference_pb2

DESCRIPTOR = inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
SERVICE: str = DESCRIPTOR.full_name


class Malformed:
    """Stands for bytes that are no message."""


def generic_handler(servicer: Servicer) -> grpc.GenericRpcHandler:
    """Every call of the service."""
    handlers = {}
    for method in DESCRIPTOR.methods:
        parse = _tolerant(GetMessageClass(method.input_type))
        call = getattr(servicer, method.name)
        serialize = GetMessageClass(method.output_type).SerializeToString
        if method.client_streaming:
            handlers[method.name] = grpc.stream_stream_rpc_method_handler(_stream(call), parse, serialize)
        else:
            handlers[method.name] = grpc.unary_unary_rpc_method_handler(_unary(call), parse, serialize)
    return grpc.method_handlers_generic_handler(SERVICE, handlers)


def _tolerant(kind: type[Message]) -> Callable[[bytes], Message | Malformed]:
    def parse(data: bytes) -> Message | Malformed:
        try:
            return kind.FromString(data)
        except DecodeError:
            return Malformed()

    return parse


def _unary(call: Callable[[Any, Any], Awaitable[Message]]) -> Callable[[Any, Any], Awaitable[Message]]:
    async def checked(request: Message | Malformed, context: grpc.aio.ServicerContext) -> Message:
        if isinstance(request, Malformed):
            await _refuse(context)
        return await call(request, context)

    return checked


def _stream(call: Callable[[Any, Any], AsyncIterator[Message]]) -> Callable[[Any, Any], AsyncIterator[Message]]:
    async def checked(requests: AsyncIterator[Any], context: grpc.aio.ServicerContext) -> AsyncIterator[Message]:
        async def well_formed() -> AsyncIterator[Message]:
            async for request in requests:
                if isinstance(request, Malformed):
                    await _refuse(context)
                yield request

        async for response in call(well_formed(), context):
            yield response

    return checked


async def _refuse(context: grpc.aio.ServicerContext) -> None:
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the bytes sent are no message of this call")
