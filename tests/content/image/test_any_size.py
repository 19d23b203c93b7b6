"""Pictures of any size: how large their tensors are, and what is too large, told before a pixel is decoded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torchvision.transforms import v2

from lading.budget import Budget
from lading.content import check_contents, decode_rows
from lading.content.image import as_tensor
from lading.deploy.decode_reference import reference_tensor
from lading.errors import BodyTooLargeError, InputShapeError, SpecError
from lading.preprocess import Preprocess
from lading.spec import TensorSpec
from tests.given.content_round_trip import check_round_trip
from tests.given.spots import LEVELS, picture


def any_size(dtype: Any = "uint8", **fields: Any) -> TensorSpec:
    how = Preprocess(fit="keep", **fields)
    sides = ("height", "width")
    shape = (*sides, how.channels) if how.layout == "NHWC" else (how.channels, *sides)
    return TensorSpec(name="x", dtype=dtype, shape=("batch", *shape), content="image", preprocess=how)


@st.composite
def declarations(draw: st.DrawFn) -> TensorSpec:
    longest = draw(st.integers(20, 60))
    antialias = draw(st.booleans())
    sharp = st.sampled_from(["bilinear", "bicubic", "lanczos"] if antialias else ["bilinear", "nearest", "bicubic"])
    return any_size(
        shortest=draw(st.none() | st.integers(1, longest)),
        longest=longest,
        multiple=draw(st.sampled_from([1, 4, 8, 7])),
        layout=draw(st.sampled_from(["NHWC", "NCHW"])),
        interpolation=draw(sharp),
        antialias=antialias,
        reduced=antialias and draw(st.booleans()),
        exif=draw(st.booleans()),
    )


@settings(max_examples=120, deadline=None)
@given(spec=declarations(), data=st.data())
def test_a_picture_becomes_what_a_plain_reader_makes_of_it(spec: TensorSpec, data: st.DataObject) -> None:
    how = spec.preprocess
    assert how is not None
    columns, rows = data.draw(st.integers(1, how.longest)), data.draw(st.integers(1, how.longest))
    orientation = data.draw(st.integers(1, 8))
    file = picture(columns, rows, 0, "PNG", orientation=orientation)
    got, wanted = as_tensor(file, spec), reference_tensor(file, spec)
    assert got.shape == wanted.shape
    if not how.reduced:
        assert np.abs(got.astype(int) - wanted.astype(int)).max() <= LEVELS
    height, width = (got.shape[axis - 1] for axis in how.axes())
    assert how.sizes(height, width) is None
    assert height * width <= how.most_pixels


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 200), st.integers(0, 300))
def test_the_sizes_are_those_of_torchvision(columns: int, rows: int, shortest: int, more: int) -> None:
    how = Preprocess(fit="keep", shortest=shortest, longest=shortest + more)
    wide, tall = how.resized(columns, rows)
    assert min(wide, tall) >= 1
    assert max(wide, tall) <= how.longest
    if more and min(columns, rows) * how.longest // max(columns, rows):  # torchvision makes no empty picture either
        resized = v2.Resize(shortest, max_size=how.longest)(torch.zeros(1, rows, columns))
        # Rounded twice there, where the long side is the limit.
        assert np.abs(np.subtract(resized.shape[1:], (tall, wide))).max() <= 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_of_its_own_size_keeps_every_pixel_and_gets_margins_for_the_multiple(kind: str) -> None:
    spec = any_size(longest=64, multiple=16, fill=(9, 8, 7))
    plain = any_size(longest=64)
    file = picture(40, 23, 1, kind)
    whole, framed = as_tensor(file, plain), as_tensor(file, spec)
    assert whole.shape == (23, 40, 3)
    assert framed.shape == (32, 48, 3)
    np.testing.assert_array_equal(framed[:23, :40], whole)
    assert (framed[23:] == (9, 8, 7)).all()
    assert (framed[:, 40:] == (9, 8, 7)).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_picture_beyond_the_bound_is_refused_before_it_is_decoded(kind: str, orientation: int) -> None:
    whole = picture(65, 20, 1, kind, orientation=orientation)
    spec = any_size(longest=64)
    middle = len(whole) // 2
    for file in (whole, whole[:middle] + bytes(20) + whole[middle + 20 :]):  # pixels that cannot be decoded
        with pytest.raises(BodyTooLargeError, match=r"the picture has (65 x 20|20 x 65) pixels; at most 64 on a side"):
            as_tensor(file, spec)
    assert max(as_tensor(whole, any_size(shortest=32, longest=64)).shape) == 64


def test_memory_is_reckoned_for_the_size_that_the_picture_gets() -> None:
    file = picture(60, 60, 1, "PNG")
    larger = any_size(shortest=4000, longest=4000)
    with pytest.raises(BodyTooLargeError, match="decoding the picture takes"):
        as_tensor(file, larger, Budget(decode_bytes=16_000_000))
    assert as_tensor(file, any_size(longest=60), Budget(decode_bytes=16_000_000)).shape == (60, 60, 3)


def test_one_request_has_one_size_and_no_more_pixels_than_the_largest_picture() -> None:
    spec = any_size(longest=64)
    small, other = picture(32, 32, 1), picture(32, 33, 1)
    assert decode_rows(spec, [small] * 4).shape == (4, 32, 32, 3)
    with pytest.raises(BodyTooLargeError, match="picture 4: one request may have 4 of 32 x 32 pixels"):
        decode_rows(spec, [small] * 5)
    with pytest.raises(InputShapeError, match="picture 1: it has another size than those before"):
        decode_rows(spec, [small, other])


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"shortest": 900, "longest": 800}, "shortest=900 is from 1 to longest=800"),
        ({"longest": 0}, "longest=0 is from 1"),
        ({"longest": 20_000}, "longest=20000 is from 1 to 16384"),
        ({"multiple": 0}, "multiple=0 from 1 to longest"),
        ({"fit": "crop", "multiple": 32}, "shortest, longest and multiple are for fit='keep'"),
        ({"fill": (1, 1, 1)}, "only a letterbox has margins"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Preprocess(**({"fit": "keep"} | fields))


@pytest.mark.parametrize(
    ("how", "shape", "reason"),
    [
        (None, ("batch", "height", "width", 3), "pictures of any size need preprocess=Preprocess"),
        (Preprocess(fit="keep"), ("batch", 32, 32, 3), "needs names for height and width"),
        (Preprocess(fit="keep"), ("batch", 32, "width", 3), "needs two names for height and width"),
        (Preprocess(fit="keep"), ("batch", "side", "side", 3), "needs two names for height and width"),
        (Preprocess(fit="crop"), ("batch", "height", "width", 3), "an image needs a fixed height and width"),
    ],
)
def test_shape_and_declaration_must_agree(how: Preprocess | None, shape: tuple[int | str, ...], reason: str) -> None:
    with pytest.raises(SpecError, match=reason):
        check_contents([TensorSpec(name="x", dtype="uint8", shape=shape, content="image", preprocess=how)])


def test_examples_are_encoded_drawn_and_described() -> None:
    check_round_trip(any_size("float32", longest=700, layout="NCHW", scale=1 / 255))
