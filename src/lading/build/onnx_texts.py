"""Texts for the token inputs of a bare graph: what ``lading pack --tokenizer`` says, as declarations of its tensors.

A graph of a transformer takes tokens, a mask of them, and sometimes token types. A request carries the text alone: the
server makes the tokens, fills shorter texts up, and makes the mask and the types.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from lading.build.batch_axis import real_inputs, shape_of
from lading.build.onnx_declared import Given, find
from lading.build.onnx_trial import Trial, run
from lading.content import check_contents
from lading.content.text.tokenizer import FileSays, keep, open_tokenizer, what_file_says
from lading.errors import SpecError, WrapError
from lading.spec import BATCH, Array, Padding, TensorSpec
from lading.tensor_spec import NAME

FORM = (
    "write [NAME=]FILE[,WORDS], such as tokenizer.json or query=tokenizer.json,max_length=128; the words are "
    "max_length=N, truncate=yes or no, and pad=N"
)
_INTEGERS = (onnx.TensorProto.INT64, onnx.TensorProto.INT32)
_NUMBERS = (*_INTEGERS, onnx.TensorProto.FLOAT, onnx.TensorProto.BOOL)
_TOKENS = "tokens"
_OFFSETS = (0, 1, 2)
"""Rows of a table of positions that no token has: RoBERTa counts from 2."""
_LEAST_POSITIONS = 8


@dataclass(frozen=True)
class TextInput:
    """One input of tokens, and those that the server fills in for it.

    Attributes:
        name: of the tokens.
        dim: that all of them share.
        masks, types: names of the others.
        tokenizer: of the text, by its hash.
        says: what the tokenizer's file says about padding and length.
        words: max_length, truncate and pad, where they were given.
        size: of the dim, where the graph takes no other.
    """

    name: str
    dim: str
    masks: tuple[str, ...]
    types: tuple[str, ...]
    tokenizer: str
    says: FileSays
    words: Mapping[str, int]
    size: int | None


def find_texts(model: onnx.ModelProto, names: Mapping[str, str], texts: Sequence[Given]) -> tuple[TextInput, ...]:
    """Find the tokens, masks and token types of a graph, and give those of one text the same dim, in place.

    Args:
        model: the graph.
        names: new names of tensors by those in the file.
        texts: what was asked for.

    Raises:
        SpecError: no input fits, a word is unknown, the tokenizer cannot be read, or an input is left that nobody can
            fill in.
    """
    return tuple(_find_text(model, names, given, alone=len(texts) == 1) for given in texts)


def _find_text(model: onnx.ModelProto, names: Mapping[str, str], given: Given, *, alone: bool) -> TextInput:
    file, words = _words(given)
    tokenizer = keep(file)
    shapes = {value.name: shape_of(value) or [] for value in real_inputs(model.graph)}
    kinds = {value.name: value.type.tensor_type.elem_type for value in real_inputs(model.graph)}
    tables = {name for name, shape in shapes.items() if len(shape) == 2 and kinds[name] in _NUMBERS}

    def is_tokens(name: str, shape: Sequence[Any]) -> bool:
        return (
            len(shape) == 2 and kinds[name] in _INTEGERS and not (_is_mask(name) or _is_types(name) or _is_place(name))
        )

    name = find("--tokenizer", shapes, names, given, fits=is_tokens, wanted="two dims of integers, (batch, tokens)")
    if name not in tables or kinds[name] not in _INTEGERS:
        raise SpecError(f"--tokenizer: {name!r} is {shapes[name]} and no integers of (batch, tokens)")
    length = shapes[name][1]
    others = {other for other in tables - {name} if alone or shapes[other][1] == length}
    masks = tuple(sorted(other for other in others if _is_mask(other)))
    types = tuple(sorted(other for other in others - {*masks} if _is_types(other)))
    left = sorted(
        o for o in others - {*masks, *types} if kinds[o] in _INTEGERS and (_is_place(o) or shapes[o][1] == length)
    )
    if left:
        raise SpecError(
            f"--tokenizer: the graph also takes {left[0]!r} for each token, which a text does not say: export it so "
            "that the network computes this input itself"
        )
    size = length if isinstance(length, int) and length > 0 else None
    dim = _TOKENS if alone else f"{name}_{_TOKENS}"[:60]
    if isinstance(length, str) and NAME.match(length) and length != BATCH:
        dim = length
    joined = {shapes[other][1] for other in (name, *masks, *types)}
    _rename_dims(model, joined, {name, *masks, *types}, dim)
    return TextInput(name, dim, masks, types, tokenizer, what_file_says(tokenizer), words, size)


def _is_mask(name: str) -> bool:
    return "mask" in name.lower()


def _is_types(name: str) -> bool:
    return re.search(r"token_?type|segment|type_?ids", name.lower()) is not None


def _is_place(name: str) -> bool:
    return "position" in name.lower()


def _rename_dims(model: onnx.ModelProto, old: set[Any], inputs: set[str], new: str) -> None:
    for value in (*model.graph.input, *model.graph.output):
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if (value.name in inputs and axis == 1) or (dim.dim_param and dim.dim_param in old):
                dim.dim_param = new


def _words(given: Given) -> tuple[Path, dict[str, int]]:
    file, *words = given.words
    read: dict[str, int] = {}
    for word in words:
        key, _, value = word.partition("=")
        if key in ("max_length", "pad") and value.isdecimal() and int(value) >= (key == "max_length"):
            read[key] = int(value)
        elif key == "truncate" and value in ("yes", "no"):
            read[key] = int(value == "yes")
        else:
            raise SpecError(f"--tokenizer: the word {word!r} is unknown: {FORM}")
    if not Path(file).is_file():
        raise SpecError(f"--tokenizer: there is no file {file!r}: {FORM}")
    return Path(file), read


def with_texts(
    specs: Sequence[TensorSpec], session: ort.InferenceSession, model: onnx.ModelProto, texts: Sequence[TextInput]
) -> tuple[TensorSpec, ...]:
    """The inputs with texts, masks and defaults.

    The largest length is the one that was given; else the tokenizer's, if the graph runs with it; else the graph's:
    that of its table of positions.

    Args:
        specs: the inputs as the graph has them.
        session, model: the graph.
        texts: found by :func:`find_texts`.

    Raises:
        SpecError: no length is known, the graph does not run with it, or the tokenizer is of another vocabulary.
    """
    found = {spec.name: spec for spec in specs}
    for text in texts:
        longest = text.words.get("max_length") or text.size or text.says.max_length
        limit = None if text.size else _most_positions(_declared(found, text, 1 << 20), session, model, text)
        if limit is not None and "max_length" not in text.words:
            longest = min(longest or limit, limit)
        if longest is None:
            raise SpecError(
                f"--tokenizer: neither {text.name!r} nor the tokenizer says how long a text may be: add "
                "max_length=512, or as many tokens as the network was trained with"
            )
        if text.size not in (None, longest):
            raise SpecError(f"--tokenizer: {text.name!r} takes {text.size} tokens, not max_length={longest}")
        found = _declared(found, text, longest)
        reason = _runs(found, session, text, longest)
        if reason is not None:
            at_most = f"; it takes at most {limit}" if limit else ""
            raise SpecError(f"--tokenizer: the graph does not run with max_length={longest}{at_most} ({reason})")
    check_contents(tuple(found.values()))
    return tuple(found.values())


def _declared(specs: Mapping[str, TensorSpec], text: TextInput, longest: int) -> dict[str, TensorSpec]:
    tokens = specs[text.name]
    truncate = bool(text.words.get("truncate", text.says.max_length is not None))
    pad = text.words.get("pad", text.says.pad if text.says.pad is not None else 0)
    padding = Padding(
        max_length=longest, value=pad, truncate=truncate, buckets=(longest,) if text.size is not None else ()
    )
    size = open_tokenizer(text.tokenizer, padding).size
    rows = None if tokens.maximum is None else int(tokens.maximum) + 1
    if rows is not None and size > rows:
        raise SpecError(
            f"--tokenizer: it has {size} tokens, and {text.name!r} takes the numbers of {rows}: it is of another "
            "network"
        )
    of_tokens = {
        "content": "text",
        "tokenizer": text.tokenizer,
        "padding": padding,
        "shape": (BATCH, text.dim),
        "minimum": 0,
        "maximum": rows - 1 if rows is not None else size - 1,
    }
    changed = {text.name: tokens.model_copy(update=of_tokens)}
    for name in text.masks:
        changed[name] = specs[name].model_copy(update={"mask_of": text.dim, "shape": (BATCH, text.dim)})
    for name in text.types:
        changed[name] = specs[name].model_copy(update={"default": 0, "shape": (BATCH, text.dim)})
    return {name: changed.get(name, spec) for name, spec in specs.items()}


def _most_positions(
    specs: Mapping[str, TensorSpec], session: ort.InferenceSession, model: onnx.ModelProto, text: TextInput
) -> int | None:
    """Most tokens that the graph runs with, if one of its tables ends there; ``None`` without such a table."""
    sizes = {int(size) for one in model.graph.initializer for size in list(one.dims)[:2] if size >= _LEAST_POSITIONS}
    for rows in sorted(sizes):
        for offset in _OFFSETS:
            length = rows - offset
            if _runs(specs, session, text, length + 1) is not None:
                if _runs(specs, session, text, length) is None:
                    return length
            else:
                break  # it runs beyond this table
    return None


def _runs(specs: Mapping[str, TensorSpec], session: ort.InferenceSession, text: TextInput, length: int) -> str | None:
    """Why the graph does not run with one text of this length; ``None`` if it does."""
    inputs = tuple(specs.values())
    sizes = {name: 1 for spec in inputs for name in spec.symbolic_dims} | {text.dim: length}
    feed, last = Trial(inputs, sizes).feed(1), int(specs[text.name].maximum or 0)
    try:
        # RoBERTa gives the padding token no position of its own, and that is at most one of two tokens.
        for token in {last, max(0, last - 1)}:
            run(session, feed | {text.name: np.full_like(feed[text.name], token)})
    except Exception as error:  # ONNX Runtime's exceptions share no public base class.
        return " ".join(str(error).split())[:200]
    return None


def refuse_other_rows(real: Mapping[str, Array], texts: Sequence[TextInput]) -> None:
    """Refuse calibration data of tokens that have no mask, since nobody knows where their texts end.

    Raises:
        WrapError: there are some.
    """
    for text in texts:
        if text.name in real and any(name not in real for name in (*text.masks, *text.types)):
            raise WrapError(
                f"the calibration data have tokens, and not {', '.join((*text.masks, *text.types))}: give texts, one a "
                "line of a .txt file, or all inputs in the .npz"
            )
