"""What ``lading pack`` is told about the tensors of a bare graph: each option is ``[NAME=]WHAT[,WORDS]``.

A graph says dtypes and dims, and not what its numbers stand for: a picture, a recording, a text, or a kind of answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import onnx

from lading.answers import answer_kinds, check_answers
from lading.build.batch_axis import real_inputs
from lading.content import check_contents
from lading.errors import SpecError
from lading.spec import TensorSpec

_FITS = get_args(TensorSpec.model_fields["fit"].annotation)
_AUDIO = (
    f"write [NAME=]RATE[,WORDS], such as 16000 or voice=16000,middle; the words are {', '.join(_FITS)} or samples=N"
)


@dataclass(frozen=True)
class Given:
    """One option: the name of a tensor, or ``None`` for the only one that fits, and the words."""

    name: str | None
    words: tuple[str, ...]


@dataclass(frozen=True)
class Declared:
    """All that the options say. A name may be the one in the file."""

    pictures: tuple[Given, ...] = ()
    recordings: tuple[Given, ...] = ()
    texts: tuple[Given, ...] = ()
    answers: tuple[Given, ...] = ()


def read_given(given: str) -> Given:
    """Split ``[NAME=]WHAT[,WORDS]``. The words are understood once the tensor is known."""
    what, *words = [word.strip() for word in given.split(",")]
    name, equals, rest = what.partition("=")
    return Given(name, (rest, *words)) if equals else Given(None, (what, *words))


def find(
    option: str,
    shapes: Mapping[str, Sequence[Any]],
    names: Mapping[str, str],
    given: Given,
    *,
    fits: Callable[[str, Sequence[Any]], bool],
    wanted: str,
    kind: str = "input",
) -> str:
    """The tensor that an option is about.

    Args:
        option: its name, for messages.
        shapes: of the tensors, by name.
        names: new names of tensors by those in the file.
        given: the option.
        fits: whether a tensor may be the one, by name and shape, if the option names none.
        wanted: what such a tensor has, as the end of a sentence.
        kind: ``input`` or ``output``.

    Raises:
        SpecError: there is no such tensor, or not exactly one that fits.
    """
    if given.name is not None:
        name = names.get(given.name, given.name)
        if name not in shapes:
            raise SpecError(f"{option}: there is no {kind} {given.name!r}; the {kind}s are {', '.join(shapes)}")
        return name
    fitting = [name for name, shape in shapes.items() if fits(name, shape)]
    if len(fitting) != 1:
        shown = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
        which = f"no {kind} has" if not fitting else f"{len(fitting)} {kind}s have"
        raise SpecError(f"{option}: {which} {wanted}; the {kind}s are {shown}: write NAME= in front of it")
    return fitting[0]


def fix_samples(model: onnx.ModelProto, names: Mapping[str, str], recordings: Sequence[Given]) -> None:
    """Set the length of inputs without a fixed one to ``samples``, in place.

    Raises:
        SpecError: a word is unknown, or no input fits.
    """
    values = {value.name: value for value in real_inputs(model.graph)}
    for given in recordings:
        samples = _audio_fields(given)[2]
        dims = {name: value.type.tensor_type.shape.dim for name, value in values.items()}
        name = _recording({n: [d.dim_value or d.dim_param for d in shape] for n, shape in dims.items()}, names, given)
        if samples is None or len(dims[name]) != 2:
            continue
        length = dims[name][1]
        if length.dim_value not in {0, samples}:
            raise SpecError(f"--audio: {name!r} takes {length.dim_value} samples, not samples={samples}")
        length.dim_value = samples


def with_recordings(
    inputs: Sequence[TensorSpec], names: Mapping[str, str], recordings: Sequence[Given]
) -> tuple[TensorSpec, ...]:
    """The inputs, with the content ``audio`` and a rate where asked for.

    Raises:
        SpecError: a word is unknown, no input fits, or the tensor cannot be a recording.
    """
    specs = {spec.name: spec for spec in inputs}
    for given in recordings:
        name = _recording({spec.name: spec.shape for spec in inputs}, names, given)
        rate, fit, _ = _audio_fields(given)
        shape = specs[name].shape
        if len(shape) == 2 and not isinstance(shape[1], int):
            raise SpecError(f"--audio: {name!r} has no fixed length, {list(shape)}: add samples={rate}")
        specs[name] = specs[name].model_copy(update={"content": "audio", "rate": rate, "fit": fit})
    check_contents(tuple(specs.values()))
    return tuple(specs.values())


def with_answers(
    outputs: Sequence[TensorSpec], names: Mapping[str, str], answers: Sequence[Given], labels: Sequence[str] | None
) -> tuple[TensorSpec, ...]:
    """The outputs, with their kind of answer where asked for. Boxes and masks take the labels as classes.

    Raises:
        SpecError: there is no such kind or output, or the tensor cannot be of the kind.
    """
    kinds = answer_kinds()
    specs = {spec.name: spec for spec in outputs}
    for given in answers:
        kind = given.words[0]
        if kind not in kinds or len(given.words) > 1:
            raise SpecError(
                f"--answer: there is no kind {','.join(given.words)!r}; the kinds are {', '.join(kinds)}: "
                "write [NAME=]KIND, such as features=embedding"
            )
        classes = tuple(labels) if labels is not None and kind in ("boxes", "mask") else None
        update = {"content": kind, "classes": classes}

        def fits(name: str, _: Sequence[Any], kind: str = kind, update: Mapping[str, Any] = update) -> bool:
            # With classes, so that only dtype and shape decide.
            told = {**update, "classes": update["classes"] or (("a",) if kind in ("boxes", "mask") else None)}
            return kinds[kind].problem(specs[name].model_copy(update=told)) is None

        shapes = {spec.name: (spec.dtype, *spec.shape) for spec in outputs}
        name = find("--answer", shapes, names, given, fits=fits, wanted=f"the dtype and shape of {kind}", kind="output")
        specs[name] = specs[name].model_copy(update=update)
        problem = kinds[kind].problem(specs[name])
        if problem is not None:
            missing = kind in ("boxes", "mask") and classes is None
            hint = "; give them with --labels, one name a line" if missing and "classes" in problem else ""
            raise SpecError(f"--answer of {name!r}: {problem}{hint}")
    check_answers(tuple(specs.values()))
    return tuple(specs.values())


def _recording(shapes: Mapping[str, Sequence[Any]], names: Mapping[str, str], given: Given) -> str:
    return find(
        "--audio", shapes, names, given, fits=lambda _, shape: len(shape) == 2, wanted="two dims, (batch, samples)"
    )


def _audio_fields(given: Given) -> tuple[int, str, int | None]:
    """Rate, fit, and number of samples."""
    rate, *words = given.words
    low, high = 1_000, 768_000
    if not rate.isdecimal() or not low <= int(rate) <= high:
        raise SpecError(f"--audio: {rate!r} is no rate from {low} to {high} samples a second: {_AUDIO}")
    fit, samples = _FITS[0], None
    for word in words:
        key, _, value = word.partition("=")
        if word in _FITS:
            fit = word
        elif key == "samples" and value.isdecimal() and int(value) > 0:
            samples = int(value)
        else:
            raise SpecError(f"--audio: the word {word!r} is unknown: {_AUDIO}")
    return int(rate), fit, samples
