"""A model of text: a string goes in through every port, and no text changes the answer to another."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import jsonschema
import numpy as np
import pytest
from pyarrow import parquet

from lading.artifact import Artifact
from lading.content.text import tokenize
from lading.drift.reference import Reference
from lading.predictor import Predictor
from lading.protocol.client_codec import binary_request, grpc_request, json_request
from lading.protocol.proto import inference_pb2 as pb
from lading.protocol.proto.inference_pb2_grpc import GRPCInferenceServiceStub
from lading.record.payload_reader import row_examples
from lading.tensors.padded import fill_in
from tests.given.live_server import LiveServer, live_server
from tests.given.small_text import TEXTS, text_artifact

NAME = "small-text"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return text_artifact(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def texts(artifact: Artifact) -> Iterator[LiveServer]:
    with live_server(artifact, max_batch=4, drift=True) as live:
        yield live


@pytest.fixture(scope="module")
def expected(artifact: Artifact) -> dict[str, Any]:
    """The answer to each text alone, by the text."""
    predictor = Predictor(artifact)
    answers = {}
    for text in TEXTS:
        answers[text] = predictor(fill_in(predictor.inputs, {"text": tokenize(predictor.inputs[0], text)[None]}))
    return answers


def near(values: object, wanted: Any) -> bool:
    return bool(np.allclose(np.asarray(values).reshape(wanted.shape), wanted, atol=1e-5))


@pytest.mark.parametrize("text", TEXTS)
def test_plain_http_takes_a_string(texts: LiveServer, expected: dict[str, Any], text: str) -> None:
    for name in ("text", "input_ids"):
        answer = texts.client.post("/predict", json={name: text}).json()
        assert near(answer["outputs"]["kind"], expected[text]["kind"])
        assert near(answer["outputs"]["each"], expected[text]["each"])
        assert answer["labels"]["kind"][0] in ("animal", "thing")


def test_a_list_of_strings_is_a_batch(texts: LiveServer, expected: dict[str, Any]) -> None:
    answer = texts.client.post("/predict", json={"text": list(TEXTS)}).json()["outputs"]
    for text, kind, each in zip(TEXTS, answer["kind"], answer["each"], strict=True):
        assert near(kind, expected[text]["kind"])
        length = expected[text]["each"].shape[1]
        assert near(each[:length], expected[text]["each"])


def test_numbers_are_taken_too_and_need_not_be_equally_long(
    texts: LiveServer, artifact: Artifact, expected: dict[str, Any]
) -> None:
    rows = [tokenize(artifact.manifest.inputs[0], text).tolist() for text in TEXTS]
    answer = texts.client.post("/predict", json={"text": rows}).json()["outputs"]["kind"]
    for text, kind in zip(TEXTS, answer, strict=True):
        assert near(kind, expected[text]["kind"])
    filled = {"text": [[*rows[2], 0, 0]], "mask": [[1] * len(rows[2]) + [0, 0]], "types": [[0] * (len(rows[2]) + 2)]}
    assert near(texts.client.post("/predict", json=filled).json()["outputs"]["kind"], expected[TEXTS[2]]["kind"])


@pytest.mark.parametrize("media_type", ["text/plain", "text/plain; charset=utf-8", "application/x-www-form-urlencoded"])
def test_a_body_of_text_is_classified(texts: LiveServer, expected: dict[str, Any], media_type: str) -> None:
    for text in TEXTS:
        sent = texts.client.post("/classify", content=text.encode(), headers={"content-type": media_type})
        assert near(list(sent.json()["probabilities"]["kind"].values()), expected[text]["kind"])
    form = texts.client.post("/classify", files={"file": ("text.txt", TEXTS[0].encode())})
    assert near(list(form.json()["probabilities"]["kind"].values()), expected[TEXTS[0]]["kind"])


def test_the_open_protocol_takes_bytes_over_rest_and_grpc(texts: LiveServer, expected: dict[str, Any]) -> None:
    text, wanted = TEXTS[2], expected[TEXTS[2]]["kind"]
    as_json = json_request(NAME, {"text": text})
    assert near(texts.client.post(as_json.path, content=as_json.content).json()["outputs"][0]["data"], wanted)
    raw = binary_request(NAME, {"text": text}, binary_outputs=False)
    answer = texts.client.post(raw.path, content=raw.content, headers=dict(raw.headers))
    assert near(answer.json()["outputs"][0]["data"], wanted)
    whole = {"inference-header-content-length": "0", "accept": "application/json"}
    answer = texts.client.post(as_json.path, content="the mat".ljust(8).encode(), headers=whole)  # 8 bytes, as an int64
    assert answer.json()["outputs"][0]["shape"] == [1, 2]
    tensor = pb.ModelInferRequest.InferInputTensor(
        name="text", datatype="BYTES", shape=[1], contents=pb.InferTensorContents(bytes_contents=[text.encode()])
    )
    with grpc.insecure_channel(texts.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        typed = stub.ModelInfer(pb.ModelInferRequest(model_name=NAME, inputs=[tensor]))
        assert near(list(typed.outputs[0].contents.fp32_contents), wanted)
        sent = stub.ModelInfer(grpc_request(NAME, {"text": text}))
        assert near(np.frombuffer(sent.raw_output_contents[0], np.float32), wanted)


def test_many_at_once_are_answered_as_each_alone(texts: LiveServer, expected: dict[str, Any]) -> None:
    def ask(number: int) -> bool:
        text = TEXTS[number % len(TEXTS)]
        answer = texts.client.post("/predict", json={"text": text}).json()["outputs"]
        return near(answer["kind"], expected[text]["kind"]) and near(answer["each"], expected[text]["each"])

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(200)))


@pytest.mark.parametrize(
    ("path", "sent", "status", "sentence"),
    [
        ("/predict", {"json": {"text": 5}}, 400, "input 'text' is an integer: send a text as a string"),
        ("/predict", {"json": {"text": ["cat", 3]}}, 400, "input 'text'[1] is an integer: send a text as a string"),
        ("/predict", {"json": {"text": []}}, 400, "input 'text' is empty: send a text as a string"),
        ("/predict", {"json": {"text": ""}}, 400, "input 'text', text 0: the text is empty: send at least one word"),
        ("/predict", {"json": {"text": "cat " * 20}}, 400, "text 0: the text has 22 tokens; at most 8 are accepted"),
        ("/predict", {"json": {"text": "cat " * 900}}, 413, "the text has 3600 bytes; at most 384 are accepted"),
        ("/predict", {"json": {"text": ["cat"] * 5}}, 400, "input 'text' has 5 examples; at most 4 are accepted"),
        ("/predict", {"json": {"mask": [[1]]}}, 400, "input 'text' is missing; the inputs are: text"),
        ("/predict", {"json": {"text": [[2, -5]]}}, 400, "input 'text' has the value -5; the least allowed is 0"),
        ("/predict", {"json": {"text": [[2] * 9]}}, 400, "input 'text' has 9 tokens; at most 8 are accepted"),
        ("/classify", {"content": b"\xff", "headers": {"content-type": "text/plain"}}, 400, "send UTF-8 text"),
        ("/classify", {"json": {"text": "cat"}}, 415, "JSON goes to /predict"),
    ],
)
def test_what_is_wrong_is_told(texts: LiveServer, path: str, sent: dict[str, Any], status: int, sentence: str) -> None:
    answer = texts.client.post(path, **sent)
    assert answer.status_code == status
    assert sentence in answer.json()["error"]


def test_the_docs_say_what_is_taken_and_their_examples_are(texts: LiveServer) -> None:
    described = texts.client.get("/model").json()
    assert described["example"] == {"text": [TEXTS[0]]}
    assert described["file"]["textual"]
    assert texts.client.post("/predict", json=described["example"]).status_code == httpx.codes.OK
    document = texts.client.get("/docs.json").json()
    body = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    schema = document["components"]["schemas"]["Inputs"]
    assert schema["required"] == ["text"]
    for taken in (body["example"], {"text": "cat"}, {"text": ["cat", "dog"]}, {"text": [[2, 3]], "mask": [[1, 1]]}):
        jsonschema.validate(taken, schema)
        assert texts.client.post("/predict", json=taken).status_code == httpx.codes.OK
    assert "text/plain" in document["paths"]["/classify"]["post"]["requestBody"]["content"]
    infer = document["paths"][f"/v2/models/{NAME}/infer"]["post"]["requestBody"]["content"]["application/json"]
    assert texts.client.post(f"/v2/models/{NAME}/infer", json=infer["example"]).status_code == httpx.codes.OK


@pytest.mark.parametrize("images", ["features", "files"])
def test_the_log_holds_features_of_each_text_and_its_words_where_asked(
    artifact: Artifact, tmp_path: Path, images: str
) -> None:
    with live_server(artifact, payload_log=str(tmp_path), payload_images=images) as live:
        live.client.post("/predict", json={"text": ["cat", "the dog sat"]})
        live.client.post("/predict", json={"text": "zebra"})
    (log,) = tmp_path.rglob("*.parquet")
    rows = sorted(parquet.read_table(log).to_pylist(), key=lambda row: row["time"])
    assert [row["input.text.tokens"] for row in rows] == [[3, 5], [3]]
    assert [row["input.text.unknown"] for row in rows] == [[0, 0], [1]]
    reference = Reference.from_json(artifact.reference_json())
    for row in rows:
        for example in row_examples(artifact.manifest, row, reference):
            assert {name for name in reference.features if name.startswith("text.")} <= example.keys()
    files = sorted(file.read_text() for file in tmp_path.rglob("*.txt"))
    assert files == (["?", "cat", "the dog sat"] if images == "files" else [])
