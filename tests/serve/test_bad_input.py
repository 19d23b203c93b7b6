"""What a user sees for each kind of bad input: the status, and the whole sentence."""

from __future__ import annotations

import base64
import itertools
import struct
import zlib
from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from lading.protocol.client_codec import binary_request, grpc_request, json_request
from lading.protocol.proto.inference_pb2_grpc import GRPCInferenceServiceStub
from lading.spec import Array
from tests.given.live_server import LiveServer
from tests.given.pictures import BODY_LIMIT, Encode

HINT = (
    "send a JPEG, PNG or WebP file as the body (curl --data-binary @photo.jpg) "
    "or as a form's file (curl -F file=@photo.jpg)"
)
ROWS = [[[0, 0, 0]] * 16] * 16


def png_header_claiming(width: int, height: int) -> bytes:
    """A PNG file of a few bytes whose header claims any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def refused(live: LiveServer, path: str, status: int, **request: object) -> str:
    answer = live.client.post(path, **request)  # type: ignore[arg-type]
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    content = answer.json()
    assert set(content) == {"error", "status", "request_id"}
    assert content["status"] == status
    assert content["request_id"] == answer.headers["x-request-id"]
    return str(content["error"])


def test_no_picture_at_all(pictures: LiveServer) -> None:
    sentence = refused(pictures, "/classify", 400)
    assert sentence == "the picture is empty: send a JPEG, PNG or WebP file"


def test_not_a_picture(pictures: LiveServer) -> None:
    sentence = refused(pictures, "/classify", 400, content=b"%PDF-1.7 not a picture")
    assert sentence == "this is a PDF document, which cannot be read: send a JPEG, PNG or WebP file"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_truncated_picture(pictures: LiveServer, encode: Encode, kind: str) -> None:
    whole = encode(kind)
    sentence = refused(pictures, "/classify", 400, content=whole[: len(whole) // 2])
    assert sentence.startswith("the picture cannot be decoded: ")


def test_too_many_pixels_are_refused_before_any_is_decoded(pictures: LiveServer) -> None:
    sentence = refused(pictures, "/classify", 413, content=png_header_claiming(50_000, 50_000))
    assert sentence == "the picture has 50000 x 50000 = 2500000000 pixels; at most 1000000 are accepted"


def test_a_wrong_content_type(pictures: LiveServer) -> None:
    sentence = refused(pictures, "/classify", 415, content=b"ace", headers={"content-type": "text/plain"})
    assert sentence == f"/classify does not read text/plain: {HINT}"


def test_curls_default_content_type_without_a_picture(pictures: LiveServer) -> None:
    sentence = refused(pictures, "/classify", 415, data={"card": "ace"})
    assert sentence == f"/classify does not read application/x-www-form-urlencoded: {HINT}"


def test_json_to_classify(pictures: LiveServer) -> None:
    sentence = refused(pictures, "/classify", 415, json={"image": "..."})
    assert sentence == f"/classify does not read JSON: {HINT}; JSON goes to /predict"


def test_a_declared_body_that_is_too_large(pictures: LiveServer) -> None:
    sentence = refused(pictures, "/classify", 413, content=bytes(BODY_LIMIT + 1))
    assert sentence == f"the body has {BODY_LIMIT + 1} bytes; at most {BODY_LIMIT} are accepted"


def test_a_streamed_body_that_becomes_too_large(pictures: LiveServer) -> None:
    def stream() -> Iterator[bytes]:
        yield from itertools.repeat(bytes(10_000), BODY_LIMIT // 10_000 + 1)

    sentence = refused(pictures, "/predict", 413, content=stream())
    assert sentence == f"the body has more than {BODY_LIMIT} bytes, which is the most that is accepted"


def test_a_form_without_a_file(pictures: LiveServer) -> None:
    sentence = refused(pictures, "/classify", 400, files={"suit": (None, "hearts")})
    assert sentence == (
        "the form's field 'suit' is the text 'hearts' and not a file; send exactly one file (curl -F file=@FILE)"
    )


def test_a_form_with_two_files(pictures: LiveServer, encode: Encode) -> None:
    sentence = refused(pictures, "/classify", 400, files={"a": encode(), "b": encode()})
    assert sentence == "the form has more than one file; send exactly one (curl -F file=@FILE)"


def test_a_form_that_is_cut_off(pictures: LiveServer, encode: Encode) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n' + encode()
    sentence = refused(
        pictures, "/classify", 400, content=body, headers={"content-type": "multipart/form-data; boundary=b"}
    )
    assert sentence == "the form has no complete file; send exactly one (curl -F file=@FILE)"


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ("multipart/form-data", b"--b--"),
        ("multipart/form-data; boundary=b", b"this is no form"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Type image/png\r\n\r\nx\r\n--b--\r\n"),
        ("multipart/form-data; boundary=", b""),
        ("multipart/form-data; boundary=b; charset=nonsense", b"--b"),
    ],
)
def test_a_torn_form(pictures: LiveServer, header: str, body: bytes) -> None:
    sentence = refused(pictures, "/classify", 400, content=body, headers={"content-type": header})
    assert sentence.startswith(("the form cannot be read: ", "the form has no complete file"))


def test_json_that_is_not_json(table: LiveServer) -> None:
    sentence = refused(table, "/predict", 400, content=b'{"features": [[1, 2')
    assert sentence.startswith("the body is not JSON: ")


def test_an_empty_json_body(table: LiveServer) -> None:
    sentence = refused(table, "/predict", 400, content=b" ")
    assert sentence == "the body is empty: send a JSON object with the inputs by name"


def test_json_that_is_not_an_object(table: LiveServer) -> None:
    sentence = refused(table, "/predict", 400, json=[1, 2])
    assert sentence == "the body is a list: send a JSON object with the inputs by name"


@pytest.mark.parametrize("value", [b"NaN", b"Infinity", b"-Infinity"])
def test_numbers_that_are_not_finite(table: LiveServer, value: bytes) -> None:
    sentence = refused(table, "/predict", 400, content=b'{"features": [[1, 2, 3, ' + value + b"]]}")
    position = 24 + value.startswith(b"-")
    where = f"byte {position} of the body, in 'features'"
    assert sentence == f"NaN and Infinity are not JSON numbers ({where}): send finite numbers"


def test_a_missing_field(table: LiveServer) -> None:
    sentence = refused(table, "/predict", 400, json={})
    assert sentence == "input 'features' is missing; the inputs are: features"


def test_an_unknown_field(table: LiveServer) -> None:
    sentence = refused(table, "/predict", 400, json={"features": [[1, 2, 3, 4]], "feature": 1})
    assert sentence == "unknown input 'feature'; did you mean 'features'? the inputs are: features"


def test_a_wrong_shape(table: LiveServer) -> None:
    sentence = refused(table, "/predict", 400, json={"features": [[1, 2, 3]]})
    assert sentence == "input 'features' has shape [1, 3]; the model takes [batch, 4]"


def test_too_few_dims(table: LiveServer) -> None:
    sentence = refused(table, "/predict", 400, json={"features": [1, 2, 3, 4]})
    assert sentence == (
        "input 'features'[0] is an integer; the model takes 2 nested lists, of shape [batch, 4]: "
        "the batch dim is missing; send [1, 4] for one example"
    )


def test_too_many_dims(table: LiveServer) -> None:
    sentence = refused(table, "/predict", 400, json={"features": [[[1], 2, 3, 4]]})
    assert sentence == "input 'features'[0][0] is a list; the model takes numbers (float32)"


def test_a_ragged_list(table: LiveServer) -> None:
    sentence = refused(table, "/predict", 400, json={"features": [[1, 2, 3, 4], [5]]})
    assert sentence == "input 'features' is ragged: [0] has 4 entries, and [1] has 1"


def test_an_empty_batch(table: LiveServer) -> None:
    sentence = refused(table, "/predict", 400, json={"features": []})
    assert sentence == "input 'features' has shape [0, 4]: the dim 'batch' is empty"


def test_a_value_above_the_largest_allowed(table: LiveServer) -> None:
    sentence = refused(table, "/predict", 400, json={"features": [[1, 2, 3, 10.5]]})
    assert sentence == "input 'features' has the value 10.5; the largest allowed is 10"


def test_a_number_too_large_for_the_dtype(table: LiveServer) -> None:
    sentence = refused(table, "/predict", 400, json={"features": [[1, 2, 3, 1e300]]})
    assert sentence == "input 'features' has the value 1e+300, which float32 cannot hold"


@pytest.mark.parametrize(
    ("value", "what", "advice"),
    [
        ("1", "a string", ": send numbers without quotes"),
        ("one", "a string", ""),
        (None, "null", ": send a value in its place"),
        (True, "a boolean", ""),
        ({}, "an object", ""),
        ([1], "a list", ""),
    ],
)
def test_a_value_that_is_not_a_number(table: LiveServer, value: object, what: str, advice: str) -> None:
    sentence = refused(table, "/predict", 400, json={"features": [[1, 2, value, 4]]})
    assert sentence == f"input 'features'[0][2] is {what}; the model takes numbers (float32){advice}"


def test_a_fraction_for_an_integer(types: LiveServer) -> None:
    sentence = refused(types, "/predict", 400, json={"count": [[1, 2.5]], "flag": [[True, True]]})
    assert sentence == "input 'count'[0][1] is 2.5; the model takes integers (int16)"


def test_an_integer_beyond_64_bits(types: LiveServer) -> None:
    sentence = refused(types, "/predict", 400, json={"count": [[2**70, 1]], "flag": [[True, True]]})
    assert sentence == "input 'count'[0][0] is 1.1805916207174113e+21; the model takes integers (int16)"


def test_an_integer_beyond_the_dtype(types: LiveServer) -> None:
    sentence = refused(types, "/predict", 400, json={"count": [[1, 40_000]], "flag": [[True, True]]})
    assert sentence == "input 'count' has the value 40000, which int16 cannot hold"


def test_a_number_for_a_boolean(types: LiveServer) -> None:
    sentence = refused(types, "/predict", 400, json={"count": [[1, 2]], "flag": [[True, 1]]})
    assert sentence == "input 'flag'[0][1] is an integer; the model takes true or false"


def test_two_sizes_for_one_dim(types: LiveServer) -> None:
    sentence = refused(types, "/predict", 400, json={"count": [[1, 2]], "flag": [[True, True]] * 2})
    assert sentence == ("input 'flag' has shape [2, 2]; the model takes [batch, 2], and 'batch' is 1 in another input")


def test_too_many_examples(pictures: LiveServer) -> None:
    sentence = refused(pictures, "/predict", 400, json={"image": [ROWS] * 5})
    assert sentence == "input 'image' has 5 examples; at most 4 are accepted: send several requests"


def test_a_pixel_beyond_a_byte(pictures: LiveServer) -> None:
    pixels = [[[0, 0, 0]] * 16] * 15 + [[[0, 0, 256]] * 16]
    sentence = refused(pictures, "/predict", 400, json={"image": [pixels]})
    assert sentence == "input 'image' has the value 256, which uint8 cannot hold"


def test_a_string_that_is_not_base64(pictures: LiveServer) -> None:
    sentence = refused(pictures, "/predict", 400, json={"image": "not base64!"})
    assert sentence == "input 'image', picture 0: the string is not base64 (it begins with 'not base64!')"


def test_base64_of_something_else(pictures: LiveServer, encode: Encode) -> None:
    texts = [base64.b64encode(data).decode() for data in (encode(), b"not a picture")]
    sentence = refused(pictures, "/predict", 400, json={"image": texts})
    assert sentence == (
        "input 'image', picture 1: this is not a picture that can be read: send a JPEG, PNG or WebP file"
    )


def test_base64_of_too_many_pixels(pictures: LiveServer) -> None:
    text = base64.b64encode(png_header_claiming(2000, 2000)).decode()
    sentence = refused(pictures, "/predict", 413, json={"image": text})
    assert sentence == (
        "input 'image', picture 0: the picture has 2000 x 2000 = 4000000 pixels; at most 1000000 are accepted"
    )


def test_an_index_that_points_outside(graph: LiveServer) -> None:
    sentence = refused(graph, "/predict", 400, json={"nodes": [[1, 2]], "edges": [[0], [1]]})
    assert sentence == "input 'edges' has the index 1; 'nodes' runs from 0 to 0"


@pytest.mark.parametrize("owner", [[1, 1], [0, 2], [1, 0]])
def test_owners_that_do_not_count_up(graph: LiveServer, owner: list[int]) -> None:
    body = {"nodes": [[1, 2], [3, 4]], "edges": [[0], [1]], "owner": owner}
    sentence = refused(graph, "/predict", 400, json=body)
    assert sentence == "input 'owner' must start at 0 and count up by one at each new example"


def test_too_many_graphs(graph: LiveServer) -> None:
    body = {"nodes": [[1, 2]] * 5, "edges": [[], []], "owner": [0, 1, 2, 3, 4]}
    sentence = refused(graph, "/predict", 400, json=body)
    assert sentence == "input 'owner' has 5 examples; at most 4 are accepted: send several requests"


@pytest.mark.parametrize("missing", ["nodes", "edges"])
@pytest.mark.parametrize("raw", [False, True])
def test_a_graph_without_one_of_its_inputs_is_refused_over_the_protocol(
    graph: LiveServer, missing: str, raw: bool
) -> None:
    given: dict[str, Array] = {"nodes": np.ones((2, 2), np.float32), "edges": np.zeros((2, 1), np.int64)}
    del given[missing]
    request = (binary_request if raw else json_request)("small-graph", given)
    sentence = f"input {missing!r} is missing; the inputs are: nodes, edges, owner"
    assert refused(graph, request.path, 400, content=request.content, headers=dict(request.headers)) == sentence
    with grpc.insecure_channel(graph.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        with pytest.raises(grpc.RpcError) as refusal:
            stub.ModelInfer(grpc_request("small-graph", given))
    assert refusal.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.value.details() == sentence


def test_predict_with_a_wrong_content_type(table: LiveServer) -> None:
    sentence = refused(table, "/predict", 415, content=b"<x/>", headers={"content-type": "text/xml"})
    assert sentence == "/predict reads application/json, not text/xml"


def test_a_path_that_is_not_there(table: LiveServer) -> None:
    sentence = refused(table, "/nothing", 404)
    assert sentence == "there is nothing at /nothing; / is a page, and /docs.json lists the endpoints"


@pytest.mark.parametrize("repeated", ["x", "%00", "x/"])
def test_a_long_path_or_content_type_does_not_hide_what_to_do(table: LiveServer, repeated: str) -> None:
    assert refused(table, "/" + repeated * 1_000, 404).endswith("...; / is a page, and /docs.json lists the endpoints")
    kind = "text/" + repeated * 5_000
    sentence = refused(table, "/predict", 415, content=b"1", headers={"content-type": kind})
    assert sentence.endswith("...")
    assert len(sentence) < 200


def test_a_method_that_is_not_taken(table: LiveServer) -> None:
    answer = table.client.get("/predict")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert answer.json()["error"] == "/predict does not take GET; it takes POST"


@pytest.mark.parametrize(("path", "allowed"), [("/", "GET, HEAD, OPTIONS"), ("/predict", "POST, OPTIONS")])
def test_options_says_which_methods_a_path_takes(table: LiveServer, path: str, allowed: str) -> None:
    answer = table.client.options(path)
    assert (answer.status_code, answer.headers["allow"], answer.content) == (204, allowed, b"")
