"""One table of costly requests: each cost, and variations of its size, protocol, route and form."""

from __future__ import annotations

import gzip
import json
import zlib
from base64 import b64encode
from itertools import chain

from tests.given.costly import (
    ANSWERED,
    BUSY,
    NO_ROUTE,
    REFUSED,
    TOO_LONG,
    Costly,
    binary_infer,
    deadlines,
    infer,
    on_connections,
    post,
    raw,
    rows,
    streamed,
)
from tests.given.costly_bodies import (
    blanks,
    chunked,
    dot,
    elements,
    form,
    headers,
    inputs,
    many_contents,
    many_inputs,
    many_numbers,
    many_parameters,
    message,
    nested,
    oip,
    oip_data,
    outputs,
    pictures,
    repeated,
    row,
    tensor,
    v2,
)
from tests.given.costly_pictures import PICTURES
from tests.given.http_exchange import request

MB = 1_000_000
JSON = "application/json"
FORM = "multipart/form-data; boundary=x"
BIG = 15 * MB * "a"
INDEX, LOAD = "/v2/repository/index", "/v2/repository/models/small-table/load"


def dims(count: int, size: int = 2) -> list[int]:
    return [size] * count


SHAPES = rows(
    "dims in a shape",
    "table",
    {
        "FP32, 200,000": post(v2("table"), lambda: oip(tensor("FP32", dims(200_000), data=[1]))),
        "60,000 zeros": post(v2("table"), lambda: oip(tensor("FP32", dims(60_000, 0), data=[]))),
        "30,000 of 2**62, raw": binary_infer(
            v2("table"),
            lambda: oip(tensor("FP32", dims(30_000, 2**62), parameters={"binary_data_size": 16})),
            lambda: bytes(16),
        ),
        "100,000 nested lists": post("/predict", lambda: inputs(nested(100_000)), content_type=JSON),
        "100,000 nested lists as data": post(v2("table"), lambda: oip_data(nested(100_000))),
    },
) + rows(
    "dims in a shape",
    "colour",
    {
        "BYTES, 60,000": post(
            v2("colour"), lambda: oip(tensor("BYTES", dims(60_000, 2**31 - 1), "image", data=["AAAA"]))
        ),
        "UINT8, 60,000": post(v2("colour"), lambda: oip(tensor("UINT8", dims(60_000, 2**31 - 1), "image", data=[1]))),
        "BYTES, 100,000, gRPC": infer(lambda: pictures(dot(), shape=dims(100_000, 2**31 - 1))),
        "BYTES, 60,000, gRPC stream": streamed(lambda: pictures(dot(), shape=dims(60_000, 2**31 - 1))),
        "UINT8, 1,000,000, gRPC": infer(lambda: message("UINT8", dims(10**6), b"1", model="colour", name="image")),
    },
)

COUNTS = rows(
    "pictures in a request",
    "colour",
    {
        "6,000 of 70 bytes": binary_infer(
            v2("colour"),
            lambda: oip(tensor("BYTES", [6000], "image", parameters={"binary_data_size": 6000 * (4 + len(dot()))})),
            lambda: elements(*6000 * [dot()]),
        ),
        "6,000, gRPC": infer(lambda: pictures(*6000 * [dot()])),
        "6,000, gRPC stream": streamed(lambda: pictures(*6000 * [dot()])),
        "100,000 as base64": post(
            v2("colour"), lambda: oip(tensor("BYTES", [100_000], "image", data=100_000 * [b64encode(dot()).decode()]))
        ),
        "100,000 to /predict": post(
            "/predict",
            lambda: inputs(repeated(b'"' + b64encode(dot()) + b'"', 100_000), "image"),
            content_type=JSON,
        ),
        "2,000,000 empty elements, gRPC": infer(lambda: pictures(*2_000_000 * [b""])),
        "60,000 files in a form": post("/classify", lambda: form(*60_000 * [dot()]), content_type=FORM),
    },
) + rows(
    "tensors in a request",
    "table",
    {
        "200,000": post(v2("table"), lambda: oip(*200_000 * [{"name": "features"}])),
        "200,000, gRPC": infer(lambda: many_inputs(200_000)),
        "500,000 raw contents, gRPC": infer(lambda: many_contents(500_000)),
    },
)

