"""Triton's calls: each is answered, or refused by name, as the server's ``extensions`` say."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from lading.artifact import Artifact
from lading.protocol.proto import inference_pb2 as pb
from lading.protocol.proto.inference_pb2_grpc import GRPCInferenceServiceStub
from lading.serve.not_offered import INSTEAD, PATHS
from tests.given.live_server import LiveServer, live_server

SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
TRITON = """
import sys
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from tritonclient.grpc import model_config_pb2, service_pb2
files = FileDescriptorSet()
for module in (model_config_pb2, service_pb2):
    module.DESCRIPTOR.CopyToProto(files.file.add())
sys.stdout.buffer.write(files.SerializeToString())
"""


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_is_not_offered_says_so_and_what_to_use(table: LiveServer, path: str, method: str) -> None:
    path = path.replace("{name}", "small-table").replace("{version}", "1").replace("{rest:path}", "region/r/register")
    answer = table.client.request(method, path, content=b"{}" if method == "POST" else None)
    assert answer.status_code == 501
    assert answer.json()["error"].startswith(f"this server does not offer {method} {path}: ")


@pytest.mark.parametrize("name", INSTEAD)
def test_a_call_that_is_not_offered_says_so_and_what_to_use(table: LiveServer, name: str) -> None:
    asked = GetMessageClass(SERVICE.methods_by_name[name].input_type)
    with grpc.insecure_channel(table.grpc) as channel, pytest.raises(grpc.RpcError) as error:
        getattr(GRPCInferenceServiceStub(channel), name)(asked())  # type: ignore[no-untyped-call]
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert error.value.details().startswith(f"this server does not offer {name}: ")


def fields(message: Descriptor) -> dict[str, tuple[int, int, bool]]:
    return {field.name: (field.number, field.type, field.is_repeated) for field in message.fields}


def test_messages_have_the_fields_and_numbers_that_tritons_client_sends_and_reads() -> None:
    """In a process of its own: its messages have the same names as ours."""
    sent = subprocess.run([sys.executable, "-W", "ignore", "-c", TRITON], capture_output=True, check=True).stdout
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(sent).file:
        pool.Add(file)
    theirs = pool.FindServiceByName(SERVICE.full_name)
    assert [method.name for method in theirs.methods] == [method.name for method in SERVICE.methods]
    for method in theirs.methods:
        own = SERVICE.methods_by_name[method.name]
        pairs = [(method.input_type, own.input_type)]
        if method.name not in INSTEAD:
            pairs.append((method.output_type, own.output_type))
        seen = set()
        while pairs:
            their, ours = pairs.pop()
            if their.full_name not in seen:
                seen.add(their.full_name)
                assert fields(their).items() <= fields(ours).items(), their.full_name
                pairs += [
                    (field.message_type, ours.fields_by_name[field.name].message_type)
                    for field in their.fields
                    if field.message_type is not None
                ]


def ok(live: LiveServer, method: str, path: str, **content: Any) -> bool:
    return live.client.request(method, path, **content).status_code == 200


TENSOR = {"name": "features", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
INFER = "/v2/models/small-table/infer"
WORKS: dict[str, Callable[[LiveServer], bool]] = {
    "binary_tensor_data": lambda live: ok(
        live, "POST", INFER, json={"inputs": [TENSOR], "parameters": {"binary_data_output": True}}
    ),
    "classification": lambda live: ok(
        live,
        "POST",
        INFER,
        json={"inputs": [TENSOR], "outputs": [{"name": "total", "parameters": {"classification": 1}}]},
    ),
    "model_repository": lambda live: ok(live, "POST", "/v2/repository/models/small-table/load"),
    "statistics": lambda live: ok(live, "GET", "/v2/models/small-table/stats"),
    "model_configuration": lambda live: ok(live, "GET", "/v2/models/small-table/config"),
    "trace": lambda live: ok(live, "GET", "/v2/trace/setting"),
    "logging": lambda live: ok(live, "GET", "/v2/logging"),
    "system_shared_memory": lambda live: ok(live, "GET", "/v2/systemsharedmemory/status"),
    "cuda_shared_memory": lambda live: ok(live, "GET", "/v2/cudasharedmemory/status"),
    "generate": lambda live: ok(live, "POST", "/v2/models/small-table/generate", json={}),
}
"""A request of each of Triton's extensions."""


def test_the_extensions_that_are_listed_work_and_the_others_do_not(small: dict[str, Artifact]) -> None:
    with live_server(small["table"], model_control=True) as live, grpc.insecure_channel(live.grpc) as channel:
        listed = live.client.get("/v2").json()["extensions"]
        stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        assert list(stub.ServerMetadata(pb.ServerMetadataRequest()).extensions) == listed
        assert [name for name, works in WORKS.items() if works(live)] == listed


def test_a_load_with_other_files_or_configuration_is_refused(small: dict[str, Artifact]) -> None:
    with live_server(small["table"], model_control=True) as live, grpc.insecure_channel(live.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        for name in ("config", "file:1/model.onnx"):
            path = "/v2/repository/models/small-table/load"
            refused = live.client.post(path, json={"parameters": {name: "{}"}})
            assert (refused.status_code, repr(name) in refused.json()["error"]) == (400, True)
            request = pb.RepositoryModelLoadRequest(model_name="small-table")
            request.parameters[name].string_param = "{}"
            with pytest.raises(grpc.RpcError) as error:
                stub.RepositoryModelLoad(request)
            assert (error.value.code(), repr(name) in error.value.details()) == (grpc.StatusCode.INVALID_ARGUMENT, True)
        unload = pb.RepositoryModelUnloadRequest(model_name="small-table")
        unload.parameters["unload_dependents"].bool_param = False
        assert stub.RepositoryModelUnload(unload).isUnloaded
        assert ok(live, "POST", "/v2/repository/models/small-table/load", json={"parameters": {}})
        unloading = {"parameters": {"unload_dependents": True}}
        assert ok(live, "POST", "/v2/repository/models/small-table/unload", json=unloading)
