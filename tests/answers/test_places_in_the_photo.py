"""Boxes and masks of /predict are about the photo that was sent, whatever part of it the model's frame shows."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lading.answers import WHOLE, View, answer_kind
from lading.budget import Budget
from lading.content.image import Pictures
from lading.content.image.placement import Wanted
from lading.preprocess import Preprocess
from lading.spec import Array, TensorSpec
from tests.given.found_things import BOXES, DETECTOR, FP32, MASK, SEGMENTER, Ground, Things
from tests.given.live_server import LiveServer, live_server
from tests.given.packed_graph import answers_of_all_ports, packed_graph

FITS: dict[str, dict[str, Any]] = {
    "stretch": {"fit": "stretch"},
    "crop": {"fit": "crop"},
    "crop with a border": {"fit": "crop", "resize": 40},
    "letterbox": {"fit": "letterbox", "fill": (1, 2, 3)},
    "keep": {"fit": "keep", "longest": 64, "multiple": 16},
    "keep, resized": {"fit": "keep", "shortest": 20, "longest": 50, "multiple": 8},
}


def seen_by(fit: str, picture: Array, exif: int = 1) -> tuple[Array, View]:
    """The tensor of a photo (height, width, 3), and what of the photo it shows."""
    how = Preprocess(**FITS[fit])
    sides: tuple[int | str, ...] = ("height", "width") if how.kept else (32, 32)
    spec = TensorSpec(name="x", dtype="uint8", shape=("batch", *sides, 3), content="image", preprocess=how)
    tags = Image.Exif()
    tags[0x0112] = exif
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG", exif=tags)
    tensor, view = Pictures(how).decode_placed(stream.getvalue(), spec, Budget())
    return tensor, view


@pytest.mark.parametrize("fit", FITS)
@settings(max_examples=60, deadline=None)
@given(
    sides=st.tuples(st.integers(24, 64), st.integers(24, 64)),
    at=st.tuples(st.floats(0.35, 0.65), st.floats(0.35, 0.65)),
    lying=st.booleans(),
)
def test_where_a_thing_is_in_the_frame_leads_back_to_where_it_is_in_the_photo(
    fit: str, sides: tuple[int, int], at: tuple[float, float], lying: bool
) -> None:
    """A bright square is found in the tensor, and its middle, brought back, is where it was painted."""
    height, width = sides
    picture = np.zeros((height, width, 3), np.uint8)
    y, x = int(at[0] * height), int(at[1] * width)
    picture[y - 3 : y + 4, x - 3 : x + 4] = 255
    # A photo on its side is turned upright first, and answers are about the upright one.
    stored = np.ascontiguousarray(np.rot90(picture, 1)) if lying else picture
    tensor, view = seen_by(fit, stored, exif=6 if lying else 1)
    rows, columns = np.nonzero(tensor[..., 0] > 100)
    frame_height, frame_width = tensor.shape[:2]
    box = (
        columns.min() / frame_width,
        rows.min() / frame_height,
        (columns.max() + 1) / frame_width,
        (rows.max() + 1) / frame_height,
    )
    kind = answer_kind(BOXES)
    assert kind is not None
    given_row = np.zeros((5, 6), np.float32)
    given_row[0] = (*box, 0.9, 1)
    found = kind.of_photo(BOXES, given_row, view)
    assert found.dtype == np.float32
    wanted = ((x - 3) / width, (y - 3) / height, (x + 4) / width, (y + 4) / height)
    # A pixel of the tensor may show more than one of the photo.
    pixel = 1.6 * max((view.right - view.left) / frame_width, (view.bottom - view.top) / frame_height)
    np.testing.assert_allclose(found[0, :4], wanted, atol=max(pixel, 1.6 / min(height, width)))
    assert found[0, 4:].tolist() == pytest.approx([0.9, 1])
    assert not found[1:].any(), "padding stays padding"


@given(
    view=st.tuples(st.floats(-1, 0.4), st.floats(-1, 0.4), st.floats(0.6, 2), st.floats(0.6, 2)).map(
        lambda v: View(*v)
    ),
    corners=st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
def test_a_box_of_the_photo_keeps_its_order_and_lies_within(view: View, corners: list[float]) -> None:
    kind = answer_kind(BOXES)
    assert kind is not None
    left, right = sorted(corners[:2])
    top, bottom = sorted(corners[2:])
    row = np.array([[left, top, right, bottom, 0.8, 0]])
    found = kind.of_photo(BOXES, row, view)[0]
    assert (found[:4] >= 0).all()
    assert (found[:4] <= 1).all()
    assert (found[:2] <= found[2:4]).all()
    np.testing.assert_allclose(kind.of_photo(BOXES, row, WHOLE)[0], row[0])
    seen_width, seen_height = view.right - view.left, view.bottom - view.top
    expected = np.clip([view.left + seen_width * left, view.top + seen_height * top], 0, 1)
    if found[4]:
        np.testing.assert_allclose(found[:2], expected)


@pytest.mark.parametrize("fit", FITS)
def test_a_mask_covers_all_of_the_photo(fit: str) -> None:
    picture = np.zeros((48, 60, 3), np.uint8)
    picture[12:36, 15:45] = 255  # the middle half
    tensor, view = seen_by(fit, picture)
    kind = answer_kind(MASK)
    assert kind is not None
    mask = kind.of_photo(MASK, (tensor[..., 0] > 127).astype(np.uint8), view)
    rows, columns = mask.shape
    assert columns / rows == pytest.approx(60 / 48 if fit != "stretch" else 1, rel=0.05)
    middle = mask[int(0.3 * rows) : int(0.7 * rows), int(0.3 * columns) : int(0.7 * columns)]
    assert middle.all()
    assert not mask[: int(0.2 * rows)].any()
    assert not mask[:, : int(0.2 * columns)].any()
    assert mask.mean() == pytest.approx(0.25, abs=0.04)


@settings(deadline=None)
@given(st.integers(1, 60_000), st.integers(1, 60_000))
def test_the_mask_of_an_extreme_photo_stays_small(columns: int, rows: int) -> None:
    wanted = Wanted(8, 8, Preprocess(fit="crop", resize=16), (columns, rows))
    kind = answer_kind(MASK)
    assert kind is not None
    mask = kind.of_photo(MASK, np.ones((8, 8), np.uint8), wanted.view)
    assert 1 <= mask.size <= 2 * 4 * 64


def declared(fit: dict[str, Any]) -> TensorSpec:
    return TensorSpec(
        name="photo", dtype="uint8", shape=("batch", 4, 4, 3), content="image", preprocess=Preprocess(**fit)
    )


class Letterboxed(Things):
    inputs = (declared({"fit": "letterbox"}),)
    variants = (FP32, Things.variants[1])


class Cropped(Ground):
    inputs = (declared({"fit": "crop"}),)


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(packed_graph(Letterboxed(), (DETECTOR, DETECTOR), tmp_path_factory.mktemp("things"))) as server:
        yield server


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(packed_graph(Cropped(), (SEGMENTER,), tmp_path_factory.mktemp("masks"))) as server:
        yield server


def file_of(picture: Array) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    return stream.getvalue()


def test_predict_answers_about_the_photo_and_the_protocol_about_the_frame(things: LiveServer) -> None:
    """A photo twice as wide as high lies in the middle two rows of the frame of four."""
    wide = np.zeros((2, 4, 3), np.uint8)
    wide[0, 0, 0] = 255
    answers = answers_of_all_ports(things, {"photo": file_of(wide)})
    frame = [0, 0, 0.5, 0.75, 1, 0]  # the box of the pixel in row 1 and column 0
    for port, answered in answers.items():
        expected = [0, 0, 0.5, 1, 1, 0] if port == "predict" else frame
        np.testing.assert_allclose(answered["things"][0, 0], expected, atol=1e-6, err_msg=port)
        assert not answered["things"][0, 1:].any()
    found = things.client.post("/predict", files={"photo": ("a.png", file_of(wide))}).json()["found"]["things"]
    assert found == [[{"class": "red", "score": 1.0, "box": [0.0, 0.0, 0.5, 1.0]}]]
    tall = np.ascontiguousarray(wide.transpose(1, 0, 2))
    both = [("photo", ("a.png", file_of(one))) for one in (wide, tall)]
    rows = things.client.post("/predict", files=both).json()["found"]["things"]
    assert [row[0]["box"] for row in rows] == [[0.0, 0.0, 0.5, 1.0], [0.0, 0.0, 1.0, 0.5]]


def test_numbers_are_the_frame_itself(things: LiveServer) -> None:
    pixels = np.zeros((1, 4, 4, 3), np.uint8)
    pixels[0, 1, 0, 0] = 255
    answered = things.client.post("/predict", json={"photo": pixels.tolist()}).json()
    assert answered["found"]["things"][0][0]["box"] == pytest.approx([0, 0, 0.5, 0.75])


def test_masks_of_cropped_photos_have_the_shape_of_each_photo(masks: LiveServer) -> None:
    wide = np.zeros((4, 8, 3), np.uint8)
    wide[:, 4:, 0] = 255
    square = np.full((4, 4, 3), (0, 0, 255), np.uint8)
    both = [("photo", ("a.png", file_of(one))) for one in (wide, square)]
    first, second = masks.client.post("/predict", files=both).json()["outputs"]["ground"]
    assert first == [[0, 0, 0, 0, 1, 1, 0, 0]] * 4, "what was not seen is of class 0"
    assert second == [[2] * 4] * 4
    headers = {"content-type": "image/png", "accept": "image/png"}
    png = masks.client.post("/predict", content=file_of(wide), headers=headers)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png.content))), first)