OUTPUTS = rows(
    "outputs that are named",
    "table",
    {
        "200,000 times": post(v2("table"), lambda: oip(row(), outputs=200_000 * [{"name": "total"}])),
        "200,000 times as raw bytes": post(
            v2("table"),
            lambda: oip(row(), outputs=200_000 * [{"name": "total", "parameters": {"binary_data": True}}]),
        ),
        "500,000 times, gRPC": infer(lambda: outputs(500_000, "total")),
        "100,000 times, gRPC stream": streamed(lambda: outputs(100_000, "total")),
        "200,000 unknown": post(v2("table"), lambda: oip(row(), outputs=[{"name": f"o{n}"} for n in range(200_000)])),
        "200,000 unknown, gRPC": infer(lambda: outputs(200_000, "other")),
    },
)

BODIES = rows(
    "bodies",
    "table",
    {
        "150 MB to the index": post(INDEX, lambda: bytes(150 * MB)),
        "150 MB in chunks to the index": raw(lambda: chunked(INDEX, 150, MB)),
        "150 MB to no route": post("/nothing", lambda: bytes(150 * MB)),
        "150 MB to load a model": post(LOAD, lambda: bytes(150 * MB)),
        "150 MB to feedback": post("/feedback", lambda: bytes(150 * MB)),
        "15 MB to feedback": post("/feedback", lambda: b'{"request_id": "' + BIG.encode() + b'"}'),
        "150 MB to /predict": post("/predict", lambda: bytes(150 * MB)),
        "150 MB in chunks to /predict": raw(lambda: chunked("/predict", 150, MB)),
        "1,000,000 chunks of one byte": raw(lambda: chunked("/predict", MB, 1)),
        "150 MB by PUT": raw(lambda: request("PUT", "/predict", bytes(150 * MB))),
        "150 MB to GET /livez": raw(lambda: request("GET", "/livez", bytes(150 * MB))),
        "150 MB in chunks to GET /metrics": raw(lambda: chunked("/metrics", 150, MB, "GET")),
    },
    NO_ROUTE | {"200", "403", "408", "503"},
)

HEADERS = rows(
    "headers",
    "table",
    {
        "24 MB": raw(lambda: headers(24_000, 1000)),
        "24 MB in one": raw(lambda: headers(1, 24 * MB)),
        "500,000 short ones": raw(lambda: headers(500_000, 2)),
        "a path of 24 MB": raw(lambda: request("GET", "/" + 24 * MB * "a", None)),
        "a query of 24 MB": raw(lambda: request("POST", "/predict?model=" + 24 * MB * "a", b"{}")),
        "a method of 24 MB": raw(lambda: 24 * MB * b"A"),
        "12,000,000 empty lines": raw(lambda: 12 * MB * b"\r\n" + request("GET", "/nothing", None)),
        "24 MB of trailers": raw(lambda: chunked("/predict", 1, 10)[:-2] + headers(24_000, 1000)[28:]),
        "24 MB of a chunk's extension": raw(
            lambda: chunked("/predict", 1, 1).replace(b"\r\n1\r\n", b"\r\n1;" + 24 * MB * b"a" + b"\r\n")
        ),
    },
    TOO_LONG,
) + rows(
    "headers",
    "table",
    {"6 MB of metadata, gRPC": infer(message, metadata=(("x-big", "a" * 6 * MB),))},
    REFUSED | BUSY | {"UNKNOWN", "INTERNAL"},  # gRPC's own refusal
)

