"""A model of pictures of any size, over every port: each photo keeps its size, and what is too large is refused."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from lading.artifact import Artifact
from lading.deploy.decode_skew import decode_skew
from lading.deploy.load.bodies import bodies, examples
from lading.deploy.load.signature import from_artifact, from_server
from lading.deploy.values import plan, values_yaml
from lading.drift.reference import Reference
from lading.predictor import Predictor
from lading.protocol.client import Client
from tests.given.any_size import LONGEST, as_input, pixels, png, sides_artifact
from tests.given.browser import browser
from tests.given.live_server import LiveServer, live_server
from tests.given.packed_graph import answers_of_all_ports
from tests.score.scored import read, run

__all__ = ["browser"]
SHAPES = ((8, 8), (6, 13), (32, 32), (31, 2), (1, 1))
"""Height and width of photos; odd ones get a margin."""


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return sides_artifact(tmp_path_factory.mktemp("sides"))


@pytest.fixture(scope="module")
def live(sides: Artifact) -> Iterator[LiveServer]:
    with live_server(sides) as server:
        yield server


def photo(shape: tuple[int, int], seed: int = 0) -> np.ndarray[Any, Any]:
    return np.asarray(pixels(*shape, np.random.default_rng(seed)))


def framed(picture: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The tensor: with black margins on the right and at the bottom, up to even sides."""
    rows, columns, _ = picture.shape
    return as_input(np.pad(picture, ((0, rows % 2), (0, columns % 2), (0, 0))))[None]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_port_answers_a_photo_of_any_size(sides: Artifact, live: LiveServer, shape: tuple[int, int]) -> None:
    made = photo(shape)
    frame = framed(made)
    expected = Predictor(sides)({"photo": frame})
    for port, answered in answers_of_all_ports(live, {"photo": png(made)}).items():
        mask = expected["sides"][:, : shape[0], : shape[1]] if port == "predict" else expected["sides"]
        np.testing.assert_array_equal(answered["sides"], mask, err_msg=port)
        np.testing.assert_allclose(answered["light"], expected["light"], atol=1e-6, err_msg=port)
    for port, answered in answers_of_all_ports(live, {"photo": frame}).items():
        np.testing.assert_array_equal(answered["sides"], expected["sides"], err_msg=f"{port}, numbers")


def test_a_form_a_body_and_json_hold_the_same_photo_and_the_mask_has_its_size(live: LiveServer) -> None:
    made = photo((6, 13))
    file = png(made)
    form = live.client.post("/predict", files={"photo": ("a.png", file)})
    raw = live.client.post("/predict", content=file, headers={"content-type": "image/png"})
    text = live.client.post("/predict", json={"photo": base64.b64encode(file).decode()})
    assert form.json() == raw.json() == text.json()
    drawn = live.client.post("/predict", content=file, headers={"content-type": "image/png", "accept": "image/png"})
    mask = np.asarray(Image.open(io.BytesIO(drawn.content)))
    assert mask.shape == (6, 13)
    np.testing.assert_array_equal(mask, form.json()["outputs"]["sides"][0])


def test_photos_of_one_size_are_a_batch_and_of_several_are_not(live: LiveServer) -> None:
    files = [png(photo((8, 8), seed)) for seed in range(3)]
    batch = live.client.post("/predict", files=[("photo", ("a.png", file)) for file in files]).json()["outputs"]
    alone = [live.client.post("/predict", files={"photo": ("a.png", file)}).json()["outputs"] for file in files]
    assert batch["sides"] == [one["sides"][0] for one in alone]
    mixed = live.client.post("/predict", files=[("photo", ("a", files[0])), ("photo", ("b", png(photo((8, 10)))))])
    assert mixed.status_code == 400
    assert "picture 1: it has another size than those before: send pictures of several sizes" in mixed.json()["error"]


def test_requests_at_once_are_answered_as_alone(sides: Artifact, live: LiveServer) -> None:
    shapes = [(8, 8), (8, 12), (16, 8), (32, 32)]
    photos = [photo(shapes[turn % 4], turn) for turn in range(64)]
    predictor = Predictor(sides)

    def ask(made: np.ndarray[Any, Any]) -> Any:
        return live.client.post("/predict", files={"photo": ("a.png", png(made))}).json()["outputs"]["sides"]

    with ThreadPoolExecutor(16) as clients:
        for made, answered in zip(photos, clients.map(ask, photos), strict=True):
            np.testing.assert_array_equal(answered, predictor({"photo": framed(made)})["sides"])


