"""A graph in ONNX's text form through verify and pack, as the stages after quantize do it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lading.artifact import Artifact
from lading.build.pack import pack
from lading.build.records import BuiltVariant, Verification, write_variants
from lading.build.verify.verify import verify
from lading.protocol.client import Client
from lading.protocol.client_codec import Inputs
from lading.spec import Array, Evaluated
from tests.given.live_server import LiveServer
from tests.given.onnx_text import parse, save
from tests.given.quick_verify import quick_verify


def verified_graphs(spec: Evaluated, graphs: Sequence[str], folder: Path, opset: int = 20) -> Verification:
    """Verify the variants of a spec, whose nodes are given; inputs and outputs are those of the spec."""
    given, answered = (
        ", ".join(f"{_onnx(t.dtype)}[{', '.join(map(str, t.shape))}] {t.name}" for t in side)
        for side in (spec.inputs, spec.outputs)
    )
    built = []
    for variant, nodes in zip(spec.variants, graphs, strict=True):
        file = save(parse(nodes, given, answered, opset), folder / f"{variant.name}.onnx")
        built.append(BuiltVariant(variant=variant, file=file.name, precision=variant.name))
    write_variants(folder, built)
    with quick_verify():
        return verify(spec, folder, folder / "verify")


def packed_graph(spec: Evaluated, graphs: Sequence[str], folder: Path) -> Artifact:
    """The artifact of a spec whose variants have these nodes."""
    folder.mkdir(exist_ok=True)
    return pack(spec, folder, verified_graphs(spec, graphs, folder), folder / "artifact")


def answers_of_all_ports(live: LiveServer, inputs: Inputs) -> dict[str, dict[str, Array]]:
    """The outputs for one request by way of each port and encoding, batch dim included."""
    with Client(live.url, live.grpc) as client:
        model = live.artifact.manifest.name
        return {
            "predict": {name: np.asarray(array) for name, array in client.predict(inputs).items()},
            "protocol, JSON": dict(client.infer(model, inputs)),
            "protocol, raw": dict(client.infer(model, inputs, binary=True)),
            "gRPC": dict(client.infer_grpc(model, inputs)),
        }


def _onnx(dtype: str) -> str:
    return {"float32": "float", "float64": "double", "float16": "float16"}.get(dtype, dtype)
