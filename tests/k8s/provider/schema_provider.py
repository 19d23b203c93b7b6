"""A provider that knows the schema of Google's and nothing else: enough for ``terraform validate`` without a registry.

Terraform starts it as it starts any provider, asks for the schema, and itself checks every name, type, block and
reference. google-provider.json was read from what PyPI has of the real one, cdktf-cdktf-provider-google.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from grpc_tools import protoc

HERE = Path(__file__).parent
COOKIE = "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2"
"""What Terraform sets, so that nobody starts a provider by hand."""


def compiled(folder: str) -> Any:
    """The protocol's messages, compiled for this process alone."""
    protoc.main(["protoc", f"-I{HERE}", f"--python_out={folder}", "provider.proto"])
    sys.path.insert(0, folder)
    return importlib.import_module("provider_pb2")


def block_schema(pb: Any, content: dict[str, Any], *, top: bool = False) -> Any:
    """A block with its attributes and the blocks in it."""
    attributes = [
        # A resource's id is there once it is made; an optional attribute may be filled in.
        pb.Schema.Attribute(
            name=name, type=json.dumps(kind).encode(), required=required, optional=not required, computed=not required
        )
        for name, (kind, required) in content["attributes"].items()
    ]
    computed = content.get("computed", {}) if top else {}
    attributes += [
        pb.Schema.Attribute(name=name, type=json.dumps(kind).encode(), computed=True) for name, kind in computed.items()
    ]
    blocks = [
        pb.Schema.NestedBlock(
            type_name=name,
            block=block_schema(pb, inner),
            nesting=pb.Schema.NestedBlock.LIST,
            min_items=int(inner["required"]),
            max_items=0 if inner["many"] else 1,
        )
        for name, inner in content["blocks"].items()
    ]
    return pb.Schema.Block(attributes=attributes, block_types=blocks)


def main() -> None:
    """Serve until Terraform is done."""
    if os.environ.get("TF_PLUGIN_MAGIC_COOKIE") != COOKIE:
        sys.exit("Terraform starts this; see tests/k8s/test_gke.py")
    folder = tempfile.mkdtemp()
    pb = compiled(folder)
    known = json.loads((HERE / "google-provider.json").read_text())
    schemas = {
        kind: {name: pb.Schema(block=block_schema(pb, one, top=True)) for name, one in known[kind].items()}
        for kind in ("resource", "data")
    }
    response = pb.GetProviderSchema.Response(
        provider=pb.Schema(block=block_schema(pb, known["provider_config"])),
        resource_schemas=schemas["resource"],
        data_source_schemas=schemas["data"],
    )
    ended = threading.Event()
    calls = {
        "GetSchema": (pb.GetProviderSchema.Request, lambda *_: response),
        "PrepareProviderConfig": (
            pb.PrepareProviderConfig.Request,
            lambda request, _: pb.PrepareProviderConfig.Response(prepared_config=request.config),
        ),
        "ValidateResourceTypeConfig": (pb.Validate.Request, lambda *_: pb.Validate.Response()),
        "ValidateDataSourceConfig": (pb.Validate.Request, lambda *_: pb.Validate.Response()),
        "Stop": (pb.Stop.Request, lambda *_: pb.Stop.Response()),
    }

    def shutdown(*_: object) -> bytes:
        ended.set()
        return b""

    server = grpc.server(ThreadPoolExecutor(4))
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(call, kind.FromString, lambda answer: answer.SerializeToString())
        for name, (kind, call) in calls.items()
    }
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler("tfplugin5.Provider", handlers),
            grpc.method_handlers_generic_handler(
                "plugin.GRPCController", {"Shutdown": grpc.unary_unary_rpc_method_handler(shutdown)}
            ),
        )
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    # go-plugin's handshake: its own version, the protocol's, where, how.
    sys.stdout.write(f"1|5|tcp|127.0.0.1:{port}|grpc\n")
    sys.stdout.flush()
    ended.wait(120)
    server.stop(0)


if __name__ == "__main__":
    main()