UNFINISHED = rows(
    "requests under way",
    "table",
    {
        "30 of 15 MB": on_connections(30, lambda: request("POST", "/predict", bytes(15 * MB))[:-1], patience=2),
        "30 of 15 MB in chunks": on_connections(30, lambda: chunked("/predict", 15, MB)[:-5], patience=2),
        "120 of 4 MB": on_connections(120, lambda: request("POST", v2("table"), bytes(4 * MB))[:-1], patience=2),
        "120 with 30 kB of headers": on_connections(120, lambda: headers(30, 1000)[:-2], patience=2),
        "30 whole ones of 15 MB": on_connections(30, lambda: request("POST", "/predict", bytes(15 * MB))),
        "24 calls of 15 MB, gRPC": infer(*24 * [lambda: message(contents=bytes(15 * MB))]),
        "200 calls of 3 MB, gRPC": infer(*200 * [lambda: message(contents=bytes(3 * MB))]),
        "24 of 15 MB in a gRPC stream": streamed(*24 * [lambda: message(contents=bytes(15 * MB))]),
    },
    REFUSED | BUSY | {"none"},
)

VALUES = rows(
    "values in JSON",
    "table",
    {
        "gzip of 2,600,000 empty lists": post(
            "/predict", lambda: gzip.compress(inputs(repeated(b"[]", 2_600_000))), content_encoding="gzip"
        ),
        "the same as deflate": post(
            v2("table"), lambda: zlib.compress(oip_data(repeated(b"[]", 2_600_000))), content_encoding="deflate"
        ),
        "gzip of empty objects": post(
            "/predict", lambda: gzip.compress(inputs(repeated(b"{}", 5_000_000))), content_encoding="gzip"
        ),
        "gzip of 300 MB of blanks": post("/predict", lambda: blanks(300), content_encoding="gzip"),
        "14 MB of small numbers": post("/predict", lambda: inputs(repeated(b"1", 7 * MB))),
        "14 MB of small numbers as data": post(v2("table"), lambda: oip_data(repeated(b"1", 7 * MB))),
        "14 MB of pairs": post("/predict", lambda: inputs(repeated(b"[1,2]", 2_300_000))),
        "14 MB of empty strings": post("/predict", lambda: inputs(repeated(b'""', 4_600_000))),
        "14 MB of keys": post("/predict", lambda: json.dumps(dict.fromkeys(range(300_000), 30 * "a")).encode()),
        "14 MB in one string": post("/predict", lambda: inputs(b'"' + 14 * MB * b"a" + b'"')),
        "14 MB of digits": post("/predict", lambda: inputs(b"[[" + 14 * MB * b"9" + b",1,1,1]]")),
        "14 MB of escapes": post("/predict", lambda: inputs(b'"' + 2_300_000 * rb"\u00e9" + b'"')),
        "900,000 numbers": post("/predict", lambda: inputs(repeated(b"1", 900_000))),
        "900,000 numbers as data": post(v2("table"), lambda: oip_data(repeated(b"1.5", 900_000))),
        "3,900,000 numbers, gRPC": infer(lambda: many_numbers(3_900_000)),
        "15,000 numbers to feedback": post(
            "/feedback", lambda: b'{"request_id": "a", "truth": {"total": ' + repeated(b"1", 15_000) + b"}}"
        ),
    },
    REFUSED | {"404"},
)


def acene(rings: int) -> str:
    """A row of fused benzenes: perceiving which are aromatic takes twice as long for each further one."""
    inner = range(2, rings)
    opened = "".join(f"cc%{number + 10}" for number in (*inner, rings))
    closed = "".join(f"cc%{number + 10}" for number in reversed(inner))
    return f"c%11c{opened}ccccc%{rings + 10}{closed}c%11"


SMILES = rows(
    "characters of a text",
    "smiles",
    {
        name: post("/predict/smiles", text.encode)
        for name, text in {
            "1,870 in rings": "".join(f"C{n}" for n in range(10)) * 93 + "CCC",
            "10,000 carbons": "C" * 10_000,
            "ladders": "C1CC2" + "CC1CC2" * 1600,
            "3,000 nested branches": "C(" * 3000 + "C" + ")" * 3000,
            "1,200 benzenes": "c1ccccc1" * 1200,
            "fused rings": "c1ccc2cc3cc4cc5cc6ccccc6cc5cc4cc3cc2c1" * 200,
            "30 fused rings": acene(30),
            "cages": "".join(f"C%{n}" for n in range(10, 99)) * 2,
            "5,000 molecules": "C." * 4999 + "C",
            "1,000 stereo centres": "C" + "[C@H](F)" * 1000,
            "a number of 9,000 digits": "[" + "9" * 9000 + "C]",
            "9,000,000": "C" * 9 * MB,
        }.items()
    },
    REFUSED | ANSWERED,
)

