"""``POST /predict`` on a real server: any model's inputs by name."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest

from tests.given.live_server import LiveServer, live_server
from tests.given.pictures import Encode
from tests.given.small_artifacts import log_artifact


def test_a_batch_of_numbers(table: LiveServer) -> None:
    answer = table.client.post("/predict", json={"features": [[1, 2, 3, 4], [0.5, 0, 0, -0.25]]})
    assert answer.json() == {
        "outputs": {"total": [[10.0], [0.25]]},
        "units": {"total": "m"},
        "model": "small-table",
        "variant": "fp32",
    }


def test_curls_default_content_type_is_taken_for_json(table: LiveServer) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = table.client.post("/predict", content=b'{"features": [[1, 2, 3, 4]]}', headers=headers)
    assert answer.json()["outputs"] == {"total": [[10.0]]}


def test_integers_and_booleans_keep_their_type(types: LiveServer) -> None:
    body = {"count": [[-32768, 32767], [5, 6]], "flag": [[True, True], [False, True]]}
    assert types.client.post("/predict", json=body).json()["outputs"] == {"kept": [[-32768, 32767], [0, 6]]}


def test_a_whole_number_may_be_written_with_a_point(types: LiveServer) -> None:
    body = b'{"count": [[3.0, -4e0]], "flag": [[true, true]]}'
    assert types.client.post("/predict", content=body).json()["outputs"] == {"kept": [[3, -4]]}


def test_pixels_base64_and_classify_agree(pictures: LiveServer, encode: Encode) -> None:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, size=(16, 16, 3), dtype=np.uint8)
    data = encode("PNG", Image.fromarray(pixels))
    text = base64.b64encode(data).decode()
    bodies = [[pixels.tolist()], text, [text], f"data:image/png;base64,{text}"]
    answers = [pictures.client.post("/predict", json={"image": body}).json()["outputs"] for body in bodies]
    assert answers == [answers[0]] * 4
    labels = pictures.client.post("/classify", content=data).json()["probabilities"]["colour"]
    assert list(labels.values()) == pytest.approx(answers[0]["colour"][0], abs=1e-5)


def test_a_batch_of_pictures(pictures: LiveServer, encode: Encode) -> None:
    text = base64.b64encode(encode()).decode()
    answer = pictures.client.post("/predict", json={"image": [text, text, text]}).json()
    assert np.shape(answer["outputs"]["colour"]) == (3, 3)


def test_the_best_label_of_each_row_is_named(pictures: LiveServer, graph: LiveServer) -> None:
    red, green = [[[230, 20, 20]] * 16] * 16, [[[9, 99, 9]] * 16] * 16
    answer = pictures.client.post("/predict", json={"image": [red, green, red]}).json()
    assert answer["labels"] == {"colour": ["red", "green", "red"], "shade": ["bright", "dark", "bright"]}
    assert list(answer) == ["outputs", "labels", "model", "variant"]
    body = {"nodes": [[9, 1], [1, 9]], "edges": [[], []], "owner": [0, 1]}
    assert graph.client.post("/predict", json=body).json()["labels"] == {"kind": ["left", "right"]}


def test_a_graph_needs_no_owner_vector(graph: LiveServer) -> None:
    body = {"nodes": [[1, 0], [0, 1], [2, 2]], "edges": [[0, 1], [1, 2]]}
    alone = graph.client.post("/predict", json=body).json()["outputs"]["kind"]
    assert np.shape(alone) == (1, 2)
    assert alone == graph.client.post("/predict", json={**body, "owner": [0, 0, 0]}).json()["outputs"]["kind"]


def test_several_graphs_in_one_request_answer_as_they_do_alone(graph: LiveServer) -> None:
    first = {"nodes": [[1, 0], [0, 1]], "edges": [[0], [1]]}
    second = {"nodes": [[3, 1]], "edges": [[], []]}
    both = {"nodes": [[1, 0], [0, 1], [3, 1]], "edges": [[0], [1]], "owner": [0, 0, 1]}
    alone = [graph.client.post("/predict", json=body).json()["outputs"]["kind"][0] for body in (first, second)]
    together = graph.client.post("/predict", json=both).json()["outputs"]["kind"]
    assert np.asarray(together) == pytest.approx(np.asarray(alone), abs=1e-6)


def test_the_golden_request_gets_the_golden_answer(graph: LiveServer) -> None:
    golden = {name: array.tolist() for name, array in graph.artifact.golden_inputs().items()}
    answer = graph.client.post("/predict", json=golden).json()["outputs"]["kind"]
    assert np.asarray(answer) == pytest.approx(graph.artifact.golden_outputs()["kind"], abs=1e-6)


def test_inputs_without_a_finite_answer_are_refused(tmp_path: Path) -> None:
    with live_server(log_artifact(tmp_path / "log")) as live:
        answer = live.client.post("/predict", json={"x": [[0]]})
        assert live.client.post("/predict", json={"x": [[1]]}).json()["outputs"] == {"y": [[0.0]]}
    assert answer.status_code == 422
    assert answer.json()["error"] == (
        "the model's answer to these inputs is not finite (NaN or infinity in 'y'): are they in the range that it was "
        "trained on?"
    )
