"""Outputs of content ``boxes`` and ``mask``: promises, overlap, ties, drift features, every port, PNG and the page."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lading.answers import aligned, answer_kind, broken_promise, check_answers
from lading.drift.features import features
from lading.drift.reference import Reference
from lading.errors import SpecError
from lading.predictor import Predictor
from lading.spec import Array, TensorSpec
from lading.tensors.agreement import difference
from tests.given.browser import browser
from tests.given.found_things import BOXES, DETECTOR, MASK, SEGMENTER, Ground, Things, ground, pictures
from tests.given.live_server import LiveServer, live_server
from tests.given.packed_graph import answers_of_all_ports, packed_graph, verified_graphs
from tests.given.pictures import encoded

__all__ = ["browser"]

DIMMER = DETECTOR.replace("float {255.0}", "float {265.0}")


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder: Path = tmp_path_factory.mktemp("things")
    with live_server(packed_graph(Things(), (DETECTOR, DIMMER), folder), variant="fp32") as server:
        yield server


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder: Path = tmp_path_factory.mktemp("ground")
    with live_server(packed_graph(Ground(), (SEGMENTER,), folder)) as server:
        yield server


def photo() -> Array:
    """A red pixel at the upper left and a weaker blue one at the lower right."""
    made = np.zeros((4, 4, 3), np.uint8)
    made[0, 0, 0], made[3, 3, 2] = 255, 204
    return made


PNG = encoded("PNG", Image.fromarray(photo()))
FOUND = [
    {"class": "red", "score": 1.0, "box": [0.0, 0.0, 0.5, 0.5]},
    {"class": "blue", "score": 0.8, "box": [0.5, 0.5, 1.0, 1.0]},
]


@pytest.mark.parametrize(
    ("spec", "changes", "reason"),
    [
        (BOXES, {"shape": ("batch", 5, 4)}, "boxes are a float tensor of shape"),
        (BOXES, {"shape": ("batch", "found", 6)}, "with a fixed number of boxes"),
        (BOXES, {"shape": ("found", 6)}, "boxes are a float tensor of shape"),
        (BOXES, {"dtype": "int64"}, "boxes are a float tensor of shape"),
        (BOXES, {"classes": None}, "boxes need classes="),
        (MASK, {"dtype": "float32"}, "a mask is an integer tensor .* end forward with .argmax"),
        (MASK, {"shape": ("batch", 3, 4, 4)}, "a mask is an integer tensor"),
        (MASK, {"shape": ("batch", "h")}, "a mask is an integer tensor"),
        (MASK, {"classes": None}, "a mask needs classes="),
        (MASK, {"classes": tuple(map(str, range(257)))}, "at most 256 names"),
    ],
)
def test_a_tensor_that_is_neither_is_refused(spec: TensorSpec, changes: dict[str, object], reason: str) -> None:
    check_answers([spec])
    with pytest.raises(SpecError, match=f"tensor '{spec.name}': .*{reason}"):
        check_answers([TensorSpec.model_validate(spec.model_dump() | changes)])


def boxes(*rows: tuple[float, ...]) -> Array:
    padded = [*rows, *([(0.0,) * 6] * (5 - len(rows)))]
    return np.array([padded], np.float32)


RED, BLUE = (0.0, 0.0, 0.5, 0.5, 0.9, 0.0), (0.5, 0.5, 1.0, 1.0, 0.8, 1.0)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ((0.0, 0.0, 0.5, 0.5, 1.5, 0.0), "a score is not from 0 to 1"),
        ((0.0, 0.0, 0.5, 0.5, -0.1, 0.0), "a score is not from 0 to 1"),
        ((0.0, 0.0, 0.5, 0.5, 0.9, 2.0), "a class is not the index of one of 2"),
        ((0.0, 0.0, 0.5, 0.5, 0.9, 0.5), "a class is not the index of one of 2"),
        ((0.5, 0.5, 0.2, 0.2, 0.9, 0.0), "a box ends before it begins"),
        ((10.0, 10.0, 200.0, 100.0, 0.9, 0.0), "a box is far outside of the picture: divide pixels"),
    ],
)
def test_boxes_that_break_their_promise_are_named(wrong: tuple[float, ...], reason: str) -> None:
    assert broken_promise([BOXES], {"things": boxes(RED, BLUE)}) is None
    batch = np.concatenate([boxes(RED), boxes(RED, wrong)])
    assert str(broken_promise([BOXES], {"things": batch})).startswith(f"output 'things' is no boxes in row 1: {reason}")


def test_a_mask_of_unknown_classes_is_named() -> None:
    why = broken_promise([MASK], {"ground": np.full((2, 4, 4), 3, np.uint8)})
    assert why == "output 'ground' is no mask in row 0: a pixel is not the index of one of 3 classes"


def alike(one: Array, other: Array, spec: TensorSpec = BOXES) -> float:
    kind = answer_kind(spec)
    assert kind is not None
    return float(kind.similarity(spec, one, other)[0])


def test_boxes_are_compared_by_overlap_and_not_by_their_order() -> None:
    moved = (0.0, 0.1, 0.5, 0.6, 0.9, 0.0)
    assert alike(boxes(RED, BLUE), boxes(BLUE, RED)) == pytest.approx(1)
    assert alike(boxes(), boxes()) == 1
    assert alike(boxes(RED), boxes()) == 0
    assert alike(boxes(RED), boxes(moved)) == pytest.approx(0.2 / 0.3, abs=1e-3)
    assert alike(boxes(RED), boxes((*RED[:5], 1.0))) == 0, "another class"
    faint = (*BLUE[:4], 0.05, 1.0)
    assert alike(boxes(RED, faint), boxes(RED)) > 0.9, "a faint box that is gone counts little"
    assert alike(boxes(RED, BLUE), boxes(RED)) < 0.6


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(5)), st.integers(0, 100))
def test_boxes_of_equal_scores_may_change_places(order: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 0.5, (5, 2))
    one = np.concatenate([corners, corners + 0.3, np.full((5, 1), 0.5), np.arange(5)[:, None] % 2], 1)[None]
    one = one.astype(np.float32)
    np.testing.assert_array_equal(aligned(BOXES, one, one[:, order]), one)
    assert difference([BOXES], {"things": one}, {"things": one[:, order]}) == 0
    assert difference([BOXES], {"things": one}, {"things": one + np.float32(0.2)}) > 0.1


def test_a_pixel_on_the_border_of_two_classes_is_a_tie_and_an_area_is_not() -> None:
    spec = TensorSpec.model_validate(MASK.model_dump() | {"shape": ("batch", 50, 50)})
    one = np.zeros((1, 50, 50), np.uint8)
    pixel, area = one.copy(), one.copy()
    pixel[0, 0, 0], area[0, :10] = 1, 1
    assert difference([spec], {"ground": one}, {"ground": pixel}) == 0
    assert difference([spec], {"ground": one}, {"ground": area}) == 1
    assert alike(one, area, spec) == pytest.approx((0.8 + 0) / 2)


def test_the_features_say_how_much_there_is_of_what() -> None:
    found = features(BOXES, boxes(RED, BLUE)[0])
    assert found["things.count"].tolist() == [2]
    assert found["things.class"].tolist() == [0, 1]
    assert found["things.area"].tolist() == pytest.approx([0.25, 0.25])
    assert set(features(BOXES, boxes()[0])) == {"things.count"}
    shares = features(MASK, ground(photo()[None])[0])
    assert {name: float(share[0]) for name, share in shares.items()} == {
        "ground.dark": 14 / 16,
        "ground.red": 1 / 16,
        "ground.blue": 1 / 16,
    }


def test_variants_of_a_detector_are_compared_by_overlap(tmp_path: Path) -> None:
    other = DETECTOR.replace("float {0.3}> ()\n    chosen", "float {0.75}> ()\n    chosen")
    verification = verified_graphs(Things(), (DETECTOR, other), tmp_path)
    fp32, coarse = (entry.measurement for entry in verification.variants)
    assert fp32 is not None
    assert coarse is not None
    assert fp32.similarity["things"].mean == 1
    assert coarse.similarity["things"].measure == "IoU"
    assert coarse.similarity["things"].mean < 1
    assert coarse.agreement < 1


def test_a_detector_answers_with_what_it_found(things: LiveServer) -> None:
    form = things.client.post("/predict", files={"photo": ("a.png", PNG)})
    raw = things.client.post("/predict", content=PNG, headers={"content-type": "image/png"})
    assert form.status_code == raw.status_code == 200, form.text
    assert form.json() == raw.json()
    assert form.json()["found"] == {"things": [FOUND]}
    empty = np.zeros((1, 4, 4, 3), np.uint8).tolist()
    assert things.client.post("/predict", json={"photo": empty}).json()["found"] == {"things": [[]]}
    assert "send the picture to /predict" in things.client.post("/classify", content=PNG).json()["error"]


def test_every_port_finds_the_same(things: LiveServer, masks: LiveServer) -> None:
    expected = boxes((0, 0, 0.5, 0.5, 1, 0), (0.5, 0.5, 1, 1, 0.8, 1))
    for port, answered in answers_of_all_ports(things, {"photo": PNG}).items():
        np.testing.assert_allclose(answered["things"], expected, atol=1e-6, err_msg=port)
    for port, answered in answers_of_all_ports(masks, {"photo": PNG}).items():
        np.testing.assert_array_equal(answered["ground"], ground(photo()[None]), err_msg=port)


@settings(max_examples=25, deadline=None)
@given(size=st.integers(1, 9), seed=st.integers(0, 1000))
def test_a_batch_is_answered_as_its_rows_are_alone(things: LiveServer, masks: LiveServer, size: int, seed: int) -> None:
    batch = pictures(seed, size)
    for live, name in ((things, "things"), (masks, "ground")):
        predictor = Predictor(live.artifact)
        alone = [predictor({"photo": batch[[row]]})[name][0] for row in range(size)]
        np.testing.assert_array_equal(predictor({"photo": batch})[name], np.stack(alone))
    np.testing.assert_array_equal(Predictor(masks.artifact)({"photo": batch})["ground"], ground(batch))


def test_a_mask_is_a_png_where_the_client_accepts_that(masks: LiveServer) -> None:
    headers = {"content-type": "image/png", "accept": "image/png"}
    answer = masks.client.post("/predict", content=PNG, headers=headers)
    assert answer.headers["content-type"] == "image/png"
    picture = Image.open(io.BytesIO(answer.content))
    assert picture.mode == "P"
    np.testing.assert_array_equal(np.asarray(picture), ground(photo()[None])[0])
    two = masks.client.post("/predict", json={"photo": [photo().tolist()] * 2}, headers={"accept": "image/png"})
    assert two.status_code == 400
    assert "2 masks do not fit one PNG" in two.json()["error"]


def test_a_png_of_no_mask_is_refused(things: LiveServer) -> None:
    answer = things.client.post("/predict", json={}, headers={"accept": "image/png"})
    assert answer.status_code == 415
    assert "has no outputs of content mask" in answer.json()["error"]


def test_the_reference_and_the_description_know_them(things: LiveServer, masks: LiveServer) -> None:
    reference = Reference.of(things.artifact)
    assert reference.features["things.class"].labels == ("red", "blue")
    assert {"things.count", "things.score", "things.area"} <= set(reference.features)
    assert set(Reference.of(masks.artifact).features) >= {"ground.dark", "ground.red", "ground.blue"}
    (output,) = things.client.get("/model").json()["outputs"]
    assert output["classes"] == ["red", "blue"]
    assert output["similarity"]["measure"] == "IoU"
    schema = things.client.get("/docs.json").json()["components"]["schemas"]["Outputs"]
    assert "found" in schema["required"]


@pytest.mark.parametrize("kind", ["things", "masks"])
def test_the_page_draws_them_over_the_picture(browser: Any, kind: str, request: pytest.FixtureRequest) -> None:
    live: LiveServer = request.getfixturevalue(kind)
    page = browser.new_context().new_page()
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda message: said.append(message.text))
    page.goto(live.url)
    page.wait_for_selector("#fields:not([hidden])")
    page.set_input_files("#field-photo", {"name": "a.png", "mimeType": "image/png", "buffer": PNG})
    page.click("#fields button")
    page.wait_for_selector("#result:not([hidden])")
    if kind == "things":
        assert page.locator(".frame .box").all_inner_texts() == ["red 100 %", "blue 80 %"]
        assert page.locator(".frame .box").first.evaluate("box => box.style.left") == "0%"
    else:
        assert page.locator(".frame canvas").count() == 1
        pixel = "canvas => Array.from(canvas.getContext('2d').getImageData(0, 0, 1, 1).data)"
        assert page.locator(".frame canvas").evaluate(pixel)[3] == 150
        assert "red" in page.inner_text("#result")
    assert not said, said