TEXTS = rows(
    "texts that are kept",
    "table",
    {
        "an id of 15 MB, gRPC": infer(lambda: message(id=BIG)),
        "24 ids of 15 MB, gRPC": infer(*24 * [lambda: message(id=BIG)]),
        "a tensor's name of 15 MB, gRPC": infer(lambda: message(name=BIG)),
        "a datatype of 15 MB, gRPC": infer(lambda: message(BIG)),
        "an output's name of 15 MB, gRPC": infer(lambda: outputs(1, BIG)),
        "200,000 parameters, gRPC": infer(lambda: many_parameters(200_000)),
        "an id of 15 MB": post(v2("table"), lambda: oip(row(), id=BIG)),
        "a tensor's name of 15 MB": post(v2("table"), lambda: oip(tensor("FP32", [1, 4], BIG, data=[1]))),
        "a datatype of 15 MB": post(v2("table"), lambda: oip(tensor(BIG, [1, 4], data=[1]))),
        "an input's name of 15 MB": post("/predict", lambda: inputs(b"1", BIG)),
        "a value of 15 MB": post("/predict", lambda: inputs(b'[["' + BIG.encode() + b'"]]')),
        "a truth of 60 kB": post(
            "/feedback", lambda: json.dumps({"request_id": "a", "truth": {"total": "a" * 60_000}}).encode()
        ),
    },
    REFUSED | BUSY | {"404", "NOT_FOUND"},
) + rows(
    "texts that are kept",
    "colour",
    {
        "15 MB that are no picture": post("/classify", lambda: bytes(15 * MB)),
        "a form's filename of 15 MB": post("/classify", lambda: form(dot(), filename=BIG.encode()), content_type=FORM),
        "a boundary that nearly matches": post(
            "/classify", lambda: b"\r\n--xxxxxx" * 1_500_000, content_type=f"{FORM}xxxxxx"
        ),
    },
    REFUSED | {"200"},
)

NUMBERS = rows(
    "digits of a number",
    "table",
    {
        "the JSON's length": post(v2("table"), lambda: oip(row()), inference_header_content_length="9" * 6000),
        "a negative length": post(v2("table"), lambda: oip(row()), inference_header_content_length="-1"),
        "the body's length": raw(lambda: request("POST", "/predict", b"{}", content_length="9" * 6000)),
        "a report": raw(lambda: request("GET", "/report?n=" + "9" * 6000, None)),
        "a report, superscript": raw(lambda: request("GET", "/report?n=%C2%B2", None)),
        "a raw tensor's size": post(
            v2("table"), lambda: oip(tensor("FP32", [1, 4], parameters={"binary_data_size": 10**4000}))
        ),
        "a dim": post(v2("table"), lambda: oip(tensor("FP32", [10**4000, 4], data=[1]))),
        "a value": post("/predict", lambda: inputs(b"[[" + b"9" * 6000 + b",1,1,1]]")),
        "an exponent": post("/predict", lambda: inputs(b"[[1e999999999,1,1,1]]")),
        "a chunk's size": raw(
            lambda: request("POST", "/predict", None, transfer_encoding="chunked") + b"f" * 6000 + b"\r\n"
        ),
    },
    REFUSED | {"404"},
) + rows(
    "digits of a number",
    "table",
    {
        "a deadline": post("/predict", lambda: inputs(b"[[1,2,3,4]]"), x_request_timeout_ms="9" * 6000),
        "256 deadlines of an hour": deadlines(256, "3600000", lambda: inputs(repeated(b"[1,2,3,4]", 100))),
    },
    REFUSED | BUSY | ANSWERED,
)

COSTLY: tuple[Costly, ...] = tuple(
    chain(SHAPES, COUNTS, PICTURES, OUTPUTS, BODIES, HEADERS, UNFINISHED, VALUES, SMILES, TEXTS, NUMBERS)
)
"""All of them."""
