"""Several pictures, and numbers beside them, in one request: by a form, JSON, the protocol and gRPC."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lading.deploy.load.bodies import bodies, examples
from lading.deploy.load.shapes import KINDS
from lading.deploy.load.signature import from_server
from lading.predictor import Predictor
from lading.protocol.client import Client
from lading.spec import Array
from tests.given.browser import browser
from tests.given.live_server import LiveServer, live_server
from tests.given.packed_graph import answers_of_all_ports, packed_graph
from tests.given.pictures import encoded
from tests.given.two_pictures import BRIGHTER, SIDE, TwoPictures, wanted

__all__ = ["browser"]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder: Path = tmp_path_factory.mktemp("two")
    with live_server(packed_graph(TwoPictures(), (BRIGHTER,), folder)) as server:
        yield server


def grey(level: int) -> bytes:
    return encoded("PNG", Image.new("RGB", (SIDE, SIDE), (level,) * 3))


LEFT, RIGHT = grey(200), grey(50)


def test_every_port_answers_the_same(live: LiveServer) -> None:
    inputs: dict[str, Array | bytes] = {"left": LEFT, "right": RIGHT, "numbers": np.array([[1, 2]], np.float32)}
    for port, answered in answers_of_all_ports(live, inputs).items():
        assert answered["difference"].tolist() == [[153.0]], port


def form(live: LiveServer, *fields: tuple[str, Any]) -> Any:
    return live.client.post("/predict", files=list(fields))


def test_a_form_has_a_field_for_each_input(live: LiveServer) -> None:
    answer = form(live, ("left", ("a.png", LEFT)), ("right", ("b.png", RIGHT)), ("numbers", (None, "[1, 2]")))
    assert answer.status_code == 200, answer.text
    assert answer.json()["outputs"] == {"difference": [[153.0]]}


def test_a_field_that_comes_again_is_the_next_example(live: LiveServer) -> None:
    sides = [("left", ("a", LEFT)), ("right", ("b", RIGHT)), ("left", ("c", RIGHT)), ("right", ("d", LEFT))]
    for numbers in ([(None, "[1, 2]"), (None, "[0, 0]")], [(None, "[[1, 2], [0, 0]]")]):
        answer = form(live, *sides, *(("numbers", one) for one in numbers))
        assert answer.json()["outputs"] == {"difference": [[153.0], [-150.0]]}, answer.text


def test_a_form_may_hold_base64(live: LiveServer) -> None:
    text = base64.b64encode(LEFT).decode()
    answer = form(live, ("left", (None, text)), ("right", ("b.png", RIGHT)), ("numbers", (None, "[1, 2]")))
    assert answer.json()["outputs"] == {"difference": [[153.0]]}


FINE = (("left", ("a.png", LEFT)), ("right", ("b.png", RIGHT)), ("numbers", (None, "[1, 2]")))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (FINE[:2], "input 'numbers' is missing; the inputs are: left, right, numbers"),
        (FINE[1:], "input 'left' is missing"),
        ((*FINE, ("middle", ("c.png", LEFT))), "-F left=@photo.jpg -F right=@photo.jpg -F numbers=JSON"),
        ((*FINE[:2], ("numbers", (None, "one"))), "'numbers' is the text 'one', which is no JSON"),
        ((*FINE[:2], ("numbers", (None, "[1]"))), "'numbers' has shape [1, 1]"),
        ((*FINE[:2], ("numbers", (None, "[[[1, 2]]]"))), "'numbers'[0][0] is a list"),
        ((("left", ("a.png", b"no picture")), *FINE[1:]), "input 'left', picture 0: "),
        ((("left", ("a.png", b"")), *FINE[1:]), "input 'left' is an empty file"),
        ((*FINE, ("left", ("c.png", LEFT))), "'batch' is 2 in another input"),
        (FINE * 6, "more than 17 fields"),
    ],
)
def test_a_form_that_does_not_fit_is_refused_by_name(live: LiveServer, fields: Any, words: str) -> None:
    answer = form(live, *fields)
    assert answer.status_code == 400, answer.text
    assert words in answer.json()["error"]


def test_classify_says_which_inputs_there_are(live: LiveServer) -> None:
    answer = live.client.post("/classify", content=LEFT)
    assert answer.status_code == 404
    assert answer.json()["error"] == (
        "the model 'two-pictures' takes left, right, numbers: send them to /predict "
        "(curl -F left=@photo.jpg -F right=@photo.jpg -F numbers=JSON)"
    )


def test_one_picture_alone_is_told_about_the_form(live: LiveServer) -> None:
    answer = live.client.post("/predict", content=LEFT, headers={"content-type": "image/png"})
    assert answer.status_code == 415
    assert "files go into a form (curl -F left=@photo.jpg" in answer.json()["error"]


def test_the_pixels_of_all_files_are_bounded_together(tmp_path_factory: pytest.TempPathFactory) -> None:
    artifact = packed_graph(TwoPictures(), (BRIGHTER,), tmp_path_factory.mktemp("bounded"))
    with live_server(artifact, max_pixels=SIDE * SIDE + 1) as small:
        answer = form(small, *FINE)
        assert answer.status_code == 413
        assert "input 'right'" in answer.json()["error"] or "pixels" in answer.json()["error"]


def test_a_load_test_sends_all_of_them(live: LiveServer) -> None:
    signature = from_server(live.url)
    made = examples(signature, [LEFT, RIGHT])
    assert made[0]["left"] != made[0]["right"]
    for kind in KINDS:
        if kind != "grpc":
            request = bodies(signature, kind, made)[0]
            answer = live.client.post(request.path, content=request.content, headers=dict(request.headers))
            assert answer.status_code == 200, answer.text


def test_the_docs_describe_the_form(live: LiveServer) -> None:
    content = live.client.get("/docs.json").json()["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "multipart/form-data"}
    assert content["multipart/form-data"]["schema"]["required"] == ["left", "right", "numbers"]


@settings(max_examples=20, deadline=None)
@given(size=st.integers(1, 8), seed=st.integers(0, 1000))
def test_a_batch_is_answered_as_its_rows_are_alone(live: LiveServer, size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (size, SIDE, SIDE, 3)
    batch = {side: rng.integers(256, size=shape, dtype=np.uint8) for side in ("left", "right")}
    batch["numbers"] = rng.normal(size=(size, 2)).astype(np.float32)
    predictor = Predictor(live.artifact)
    together = predictor(batch)["difference"]
    alone = [predictor({name: array[[row]] for name, array in batch.items()})["difference"][0] for row in range(size)]
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-4)
    np.testing.assert_allclose(together, wanted(batch), atol=1e-3)


def test_python_clients_send_both(live: LiveServer) -> None:
    with Client(live.url, live.grpc) as client:
        answered = client.predict({"left": LEFT, "right": RIGHT, "numbers": np.zeros((1, 2), np.float32)})
    assert np.asarray(answered["difference"]).tolist() == [[150.0]]


def test_the_page_has_two_file_boxes_and_a_box_for_numbers(browser: Any, live: LiveServer) -> None:
    page = browser.new_context().new_page()
    page.goto(live.url)
    page.wait_for_selector("#fields:not([hidden])")
    assert page.locator("#fields input[type=file]").count() == 2
    page.set_input_files("#field-left", {"name": "a.png", "mimeType": "image/png", "buffer": LEFT})
    page.set_input_files("#field-right", {"name": "b.png", "mimeType": "image/png", "buffer": RIGHT})
    assert len(json.loads(page.input_value("#field-numbers"))) == 2, "a real example"
    page.fill("#field-numbers", "[1, 2]")
    page.click("#fields button")
    page.wait_for_selector("#result:not([hidden])")
    assert "153" in page.inner_text("#result")
    assert page.locator(".frame img").count() == 2
