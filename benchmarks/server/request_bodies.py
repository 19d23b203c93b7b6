"""A photo, a row of numbers or a molecule, in the form that each server takes."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

import numpy as np

from benchmarks import ROOT
from lading.protocol.client_codec import Inputs, Request, binary_request, grpc_request, json_request

PHOTO = ROOT / "examples" / "ace-of-hearts.jpg"
ROW = [0.1 * number for number in range(16)]
MOLECULE: dict[str, list[list[float]]] = json.loads((ROOT / "examples" / "phenol.json").read_text())


@dataclass(frozen=True)
class RequestBody:
    """The bytes of a request, and the headers that go with them."""

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
    """Base64 in JSON, for servers that take nothing else."""
    return _json({"image": base64.b64encode(PHOTO.read_bytes()).decode()})


def photo_v2_json() -> RequestBody:
    """The Open Inference Protocol, base64 in JSON: for servers without the binary extension."""
    return _encoded(json_request("cards", _photo()))


def photo_v2_binary() -> RequestBody:
    """The Open Inference Protocol with its binary tensor extension."""
    return _encoded(binary_request("cards", _photo(), binary_outputs=False))


def grpc_message(model: str) -> bytes:
    """A serialized ModelInferRequest: the photo for ``cards``, the row of numbers for ``tiny``."""
    inputs = _photo() if model == "cards" else _row()
    return bytes(grpc_request(model, inputs).SerializeToString())


def row_json() -> RequestBody:
    """``{"x": [[...]]}``."""
    return _json({"x": [ROW]})


def row_v2_json() -> RequestBody:
    """The Open Inference Protocol with its numbers as JSON."""
    return _encoded(json_request("tiny", _row()))


def molecule_json() -> RequestBody:
    """Phenol's atoms and bonds: ``{"node_features": [[...]], "edge_index": [[...], [...]]}``."""
    return _json(MOLECULE)


def molecule_v2_json() -> RequestBody:
    """The same in the Open Inference Protocol, with its numbers as JSON."""
    nodes = np.array(MOLECULE["node_features"], np.float32)
    edges = np.array(MOLECULE["edge_index"], np.int64)
    return _encoded(json_request("molecules", {"node_features": nodes, "edge_index": edges}))


def _photo() -> Inputs:
    return {"image": PHOTO.read_bytes()}


def _row() -> Inputs:
    return {"x": np.array([ROW], np.float32)}


def _encoded(request: Request) -> RequestBody:
    """A request of our client as the load generator takes it. Its path is the server's own, from the list of peers."""
    headers = dict(request.headers)
    content_type = headers.pop("content-type")
    return RequestBody(request.content, content_type, tuple(f"{name}: {value}" for name, value in headers.items()))


def _json(content: object) -> RequestBody:
    return RequestBody(json.dumps(content).encode(), "application/json")
