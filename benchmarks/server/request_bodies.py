"""The one photo, or the one row of numbers, in the form that each server takes."""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import dataclass
from itertools import chain

from benchmarks import ROOT

PHOTO = ROOT / "examples" / "ace-of-hearts.jpg"
ROW = [0.1 * number for number in range(16)]
MOLECULE: dict[str, list[list[float]]] = json.loads((ROOT / "examples" / "phenol.json").read_text())


@dataclass(frozen=True)
class RequestBody:
    """Bytes, and what a server must be told of them."""

    content: bytes
    content_type: str
    headers: tuple[str, ...] = ()


def photo_raw() -> RequestBody:
    """The file itself."""
    return RequestBody(PHOTO.read_bytes(), "image/jpeg")


def photo_form(name: str) -> RequestBody:
    """A form with one file."""
    head = f'--frontier\r\ncontent-disposition: form-data; name="{name}"; filename="photo.jpg"\r\n'
    content = f"{head}content-type: image/jpeg\r\n\r\n".encode() + PHOTO.read_bytes() + b"\r\n--frontier--\r\n"
    return RequestBody(content, "multipart/form-data; boundary=frontier")


def photo_json() -> RequestBody:
    """Base64 in JSON: for a server that takes nothing else."""
    return _json({"image": base64.b64encode(PHOTO.read_bytes()).decode()})


def photo_v2_json() -> RequestBody:
    """The Open Inference Protocol, base64 in JSON: for servers without the binary extension."""
    data = [base64.b64encode(PHOTO.read_bytes()).decode()]
    return _json({"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": data}]})


def photo_v2_binary() -> RequestBody:
    """The Open Inference Protocol with its binary tensor extension."""
    photo = PHOTO.read_bytes()
    parameters = {"binary_data_size": len(photo) + 4}
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "parameters": parameters}
    head = json.dumps({"inputs": [tensor]}).encode()
    length = f"inference-header-content-length: {len(head)}"
    return RequestBody(head + len(photo).to_bytes(4, "little") + photo, "application/octet-stream", (length,))


def grpc_message(model: str) -> bytes:
    """A serialized ModelInferRequest: the photo for ``cards``, the row of numbers for ``tiny``."""
    from lading.protocol.proto import inference_pb2 as pb

    if model == "cards":
        tensor = pb.ModelInferRequest.InferInputTensor(name="image", datatype="BYTES", shape=[1])
        raw = len(PHOTO.read_bytes()).to_bytes(4, "little") + PHOTO.read_bytes()
    else:
        tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, len(ROW)])
        raw = struct.pack(f"<{len(ROW)}f", *ROW)
    message = pb.ModelInferRequest(model_name=model, inputs=[tensor], raw_input_contents=[raw])
    return bytes(message.SerializeToString())


def row_json() -> RequestBody:
    """``{"x": [[...]]}``."""
    return _json({"x": [ROW]})


def row_v2_json() -> RequestBody:
    """The Open Inference Protocol with its numbers as JSON."""
    return _json({"inputs": [{"name": "x", "shape": [1, len(ROW)], "datatype": "FP32", "data": ROW}]})


def molecule_json() -> RequestBody:
    """Phenol's atoms and bonds: ``{"node_features": [[...]], "edge_index": [[...], [...]]}``."""
    return _json(MOLECULE)


def molecule_v2_json() -> RequestBody:
    """The same in the Open Inference Protocol, with its numbers as JSON."""
    kinds = {"node_features": "FP32", "edge_index": "INT64"}
    tensors = [
        {"name": name, "shape": [len(rows), len(rows[0])], "datatype": kinds[name], "data": list(chain(*rows))}
        for name, rows in MOLECULE.items()
    ]
    return _json({"inputs": tensors})


def _json(content: object) -> RequestBody:
    return RequestBody(json.dumps(content).encode(), "application/json")
