"""What people send by mistake over HTTP, and the words that the answer must hold."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.given.pictures import encoded

TABLE, COLOUR, GRAPH = (f"/v2/models/small-{name}/infer" for name in ("table", "colour", "graph"))
PREDICT = "/predict?model=small-table"
ROW = [1.0, 2.0, 3.0, 4.0]
JPEG = encoded()
FORM = {"content-type": "multipart/form-data; boundary=b"}
CURL_D = {"content-type": "application/x-www-form-urlencoded"}
JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class Mistake:
    """One request, and what its answer must hold."""

    title: str
    words: tuple[str, ...]
    """In the sentence: the input, what was sent, what is wanted, what to do."""
    path: str = PREDICT
    body: bytes = b""
    status: int = 400
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "POST"


def predict(title: str, value: Any, *words: str) -> Mistake:
    """JSON to ``/predict``; bytes are sent as they are."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Mistake(title, words, PREDICT, body, headers=JSON)


def picture(title: str, value: Any, *words: str) -> Mistake:
    """JSON with a picture to ``/predict``."""
    return Mistake(title, words, "/predict", json.dumps({"image": value}).encode(), headers=JSON)


def classify(title: str, body: bytes, *words: str, status: int = 400, **headers: str) -> Mistake:
    """A body to ``/classify``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Mistake(title, words, "/classify", body, status, named)


def form(title: str, parts: list[tuple[str, bytes]], *words: str) -> Mistake:
    """A form to ``/classify``."""
    heads = [(b'--b\r\ncontent-disposition: form-data; name="f"%s\r\n\r\n' % end.encode(), body) for end, body in parts]
    body = b"".join(head + content + b"\r\n" for head, content in heads) + b"--b--\r\n"
    return Mistake(title, words, "/classify", body, headers=FORM)


def infer(title: str, *words: str, path: str = TABLE, **changes: Any) -> Mistake:
    """One tensor to the Open Inference Protocol; a change of ``None`` removes the field."""
    tensor = {"name": "features", "shape": [1, 4], "datatype": "FP32", "data": ROW} | changes
    kept = {name: value for name, value in tensor.items() if value is not None}
    return Mistake(title, words, path, json.dumps({"inputs": [kept]}).encode(), headers=JSON)


def whole(title: str, content: Any, *words: str, path: str = TABLE) -> Mistake:
    """A whole body to the Open Inference Protocol."""
    return Mistake(title, words, path, json.dumps(content).encode(), headers=JSON)


def raw(title: str, size: int, sent: int, *words: str) -> Mistake:
    """A raw tensor whose ``binary_data_size`` or bytes are wrong."""
    tensor = {"name": "features", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [tensor]}).encode()
    headers = {"inference-header-content-length": str(len(head))}
    return Mistake(title, words, TABLE, head + bytes(sent), headers=headers)


def elsewhere(path: str, *words: str, status: int = 404, method: str = "POST") -> Mistake:
    """A path or a method that is not there."""
    return Mistake(f"{method} {path}", words, path, b"{}" if method == "POST" else b"", status, method=method)


def pixels(*shape: int) -> Any:
    """Black pixels as nested lists."""
    return np.zeros(shape, int).tolist()


def text_of(data: bytes) -> str:
    """Base64."""
    return base64.b64encode(data).decode()


GOOD = {"name": "features", "shape": [1, 4], "datatype": "FP32", "data": ROW}
BATCH = ("the batch dim is missing", "send [1, 16, 16, 3]")
ORDER = ("[1, 3, 16, 16]", "[batch, 16, 16, 3]", "transpose it by [0, 2, 3, 1]")
LIST_OF = "send a list of objects with name, shape, datatype and data"
BINARY = "curl --data-binary @photo.jpg"
SEND = "send a JPEG, PNG or WebP file"
OPEN = {"inputs": [GOOD]}

SHAPES = (
    infer("no batch dim", "'image'", "[16, 16, 3]", *BATCH, path=COLOUR, name="image", datatype="UINT8",
          shape=[16, 16, 3]),
    picture("no batch dim, as lists", pixels(16, 16, 3), "'image'", "16 entries", *BATCH),
    predict("one row", {"features": ROW}, "'features'[0]", "[batch, 4]", "batch dim is missing; send [1, 4]"),
    infer("one row, by the protocol", "[4]", "[-1, 4]", "batch dim is missing; send [1, 4]", shape=[4]),
    infer("channels first", "'image'", *ORDER, path=COLOUR, name="image", datatype="UINT8", shape=[1, 3, 16, 16],
          data=pixels(1, 3, 16, 16)),
    picture("channels first, as lists", pixels(1, 3, 16, 16), "'image'", *ORDER),
    picture("a dim too many", pixels(1, 1, 16, 16, 3), "'image'", "is a list", "one dim too many; send [1, 16, 16, 3]"),
    infer("flat pixels", "[2, 768]", "reshape it to [2, 16, 16, 3]", path=COLOUR, name="image", datatype="UINT8",
          shape=[2, 768]),
    infer("sizes as strings", "'features'", "['1', '4']", "not integers", "[-1, 4]", shape=["1", "4"]),
    infer("sizes with fractions", "'features'", "[1.0, 4.0]", "not integers", "[-1, 4]", shape=[1.0, 4.0]),
    infer("a shape in a string", "'[1, 4]'", "send a list of integers", "[-1, 4]", shape="[1, 4]"),
    infer("no shape", "'features'", "no 'shape'", "send a list of integers", "[-1, 4]", shape=None),
    infer("another number of values", "'features'", "3 values", "[1, 4]", "send 4 values", data=[1, 2, 3]),
    infer("too many examples", "5000 examples", "at most 4", "send several requests", shape=[5000, 4]),
    predict("ragged rows", {"features": [ROW, [1]]}, "'features'", "[0] has 4 entries", "[1] has 1"),
    predict("a number alone", {"features": 3}, "'features'", "an integer", "2 nested lists, of shape [batch, 4]"),
)  # fmt: skip

VALUES = (
    infer("data of JavaScript's Float32Array", "'data' as an object", "send a list", "Array.from", data={"0": 1}),
    predict("an object of numbers", {"features": {"0": 1, "1": 2}}, "an object", "Array.from"),
    infer("data in a string", "'features'", "the string '1,2,3,4'", "send a list", data="1,2,3,4"),
    infer("no data", "'features'", "no 'data'", "send a list, or binary_data_size and raw bytes", data=None),
    infer("numbers in quotes", "a string", "numbers (float32)", "without quotes", data=["1", "2", "3", "4"]),
    predict("a list in quotes", {"features": "[[1, 2, 3, 4]]"}, "a string", "not a string that holds it"),
    predict("null", {"features": [[1, 2, 3, None]]}, "'features'[0][3]", "null", "numbers", "send a value"),
    predict("true", {"features": [[1, 2, 3, True]]}, "'features'[0][3]", "a boolean", "numbers (float32)"),
    predict("out of range", {"features": [[1, 2, 3, 99]]}, "'features'", "99", "the largest allowed is 10"),
    infer("numpy's name of a datatype", "'features'", "'float32'", "the model takes FP32", datatype="float32"),
    infer("double precision", "'features'", "'FP64'", "the model takes FP32", datatype="FP64"),
    infer("no datatype", "'features'", "no 'datatype'", "the model takes FP32", datatype=None),
    picture("a file's name", "photo.jpg", "'image', picture 0", "'photo.jpg'", "not its name or address"),
    picture("an address", "https://example.com/photo.jpg", "'image', picture 0", "not its name or address"),
    picture("KServe's object of base64", {"b64": text_of(JPEG)}, "'image'", "an object", "the string of base64 itself"),
    picture("base64 of a GIF", text_of(encoded("GIF")), "'image', picture 0", "a GIF file", SEND),
    whole("a picture that is a number", {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": [3]}]},
          "'image', picture 0", "is 3", "a string of base64", path=COLOUR),
)  # fmt: skip

NAMES = (
    predict("a misspelled input", {"feature": [ROW]}, "unknown input 'feature'", "did you mean 'features'"),
    predict("an input in capitals", {"Features": [ROW]}, "unknown input 'Features'", "did you mean 'features'"),
    infer("a misspelled input, by the protocol", "unknown input 'featurs'", "mean 'features'", name="featurs"),
    infer("no name", "an input has no name", "the inputs are: features", name=None),
    predict("one input per column", {"a": 1, "b": 2}, "unknown input 'a'", "the inputs are: features"),
    predict("no input", {}, "'features' is missing", "the inputs are: features"),
    whole("an input too many", {"inputs": [GOOD, GOOD | {"name": "mask"}]}, "unknown input 'mask'", "features"),
    whole("an input is missing", {"inputs": [{"name": "nodes", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]},
          "'edges' is missing", "nodes, edges, owner", path=GRAPH),
    whole("a misspelled output", OPEN | {"outputs": [{"name": "totl"}]}, "unknown output 'totl'", "mean 'total'"),
    whole("outputs as strings", OPEN | {"outputs": ["total"]}, "'outputs' is ['total']", '[{"name": "total"}]'),
    whole("parameters in a list", OPEN | {"parameters": [1]}, "'parameters' of the request is [1]", "an object"),
)  # fmt: skip

BODIES = (
    whole("inputs by name", {"inputs": {"features": [ROW]}}, "'inputs' is an object", LIST_OF, "/predict"),
    whole("no list of inputs", {"inputs": []}, "'inputs' is []", LIST_OF),
    whole("a list of rows", {"inputs": [ROW]}, "an entry of 'inputs' is [1.0, 2.0, 3.0, 4.0]", "each is an object"),
    whole("TensorFlow Serving's instances", {"instances": [ROW]}, "'inputs' is missing", LIST_OF, "for /predict"),
    predict("instances to /predict", {"instances": [ROW]}, "unknown input 'instances'", '{"features": [...]}'),
    predict("inputs by name, once more", {"inputs": {"features": [ROW]}}, "'inputs'", '{"features": [...]}'),
    predict("the protocol to /predict", OPEN, "'inputs'", "Open Inference Protocol", "/v2/models/NAME/infer"),
    predict("a list", [1, 2], "a list", "send a JSON object with the inputs by name"),
    predict("JSON in a string", json.dumps({"features": [ROW]}), "a string", "encoded twice", "send a JSON object"),
    predict("an empty body", b"", "the body is empty", "send a JSON object with the inputs by name"),
    Mistake("an empty body, by the protocol", ("the body is empty", "send a JSON object"), TABLE),
    predict("UTF-16", json.dumps({"features": [ROW]}).encode("utf-16"), "not JSON", "UTF-16", "send UTF-8"),
    predict("UTF-16 without a mark", json.dumps({}).encode("utf-16-le"), "not JSON", "NUL bytes", "send UTF-8"),
    predict("Latin-1", '{"größe": 1}'.encode("latin-1"), "byte 4 (0xf6) is not UTF-8", "encode the text as UTF-8"),
    predict("NaN", b'{"features": [[1, 2, 3, NaN]]}', "NaN", "byte 24", "in 'features'", "send finite numbers"),
    Mistake("NaN, by the protocol", ("NaN", "in 'data' of 'features'", "send finite numbers"), TABLE,
            json.dumps({"inputs": [GOOD | {"data": [1, 2, 3, float("nan")]}]}).encode()),
    predict("single quotes", b"{'features': [[1, 2, 3, 4]]}", "line 1 column 2", "'features'", "double quotes"),
    predict("Python's None", b'{"features": [[1, None]]}', "None is Python's", "JSON has null", "json.dumps"),
    predict("a trailing comma", b'{"features": [[1, 2, 3, 4],]}', "column 27", "remove the comma"),
    predict("a comment", b'{"features": [[1]] // one\n}', "// one", "JSON has no comments"),
    predict("names without quotes", b"{features: [[1]]}", "column 2", "{features", "straight double quotes"),
    predict("capital words", b'{"features": [[TRUE]]}', "TRUE", "JSON has true, in lower case"),
    predict("a number without its zero", b'{"features": [[.5]]}', "[[.5", "a digit on each side of the point"),
    predict("a number that is too large", b'{"features": [[1e999]]}', "1e999", "fit 64 bits"),
    predict("quotes that are escaped", b'{\\"features\\": [[1]]}', "column 2", "escaped once too often"),
    predict("a line break in a string", b'{"features\n": [[1]]}', "control character", "escape line breaks"),
    predict("a NumPy file", b"\x93NUMPY\x01\x00", "a NumPy file", "send JSON in UTF-8"),
    predict("JSON lines", b'{"features": [[1]]}\n{"features": [[2]]}', "line 2", "one JSON object per request"),
    predict("half a body", b'{"features": [[1, 2', "unexpected end of data", "too early"),
    predict("a form of one field", b"features=1,2,3,4", "a form", "'features=1,2,3,4'", "send a JSON object"),
    predict("the name of a file", b"@request.json", "'@request.json'", "--data-binary @FILE"),
    predict("an HTML page", b"<!DOCTYPE html><html>", "an HTML page", "application/json"),
    predict("a JPEG as JSON", JPEG, "a JPEG file", "/classify"),
    predict("gzip without its header", gzip.compress(b"{}", mtime=0), "gzip data", "content-encoding: gzip"),
    raw("fewer bytes than the shape", 12, 12, "'features'", "12 bytes", "FP32 of shape [1, 4]", "16"),
    raw("more bytes than the JSON says", 16, 20, "4 bytes after the JSON", "binary_data_size"),
    raw("fewer bytes than the JSON says", 16, 12, "'features'", "binary_data_size 16", "12 bytes are left"),
    Mistake("raw bytes without their header", ("raw tensors follow 111 bytes", "inference-header-content-length"),
            TABLE, raw("", 16, 16).body, headers={"content-type": "application/octet-stream"}),
    Mistake("a length that is no number", ("inference-header-content-length", "'many'", "the length of the JSON"),
            TABLE, json.dumps(OPEN).encode(), headers={"inference-header-content-length": "many"}),
    Mistake("raw bytes of no whole row", ("'features'", "15 bytes", "16 bytes"), TABLE, bytes(15),
            headers={"inference-header-content-length": "0"}),
)  # fmt: skip

FILES = (
    classify("no picture", b"", "the picture is empty", SEND),
    classify("a HEIC photo", b"\0\0\0\x18ftypheic" + bytes(40), "a HEIC file", SEND),
    classify("an AVIF picture", b"\0\0\0\x1cftypavif" + bytes(40), "an AVIF file", SEND),
    classify("a GIF", encoded("GIF"), "a GIF file", SEND, content_type="image/gif"),
    classify("a BMP", encoded("BMP"), "a BMP file", SEND),
    classify("a TIFF", encoded("TIFF"), "a TIFF file", SEND),
    classify("a PDF", b"%PDF-1.7\n", "a PDF document", SEND),
    classify("an SVG", b"<svg xmlns='x'/>", "an SVG drawing", SEND, content_type="image/svg+xml"),
    classify("half a photo", JPEG[: len(JPEG) // 2], "the picture cannot be decoded"),
    classify("a page", b"<html>", "text/html", SEND, BINARY, status=415, content_type="text/html"),
    classify("JSON", b"{}", "JSON", SEND, BINARY, "/predict", status=415, content_type="application/json"),
    classify("curl -d @photo.jpg", JPEG.replace(b"\r", b"").replace(b"\n", b""), "no line breaks", "curl -d @photo.jpg",
             BINARY, status=415, **{"content-type": CURL_D["content-type"]}),
    classify("curl -d @photo.png", encoded("PNG").replace(b"\r", b"").replace(b"\n", b""), "no line breaks", BINARY,
             status=415, **{"content-type": CURL_D["content-type"]}),
    form("a field of text", [("", b"photo.jpg")], "'f'", "'photo.jpg'", "not a file", "curl -F file=@FILE"),
    form("two files", [('; filename="a.jpg"', JPEG)] * 2, "more than one file", "exactly one", "curl -F file=@FILE"),
    form("no file was chosen", [('; filename=""', b"")], "empty and has no name", "no file was chosen"),
    form("an empty file", [('; filename="a.jpg"', b"")], "the picture is empty", SEND),
    Mistake("a form without its boundary", ("names no boundary", "let the HTTP library set"), "/classify", b"x",
            headers={"content-type": "multipart/form-data"}),
    Mistake("another boundary than the form's", ("the boundary 'c'", "the body does not have"), "/classify", b"--b--",
            headers={"content-type": "multipart/form-data; boundary=c"}),
    Mistake("a photo to a table's /predict", ("image/jpeg", "application/json"), "/predict?model=small-table", JPEG,
            415, {"content-type": "image/jpeg"}),
    Mistake("a photo to a table", ("'small-table'", "/predict as JSON"), "/classify?model=small-table", JPEG, 404),
)  # fmt: skip

PLACES = (
    elsewhere("/v2/models/small-tabel/infer", "'small-tabel'", "mean 'small-table'", "the models are: small-colour"),
    elsewhere("/v2/models/small-table/versions/7/infer", "'small-table'", "no version '7'", "it has: 1"),
    elsewhere("/predict?model=small-table&variant=int8", "'int8'", "loaded are: fp32", "LADING_VARIANTS"),
    elsewhere("/predct", "/predct", "the closest path is /predict"),
    elsewhere("/v1/models/small-table:predict", "/predict?model=small-table", "/v2/models/small-table/infer"),
    elsewhere("/v2/models/small-table/predict", "the path here is /v2/models/small-table/infer"),
    elsewhere("/v2/models/small-table/explain", "the path here is /v2/models/small-table/infer"),
    elsewhere("/invocations", "the path here is /predict"),
    elsewhere("/predictions/small-table", "/predict?model=small-table"),
    elsewhere("/healthz", "/livez or /readyz", method="GET"),
    elsewhere("/predict", "does not take GET", "it takes POST", status=405, method="GET"),
    elsewhere(TABLE, "does not take GET", "it takes POST", status=405, method="GET"),
    elsewhere("/v2/models/small-table", "does not take POST", "/v2/models/NAME/infer", status=405),
    Mistake("a deadline with a unit", ("x-request-timeout-ms", "'5s'", "milliseconds"), body=b"{}",
            headers={"x-request-timeout-ms": "5s"}),
    Mistake("an encoding that it does not have", ("gzip", "incorrect header", "leave out content-encoding"), body=b"{}",
            headers={"content-encoding": "gzip"}),
    Mistake("an encoding that is not read", ("'br'", "send gzip, deflate or neither"), body=b"x", status=415,
            headers={"content-encoding": "br"}),
)  # fmt: skip

OVER_HTTP = (*SHAPES, *VALUES, *NAMES, *BODIES, *FILES, *PLACES)
