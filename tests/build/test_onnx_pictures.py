"""What ``lading pack --image`` says becomes the declaration of an input."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from lading.build.onnx_declared import Declared, Given
from lading.build.onnx_pictures import read_words
from lading.build.onnx_reader import read_bare
from lading.errors import SpecError
from lading.preprocess import PRESETS, Preprocess
from lading.tensors.checks import check_inputs
from tests.given.onnx_text import parse, save

NORMAL = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def graph(shape: str = "N, 3, 224, 224", kind: str = "float") -> onnx.ModelProto:
    body = "x = Cast <to = 1> (input) m = ReduceMean <axes = [1, 2, 3], keepdims = 0> (x) y = Unsqueeze <axes=[1]> (m)"
    return parse(body, f"{kind}[{shape}] input", "float[N, 1] y", opset=11)


def declared(folder: Path, words: str, shape: str = "N, 3, 224, 224", kind: str = "float") -> Preprocess | None:
    (spec,) = read_bare(
        save(graph(shape, kind), folder / "m.onnx"), declared=Declared(pictures=(read_words(words),))
    ).inputs
    assert spec.content == "image"
    return spec.preprocess


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("imagenet", {"fit": "crop", "resize": 256, "scale": 1 / 255, "mean": NORMAL[0], "std": NORMAL[1]}),
        ("input=imagenet,bicubic,resize=232", {**PRESETS["imagenet"], "interpolation": "bicubic", "resize": 232}),
        ("crop,scale=1/255,mean=imagenet", {"fit": "crop", "scale": 1 / 255, "mean": NORMAL[0], "std": NORMAL[1]}),
        ("mean=127.5,std=127.5,BGR,exif=no", {"mean": (127.5,), "std": (127.5,), "colours": "BGR", "exif": False}),
        ("letterbox,fill=114,antialias=no", {"fit": "letterbox", "fill": (114, 114, 114), "antialias": False}),
        ("stretch,reduced=yes", {"reduced": True}),
    ],
)
def test_words_become_a_declaration(words: str, expected: dict[str, object], tmp_path: Path) -> None:
    fields = {"reduced": False, "layout": "NCHW", **expected}
    assert declared(tmp_path, words) == Preprocess(**fields)


def test_layout_and_grey_come_from_the_shape(tmp_path: Path) -> None:
    assert str(declared(tmp_path, "stretch", "N, 1, 28, 28")).endswith("grey,exif=yes,NCHW")
    assert str(declared(tmp_path, "stretch", "N, 28, 28, 3")).endswith("RGB,exif=yes,NHWC")


def test_a_graph_of_any_size_gets_one(tmp_path: Path) -> None:
    model = save(graph("N, 3, H, W"), tmp_path / "m.onnx")
    bare = read_bare(model, declared=Declared(pictures=(read_words("imagenet,size=96x64"),)))
    assert bare.inputs[0].shape == ("batch", 3, 96, 64)
    with pytest.raises(SpecError, match=r"'input' has no fixed height and width, .*: add size=224"):
        read_bare(model, declared=Declared(pictures=(read_words("imagenet"),)))


GREY = "w = Constant <value = float[1, 3, 1, 1] {0.5, 0.3, 0.2}> ()"
OF_ONE = "first = Constant <value = int64[1] {0}> () four = Unsqueeze (input, first) c = Conv (four, w)"


@pytest.mark.parametrize(
    ("body", "taken", "given"),
    [
        (f"{GREY} y = Conv (input, w)", "N, 3, H, W", "N, 1, H, W"),
        (f"{GREY} {OF_ONE} y = Squeeze (c, first)", "3, H, W", "1, H, W"),
    ],
    ids=["of a batch", "of one picture"],
)
def test_a_graph_of_any_size_keeps_it(body: str, taken: str, given: str, tmp_path: Path) -> None:
    file = save(parse(body, f"float[{taken}] input", f"float[{given}] y", opset=13), tmp_path / "m.onnx")
    bare = read_bare(
        file, declared=Declared(pictures=(read_words("keep,shortest=64,longest=128,multiple=32,scale=1/255"),))
    )
    (spec,) = bare.inputs
    assert [isinstance(dim, str) for dim in spec.shape] == [True, False, True, True]
    assert str(spec.preprocess).startswith("keep,shortest=64,longest=128,multiple=32,fill=0:0:0")
    check_inputs(bare.inputs, bare.trial.feed(1))


def test_an_original_name_is_taken(tmp_path: Path) -> None:
    model = graph()
    model.graph.input[0].name = model.graph.node[0].input[0] = "input:0"
    bare = read_bare(save(model, tmp_path / "m.onnx"), declared=Declared(pictures=(read_words("input:0=imagenet"),)))
    assert [(spec.name, spec.content) for spec in bare.inputs] == [("input_0", "image")]


@pytest.mark.parametrize(
    ("words", "shape", "message"),
    [
        ("imagnet", "N, 3, 8, 8", "the word 'imagnet' is unknown: write NAME=WORDS"),
        ("photo=imagenet", "N, 3, 8, 8", "there is no input 'photo'; the inputs are input"),
        ("imagenet", "N, 5, 8, 8", "no input has the dims of pictures, with 1 or 3 channels"),
        ("resize=many", "N, 3, 8, 8", "'resize=many' has no value that resize can have"),
        ("crop,resize=4", "N, 3, 8, 8", "resize=4, and a crop of 8 x 8 does not fit"),
        ("mean=0.5:0.5", "N, 3, 8, 8", "needs 1 number, or 3"),
        ("letterbox,fill=300", "N, 3, 8, 8", "red, green and blue from 0 to 255"),
        ("imagenet,size=16", "N, 3, 8, 8", "'input' takes pictures of 8 pixels, not size=16"),
        ("scale=1/0", "N, 3, 8, 8", "'scale=1/0' has no value"),
    ],
)
def test_words_that_cannot_be_are_refused(words: str, shape: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=message):
        declared(tmp_path, words, shape)


def test_integers_cannot_be_normalised(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="scale, mean and std make floats, and the tensor is uint8"):
        declared(tmp_path, "imagenet", "N, 3, 8, 8", "uint8")


def test_a_word_with_a_value_is_no_name() -> None:
    assert read_words("resize=256,crop") == Given(None, ("resize=256", "crop"))
    assert read_words("x=crop") == Given("x", ("crop",))
