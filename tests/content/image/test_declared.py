"""A served picture is what was declared: compared with a reader that shares no code with the server."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn.functional import interpolate
from torchvision import transforms

from lading.budget import Budget
from lading.content.image import as_tensor, decode_image
from lading.deploy.decode_reference import reference_tensor
from lading.errors import BodyTooLargeError, SpecError
from lading.preprocess import Preprocess, preset
from lading.spec import TensorSpec
from tests.given import hostile_pictures as hostile
from tests.given.content_round_trip import check_round_trip
from tests.given.spots import LEVELS, picture


def declared(how: Preprocess, height: int, width: int, dtype: Any = "uint8") -> TensorSpec:
    shape = (height, width, how.channels) if how.layout == "NHWC" else (how.channels, height, width)
    return TensorSpec(name="x", dtype=dtype, shape=("batch", *shape), content="image", preprocess=how)


@st.composite
def declarations(draw: st.DrawFn) -> tuple[Preprocess, int, int]:
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    fit = draw(st.sampled_from(["stretch", "crop", "letterbox"]))
    interpolation = draw(st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos"]))
    how = Preprocess(
        fit=fit,
        resize=max(height, width) + draw(st.integers(0, 12)) if fit == "crop" and draw(st.booleans()) else None,
        fill=(114, 0, 255) if fit == "letterbox" else (0, 0, 0),
        interpolation=interpolation,
        antialias=interpolation == "lanczos" or (interpolation != "nearest" and draw(st.booleans())),
        reduced=False,
        colours=draw(st.sampled_from(["RGB", "BGR", "grey"])),
        exif=draw(st.booleans()),
        layout=draw(st.sampled_from(["NHWC", "NCHW"])),
    )
    return how, height, width


@settings(max_examples=150)
@given(
    declarations(),
    st.tuples(st.integers(1, 120), st.integers(1, 120)),
    st.sampled_from([("JPEG", "RGB"), ("JPEG", "L"), ("PNG", "RGB"), ("PNG", "RGBA"), ("WEBP", "RGB")]),
    st.integers(1, 8),
    st.integers(0, 100),
)
def test_every_declaration_is_obeyed(
    wanted: tuple[Preprocess, int, int], size: tuple[int, int], kind: tuple[str, str], orientation: int, seed: int
) -> None:
    spec = declared(*wanted)
    data = picture(*size, seed, kind[0], orientation=orientation, mode=kind[1])
    served, expected = as_tensor(data, spec).astype(int), reference_tensor(data, spec).astype(int)
    assert served.shape == spec.example_shape
    assert np.abs(served - expected).max() <= LEVELS


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", ["imagenet", "clip", "yolo", "inception"])
def test_floats_are_normalised_as_declared(name: str, dtype: str) -> None:
    how = Preprocess(layout="NCHW", **preset(name, 64))
    spec = declared(how, 64, 64, dtype)
    data = picture(150, 90, 1, "JPEG", orientation=6)
    served, expected = as_tensor(data, spec), reference_tensor(data, spec)
    assert served.dtype == np.dtype(dtype)
    step = float(how.scale / min(how.std))
    assert np.abs(served.astype(float) - expected.astype(float)).max() <= 1.1 * step


def test_the_imagenet_preset_is_torchvisions() -> None:
    data = picture(500, 333, 2, "JPEG")
    theirs = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )(Image.open(io.BytesIO(data)))
    spec = declared(Preprocess(layout="NCHW", **preset("imagenet", 224)), 224, 224, "float32")
    assert np.abs(as_tensor(data, spec) - theirs.numpy()).max() <= 1.1 / 255 / 0.224


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_without_antialiasing_it_is_torchs_interpolate(interpolation: Any) -> None:
    data = picture(130, 70, 3)
    pixels = torch.from_numpy(np.asarray(Image.open(io.BytesIO(data))).copy()).permute(2, 0, 1)[None].double()
    theirs = interpolate(pixels, (24, 31), mode=interpolation, align_corners=False)[0].round().clamp(0, 255)
    how = Preprocess(interpolation=interpolation, antialias=False, reduced=False, layout="NCHW")
    assert np.abs(as_tensor(data, declared(how, 24, 31)).astype(float) - theirs.numpy()).max() <= 1


@pytest.mark.parametrize("fit", ["stretch", "crop", "letterbox"])
@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_reduced_picture_is_nearly_the_whole_one(fit: Any, orientation: int, kind: str) -> None:
    data = picture(1400, 1001, 4, kind, orientation=orientation, grain=60)
    reduced, whole = (
        as_tensor(data, declared(Preprocess(fit=fit, reduced=one), 64, 48)).astype(int) for one in (True, False)
    )
    # A place that is wrong by one pixel costs 20 levels here. libjpeg's reduced scales are other filters.
    assert 0 < np.abs(reduced - whole).mean() < (5 if kind == "JPEG" else 1)


def test_what_is_declared_by_default_is_what_is_done_without() -> None:
    data = picture(700, 500, 5, "JPEG", orientation=6)
    spec = TensorSpec(name="x", dtype="uint8", shape=("batch", 32, 24, 3), content="image")
    said = as_tensor(data, spec.model_copy(update={"preprocess": Preprocess()}))
    assert np.array_equal(as_tensor(data, spec), said)
    assert np.array_equal(decode_image(data, height=32, width=24), said)


@pytest.mark.parametrize(
    "how",
    [
        Preprocess(layout="NCHW", **preset("imagenet", 16)),
        Preprocess(layout="NCHW", **preset("yolo", 16)),
        Preprocess(layout="NCHW", fit="crop", resize=31, colours="BGR", scale=1 / 255),
        Preprocess(colours="grey"),
    ],
)
def test_a_declared_picture_survives_the_round_trip(how: Preprocess) -> None:
    check_round_trip(declared(how, 16, 16, "float32" if how.normalises else "uint8"))


def test_a_tensor_of_numbers_holds_no_picture() -> None:
    with pytest.raises(SpecError, match="tensor 'x' cannot hold a picture: its content is None"):
        as_tensor(picture(8, 8, 0), TensorSpec(name="x", dtype="uint8", shape=("batch", 8, 8, 3)))


def test_a_photo_of_a_phone_is_resized_whole_within_the_default() -> None:
    how = Preprocess(layout="NCHW", **preset("imagenet", 224))
    data = hostile.flat_jpeg(4032, 3024)
    assert as_tensor(data, declared(how, 224, 224, "float32"), Budget(decode_bytes=64_000_000)).shape == (3, 224, 224)


def test_a_whole_picture_that_does_not_fit_is_refused_before_it_is_decoded() -> None:
    how = Preprocess(layout="NCHW", **preset("imagenet", 224))
    spec = declared(how, 224, 224, "float32")
    with pytest.raises(BodyTooLargeError, match=r"takes \d+ MB; at most 64 MB are accepted"):
        as_tensor(hostile.flat_jpeg(8064, 6048), spec, Budget(decode_bytes=64_000_000))
