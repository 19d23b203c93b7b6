"""Pictures for the inputs of a bare graph: what ``lading pack --image`` says, as a declaration of the tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

import onnx
from pydantic import ValidationError

from lading.build.batch_axis import real_inputs, shape_of
from lading.build.onnx_declared import Given, find
from lading.build.onnx_trial import Trial
from lading.content import check_contents
from lading.errors import SpecError
from lading.preprocess import PRESETS, Preprocess, preset
from lading.spec import TensorSpec
from lading.tensors.lengths import Lengths

FORM = (
    "write NAME=WORDS, or WORDS alone if the graph has one such input: a preset "
    f"({', '.join(PRESETS)}), and others after it, such as crop,resize=256,bicubic,antialias=no,BGR,mean=0.5:0.5:0.5"
)
_DIMS = 4


def read_words(given: str) -> Given:
    """Split the words of ``--image``. They are understood once the shape of the tensor is known."""
    words = [word.strip() for word in given.split(",")]
    name, equals, rest = words[0].partition("=")
    if not equals or name in _VALUES:
        return Given(None, tuple(words))
    return Given(name, (rest, *words[1:]))


def fix_sizes(model: onnx.ModelProto, names: Mapping[str, str], pictures: Sequence[Given]) -> None:
    """Set the height and width of inputs without fixed ones to ``size``, in place.

    Args:
        model: the graph.
        names: new names of tensors by the old ones.
        pictures: what was asked for.

    Raises:
        SpecError: a word is unknown, or no input fits.
    """
    values = {value.name: value for value in real_inputs(model.graph)}
    for picture in pictures:
        name = _find({name: shape_of(value) or () for name, value in values.items()}, names, picture)
        size = _fields(picture.words, 0).get("size")
        dims = values[name].type.tensor_type.shape.dim
        if size is None or len(dims) not in {_DIMS, _DIMS - 1}:
            continue
        batch = len(dims) == _DIMS
        first = batch + (1 if dims[batch].dim_value in {1, 3} else 0)
        for dim, pixels in zip(dims[first : first + 2], size, strict=True):
            if dim.dim_value not in {0, pixels}:
                raise SpecError(f"--image: {name!r} takes pictures of {dim.dim_value} pixels, not size={pixels}")
            dim.dim_value = pixels


def with_pictures(
    inputs: Sequence[TensorSpec], names: Mapping[str, str], pictures: Sequence[Given]
) -> tuple[TensorSpec, ...]:
    """The inputs, with the content ``image`` and its preprocessing where asked for.

    Raises:
        SpecError: a word is unknown, no input fits, or the words contradict each other or the tensor.
    """
    specs = {spec.name: spec for spec in inputs}
    for picture in pictures:
        name = _find({spec.name: spec.shape for spec in inputs}, names, picture)
        specs[name] = _declared(specs[name], picture)
    check_contents(tuple(specs.values()))
    return tuple(specs.values())


def of_allowed_size(trial: Trial, inputs: Sequence[TensorSpec]) -> Trial:
    """The trial with made-up pictures of a size that the declaration allows, where it follows from the picture."""
    lengths = Lengths(tuple(inputs))
    if not lengths.pictures or trial.real is not None:
        return trial
    return replace(trial, sizes={**trial.sizes, **lengths.measured()[0]})


def _find(shapes: Mapping[str, Sequence[Any]], names: Mapping[str, str], picture: Given) -> str:
    def fits(_: str, shape: Sequence[Any]) -> bool:
        # A graph of one picture has no batch yet; it gets one.
        return len(shape) in {_DIMS, _DIMS - 1} and bool({shape[-3], shape[-1]} & {1, 3})

    return find("--image", shapes, names, picture, fits=fits, wanted="the dims of pictures, with 1 or 3 channels")


def _declared(spec: TensorSpec, picture: Given) -> TensorSpec:
    shape = spec.shape
    channels_first = len(shape) == _DIMS and shape[1] in {1, 3} and shape[3] not in {1, 3}
    sides = [dim for dim in (shape[2:] if channels_first else shape[1:3]) if isinstance(dim, int)]
    fields = _fields(picture.words, max(sides, default=1))
    if len(shape) == _DIMS and len(sides) < 2 and fields.get("fit") != "keep":
        raise SpecError(
            f"--image: {spec.name!r} has no fixed height and width, {list(shape)}: add size=224, or "
            "keep,shortest=800,longest=1333 for pictures of any size"
        )
    fields.pop("size", None)
    grey = len(shape) == _DIMS and shape[1 if channels_first else 3] == 1
    layout = {"layout": "NCHW" if channels_first else "NHWC"}
    colours = {"colours": "grey"} if grey else {}
    # Whoever trained the graph elsewhere has most likely resized whole pictures.
    whole = {"reduced": False}
    try:
        how = Preprocess(**(layout | colours | whole | fields))
    except ValidationError as error:
        reason = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise SpecError(f"--image of {spec.name!r}: {reason}") from None
    return spec.model_copy(update={"content": "image", "preprocess": how})


def _fields(words: Sequence[str], side: int) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals and word in PRESETS:
            fields |= preset(word, side)
        elif not equals and word in _CHOICES:
            fields[_CHOICES[word]] = word
        elif not equals and word in _SWITCHES:
            fields[word] = True
        elif key in {"mean", "std"} and value in PRESETS:
            fields |= {name: PRESETS[value][name] for name in ("mean", "std") if name in PRESETS[value]}
        elif equals and key in _VALUES:
            try:
                fields[key] = _VALUES[key](value)
            except ValueError:
                raise SpecError(f"--image: {word!r} has no value that {key} can have: {FORM}") from None
        elif word:
            raise SpecError(f"--image: the word {word!r} is unknown: {FORM}")
    return fields


def _switch(value: str) -> bool:
    if value not in {"yes", "no"}:
        raise ValueError(value)
    return value == "yes"


def _number(value: str) -> float:
    above, slash, below = value.partition("/")
    divisor = float(below) if slash else 1.0
    if divisor == 0:
        raise ValueError(value)
    return float(above) / divisor


def _numbers(value: str) -> tuple[float, ...]:
    return tuple(_number(one) for one in value.split(":"))


def _colour(value: str) -> tuple[int, ...]:
    levels = tuple(int(one) for one in value.split(":"))
    return levels * 3 if len(levels) == 1 else levels


def _size(value: str) -> tuple[int, int]:
    height, times, width = value.partition("x")
    size = int(height), int(width if times else height)
    if min(size) < 1:
        raise ValueError(value)
    return size


_CHOICES = {
    word: name
    for name in ("fit", "interpolation", "colours", "layout")
    for word in get_args(Preprocess.model_fields[name].annotation)
}
"""The field of a word that stands alone."""
_SWITCHES = ("antialias", "reduced", "exif")
_VALUES: Mapping[str, Callable[[str], Any]] = {
    **dict.fromkeys(("resize", "shortest", "longest", "multiple"), int),
    "fill": _colour,
    "scale": _number,
    "mean": _numbers,
    "std": _numbers,
    "size": _size,
    **dict.fromkeys(_SWITCHES, _switch),
    **dict.fromkeys(("fit", "interpolation", "colours", "layout"), str),
}
"""What reads the value of a word with one."""
