"""Reflection as its clients use it: every service, method and message can be found, under both names."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, ServiceDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from tests.given.live_server import LiveServer

SERVICE = "inference.GRPCInferenceService"
VERSIONS = ("v1alpha", "v1")


class Renamed:
    """A channel on which the library's client, which knows ``v1alpha`` alone, calls another version."""

    def __init__(self, channel: grpc.Channel, version: str) -> None:
        self._channel, self._version = channel, version

    def stream_stream(self, path: str, *arguments: Any, **options: Any) -> Any:
        return self._channel.stream_stream(path.replace("v1alpha", self._version), *arguments, **options)


@pytest.fixture
def channel(table: LiveServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(table.grpc) as channel:
        yield channel


def listed(channel: grpc.Channel, version: str) -> set[str]:
    return set(ProtoReflectionDescriptorDatabase(Renamed(channel, version)).get_services())


def found(channel: grpc.Channel, symbol: str, version: str = "v1") -> reflection_pb2.ServerReflectionResponse:
    call = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )
    return next(call(iter([reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)])))


def symbols(service: ServiceDescriptor) -> Iterator[str]:
    """The service, its methods, their messages, and everything in these."""
    yield service.full_name
    seen: set[str] = set()
    waiting: list[Descriptor] = []
    for method in service.methods:
        yield method.full_name
        waiting += [method.input_type, method.output_type]
    while waiting:
        message = waiting.pop()
        if message.full_name not in seen:
            seen.add(message.full_name)
            yield message.full_name
            yield from (field.full_name for field in message.fields)
            yield from (enum.full_name for enum in message.enum_types)
            waiting += [field.message_type for field in message.fields if field.message_type is not None]
            waiting += message.nested_types


@pytest.mark.parametrize("version", VERSIONS)
def test_every_symbol_of_every_service_is_found(channel: grpc.Channel, version: str) -> None:
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(Renamed(channel, version)))
    services = listed(channel, version)
    assert {
        SERVICE,
        "grpc.health.v1.Health",
        *(f"grpc.reflection.{one}.ServerReflection" for one in VERSIONS),
    } == services
    for name in services:
        for symbol in symbols(pool.FindServiceByName(name)):
            assert found(channel, symbol, version).HasField("file_descriptor_response"), symbol


@pytest.mark.parametrize("version", VERSIONS)
def test_a_call_can_be_made_from_what_reflection_says_alone(channel: grpc.Channel, version: str) -> None:
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(Renamed(channel, version)))
    method = pool.FindServiceByName(SERVICE).methods_by_name["ModelMetadata"]
    asked, answered = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    call = channel.unary_unary(f"/{SERVICE}/{method.name}", asked.SerializeToString, answered.FromString)
    assert call(asked(name="small-table")).inputs[0].name == "features"


def test_a_symbol_that_is_not_served_is_not_found(channel: grpc.Channel) -> None:
    for symbol in ("", "inference", f"{SERVICE}.Nothing", "grpc.health.v2.Health", "google.protobuf.Any"):
        assert found(channel, symbol).error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0], symbol


def test_every_service_that_answers_is_listed(channel: grpc.Channel) -> None:
    """Of those that any package in this process knows: a service that is added later must be listed too."""
    files = [module.DESCRIPTOR for name, module in list(sys.modules.items()) if name.endswith("_pb2")]
    known = {service.full_name: service for file in files for service in file.services_by_name.values()}
    answering = set()
    for name, service in known.items():
        try:
            next(channel.stream_stream(f"/{name}/{service.methods[0].name}")(iter([b""]), timeout=20))
            answering.add(name)
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.UNIMPLEMENTED:
                answering.add(name)
    assert {SERVICE, "grpc.health.v1.Health"} <= answering <= listed(channel, "v1")