def test_a_photo_beyond_the_bound_is_refused_on_every_port(live: LiveServer) -> None:
    file = png(photo((8, LONGEST + 1)))
    sentence = f"the picture has {LONGEST + 1} x 8 pixels; at most {LONGEST} on a side are accepted: send a smaller one"
    answers = [
        live.client.post("/predict", files={"photo": ("a.png", file)}),
        live.client.post("/predict", content=file, headers={"content-type": "image/png"}),
        live.client.post("/predict", json={"photo": base64.b64encode(file).decode()}),
        live.client.post(
            "/v2/models/sides/infer",
            json={
                "inputs": [
                    {"name": "photo", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(file).decode()]}
                ]
            },
        ),
    ]
    for answer in answers:
        assert answer.status_code == 413, answer.text
        assert sentence in answer.json()["error"]
    with Client(live.url, live.grpc) as client, pytest.raises(Exception, match="at most 32 on a side"):
        client.infer_grpc("sides", {"photo": file})
    wide = live.client.post("/predict", json={"photo": np.zeros((1, 3, 2, LONGEST + 2)).tolist()})
    assert wide.status_code == 400
    assert "at most 32 on a side are accepted" in wide.json()["error"]


def test_the_bound_is_told_where_people_look(sides: Artifact, live: LiveServer) -> None:
    described = live.client.get("/model").json()
    assert described["inputs"][0]["preprocess"]["longest"] == LONGEST
    assert described["inputs"][0]["shape"] == ["batch", 3, "height", "width"]
    said = "at most 32 pixels on a side, in multiples of 2"
    assert said in described["fields"][0]["file"]["formats"]
    assert said in json.dumps(live.client.get("/docs.json").json())
    assert "keep,longest=32,multiple=2" in described["fields"][0]["file"]["preprocess"]
    assert live.client.get("/v2/models/sides").json()["inputs"][0]["shape"] == [-1, 3, -1, -1]
    assert {"sides.dark", "sides.bright"} <= set(Reference.of(sides).features)


def test_a_load_test_sends_recorded_and_made_up_photos(sides: Artifact, live: LiveServer) -> None:
    for signature in (from_artifact(sides.path), from_server(live.url)):
        for request in bodies(signature, "plain", examples(signature)) + bodies(
            signature, "v2-binary", examples(signature)
        ):
            answer = live.client.post(request.path, content=request.content, headers=dict(request.headers))
            assert answer.status_code == 200, answer.text


def test_files_of_several_sizes_are_scored_and_compared_with_a_plain_reader(
    sides: Artifact, live: LiveServer, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    shapes = {"a.png": (8, 8), "b.png": (6, 13), "c.png": (8, 8), "d.png": (LONGEST + 1, 4)}
    for place, (name, shape) in enumerate(shapes.items()):
        (tmp_path / "in" / name).write_bytes(png(photo(shape, place)))
    run(sides, tmp_path / "in", tmp_path / "out.jsonl", keep_errors=True)
    rows = read(tmp_path / "out.jsonl")
    assert [np.shape(row["sides"]) for row in rows[:3]] == [(8, 8), (6, 14), (8, 8)]
    assert "at most 32 on a side" in rows[3]["error"]
    (tmp_path / "in" / "d.png").unlink()
    skew = decode_skew(str(sides.path), tmp_path / "in")
    assert skew.changed == ()
    assert skew.preprocess.startswith("keep,longest=32,multiple=2")


def test_the_memory_of_a_pod_holds_the_largest_photos(sides: Artifact) -> None:
    planned = plan(sides, rate=1, cpus=2)
    assert planned.input_mib >= 1
    assert f"{planned.input_mib} of pictures" in values_yaml(sides, planned)
    assert yaml.safe_load(values_yaml(sides, planned))["resources"]["limits"]["memory"] == f"{planned.memory_mib}Mi"


def test_the_page_draws_the_mask_over_all_of_the_photo(browser: Any, live: LiveServer) -> None:
    page = browser.new_context().new_page()
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda message: said.append(message.text))
    page.goto(live.url)
    page.wait_for_selector("#fields:not([hidden])")
    assert "at most 32 pixels on a side" in page.inner_text("#fields")
    page.set_input_files("#field-photo", {"name": "a.png", "mimeType": "image/png", "buffer": png(photo((6, 13)))})
    page.click("#fields button")
    page.wait_for_selector("#result:not([hidden])")
    size = "canvas => [canvas.width, canvas.height]"
    assert page.locator(".frame canvas").evaluate(size) == [13, 6]
    assert not said, said
