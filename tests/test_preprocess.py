"""What a declaration of preprocessing accepts, and what it says of itself."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from lading.content import check_contents
from lading.errors import SpecError
from lading.preprocess import DEFAULT, PRESETS, Preprocess, preset
from lading.spec import TensorSpec


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"resize": 256}, "resize=256 is the short side in pixels before a crop, and fit is 'stretch'"),
        ({"fit": "letterbox", "fill": (0, 256, 0)}, r"fill=\(0, 256, 0\) is a colour: red, green and blue from 0 to"),
        ({"fill": (1, 1, 1)}, "has no effect with fit='stretch': only a letterbox has margins"),
        ({"interpolation": "nearest"}, "takes single pixels: set antialias=False"),
        ({"interpolation": "lanczos", "antialias": False, "reduced": False}, "lanczos' is always antialiased"),
        ({"antialias": False}, "a reduced picture has others: set reduced=False"),
        ({"mean": (0.5, 0.5)}, r"mean=\(0.5, 0.5\) needs 1 number, or 3: one for each channel"),
        ({"std": (1.0, 1.0, 1.0), "colours": "grey"}, "std=.* needs 1 number, or 1"),
        ({"std": (0.0,)}, "the std above 0"),
        ({"scale": 0.0}, "the scale is not 0"),
        ({"fit": "squash"}, "'stretch', 'crop', 'letterbox' or 'keep'"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        Preprocess(**fields)


def tensor(dtype: Any = "float32", shape: Any = ("batch", 3, 8, 8), **fields: Any) -> TensorSpec:
    return TensorSpec(name="x", dtype=dtype, shape=shape, content="image", preprocess=Preprocess(**fields))


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (tensor(fit="crop", resize=7, layout="NCHW"), "resize=7, and a crop of 8 x 8 does not fit: set resize to at l"),
        (tensor(), r"NHWC in RGB has shape \(batch, height, width, 3\), not \('batch', 3, 8, 8\)"),
        (tensor(layout="NCHW", colours="grey"), r"NCHW in grey has shape \(batch, 1, height, width\)"),
        (tensor("uint8", layout="NCHW", scale=0.5), "scale, mean and std make floats, and the tensor is uint8"),
        (tensor("int32", layout="NCHW"), "pictures become uint8 or floats, not int32"),
        (tensor("float16", layout="NCHW", scale=1000.0), "make numbers that are too large for float16"),
        (tensor(shape=("batch", 3, "h", 8), layout="NCHW"), "needs a fixed height and width"),
    ],
)
def test_a_declaration_that_does_not_fit_its_tensor_is_refused(spec: TensorSpec, sentence: str) -> None:
    with pytest.raises(SpecError, match=f"tensor 'x': .*{sentence}"):
        check_contents([spec])


def test_preprocessing_is_for_pictures_only() -> None:
    with pytest.raises(ValidationError, match="tensor 'x': preprocess is for pictures: set content='image'"):
        TensorSpec(name="x", dtype="float32", shape=("batch", 3, 8, 8), preprocess=DEFAULT)


def test_floats_without_a_declaration_are_told_what_they_need() -> None:
    spec = TensorSpec(name="x", dtype="float32", shape=("batch", 3, 8, 8), content="image")
    with pytest.raises(SpecError, match="floats and other layouts need preprocess"):
        check_contents([spec])


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_declaration(name: str) -> None:
    assert not Preprocess(**preset(name, 224)).reduced


@pytest.mark.parametrize(("side", "resize"), [(224, 256), (299, 342), (384, 439)])
def test_the_imagenet_preset_keeps_seven_eighths(side: int, resize: int) -> None:
    assert preset("imagenet", side)["resize"] == resize


def test_a_manifest_of_before_means_what_it_meant() -> None:
    old = {"name": "x", "dtype": "uint8", "shape": ["batch", 8, 8, 3], "content": "image"}
    spec = TensorSpec.model_validate(old)
    check_contents([spec])
    assert spec.preprocess is None
    assert str(DEFAULT) == "stretch,bilinear,antialias=yes,reduced=yes,RGB,exif=yes,NHWC"


def test_a_declaration_travels_through_json() -> None:
    spec = tensor(layout="NCHW", **preset("clip", 8))
    assert TensorSpec.model_validate_json(spec.model_dump_json()) == spec
