"""The content type ``text``: a string to the numbers of its tokens. Training and serving use the same function.

The tokenizer is a ``tokenizer.json`` of the package ``tokenizers``, which the artifact carries.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lading.budget import Budget
from lading.content import ContentType, Corrupt, register
from lading.content.text.tokenizer import (
    Tokenizer,
    content_of_tokenizer,
    keep,
    keep_listed,
    known_by_hash,
    open_tokenizer,
)
from lading.errors import BodyTooLargeError, SpecError, TextError
from lading.errors.formats import format_of
from lading.spec import Array, Padding, TensorSpec

BYTES_PER_TOKEN = 16
"""Maximum bytes of a text for each token that the model takes. English has 4 or 5 per token, and Chinese 3."""
SPARE_BYTES = 256
"""That a text may have on top, so that a model of few tokens can be sent a long word."""


def tokenize(spec: TensorSpec, text: str) -> Array:
    """Turn a text into the tensor that a request with this text becomes.

    Args:
        spec: a tensor with ``content="text"``.
        text: at least one character.

    Returns:
        Of the spec's dtype, shape (tokens,).

    Raises:
        TextError: the text has no token, or more than ``max_length`` where longer ones are not cut.
        BodyTooLargeError: it is much longer than that.
        SpecError: the tokenizer cannot be read.
    """
    padding = _padding(spec)
    most = BYTES_PER_TOKEN * padding.max_length + SPARE_BYTES
    if len(text) > most // 4 and (size := len(text.encode(errors="replace"))) > most:
        # Before a byte is read: a long text takes milliseconds.
        if not padding.truncate:
            raise BodyTooLargeError(f"the text has {size} bytes; at most {most} are accepted: send a shorter one")
        text = text[:most]
    ids = _tokenizer(spec.tokenizer, padding).ids(text) if text else []
    if not ids:
        raise TextError("the text is empty: send at least one word")
    if len(ids) > padding.max_length:
        raise TextError(
            f"the text has {len(ids)} tokens; at most {padding.max_length} are accepted: send a shorter one"
        )
    return np.array(ids, spec.numpy_dtype)


def _padding(spec: TensorSpec) -> Padding:
    assert spec.padding is not None
    return spec.padding


def _tokenizer(tokenizer: str | None, padding: Padding | None) -> Tokenizer:
    assert tokenizer is not None
    assert padding is not None
    return open_tokenizer(tokenizer, padding)


def _changed(share: float, rng: np.random.Generator, size: int) -> NDArray[np.int64]:
    """Places of some tokens, at least one, neither the first nor the last: those are often special."""
    inner = np.arange(1, max(2, size - 2))
    return rng.choice(inner, size=min(len(inner), max(1, round(share * size))), replace=False)


def _swapped(tokens: Array, severity: int, rng: np.random.Generator) -> Array:
    changed = tokens.copy()
    for place in _changed(0.06 * severity, rng, len(tokens)) if len(tokens) > 2 else ():
        changed[[place, place + 1]] = changed[[place + 1, place]] if place + 1 < len(tokens) else changed[place]
    return changed


def _repeated(tokens: Array, severity: int, rng: np.random.Generator) -> Array:
    changed = tokens.copy()
    places = _changed(0.06 * severity, rng, len(tokens)) if len(tokens) > 2 else np.zeros(0, np.int64)
    changed[places] = changed[places - 1]
    return changed


CORRUPTIONS: Mapping[str, Corrupt] = {"tokens swapped": _swapped, "tokens repeated": _repeated}


class Texts(ContentType):
    """Texts as the numbers of their tokens, int64 or int32 (batch, tokens), with a tokenizer and padding.

    Args:
        spec: the tensor whose tokenizer is used to turn tokens into texts again.
    """

    name = "text"
    noun = "text"
    formats = "UTF-8 text"
    media_types = ("text/plain",)
    suffixes = (".txt",)
    sample = "text.txt"
    note = "The answer is that of the text's tokens."
    feature_names = ("characters", "tokens", "unknown", "not_ascii")
    corruptions = CORRUPTIONS
    error = TextError
    textual = True
    decode_ms = 0.3

    def __init__(self, spec: TensorSpec | None = None) -> None:
        self._spec = spec

    def of(self, spec: TensorSpec) -> ContentType:
        return Texts(spec)

    def with_file(self, spec: TensorSpec, folder: Path) -> TensorSpec:
        assert spec.tokenizer is not None
        if known_by_hash(spec.tokenizer):
            return spec
        return spec.model_copy(update={"tokenizer": keep(folder / spec.tokenizer)})

    def files(self, spec: TensorSpec) -> Mapping[str, bytes]:
        assert spec.tokenizer is not None
        return {"tokenizer.json": content_of_tokenizer(spec.tokenizer)}

    def open_file(self, spec: TensorSpec, files: Mapping[str, Path]) -> None:
        assert spec.tokenizer is not None
        keep_listed(spec.tokenizer, files)

    def prepare(self, spec: TensorSpec) -> None:
        _tokenizer(spec.tokenizer, spec.padding)

    def problem(self, spec: TensorSpec) -> str | None:
        if spec.dtype not in ("int64", "int32") or len(spec.shape) != 2:
            return f'a text is int64 with shape ("batch", "tokens"), not {spec.dtype} with {spec.shape}'
        if spec.padding is None:
            return "a text needs padding=Padding(max_length=...): texts have different lengths"
        if spec.tokenizer is None:
            return 'a text needs a tokenizer, such as tokenizer="tokenizer.json"'
        return None

    def sniff(self, data: bytes) -> bool:
        del data  # any bytes may be text, JSON and forms too, so the media type decides
        return False

    def accepts(self, media_type: str) -> bool:
        # curl -d says x-www-form-urlencoded of everything.
        return media_type.startswith("text/") or media_type == "application/x-www-form-urlencoded"

    def decode(self, data: bytes, spec: TensorSpec, budget: Budget) -> Array:
        del budget  # the size is bounded by the tensor itself
        try:
            return tokenize(spec, data.decode())
        except UnicodeDecodeError:
            known = format_of(data)
            what = f"this is {known}" if known else "the bytes are no UTF-8"
            raise TextError(f"{what}: send UTF-8 text") from None

    def encode(self, example: Array) -> bytes:
        spec = self._own()
        return (_tokenizer(spec.tokenizer, spec.padding).text(example.tolist()) or "?").encode()

    def draw(self, spec: TensorSpec, rng: np.random.Generator) -> bytes:
        # A word of random letters has almost as many tokens as letters.
        most = _padding(spec).max_length
        words = int(rng.integers(1, max(2, min(60, most // 10))))
        letters = max(1, min(8, most // (2 * words)))
        drawn = rng.integers(ord("a"), ord("z") + 1, size=(words, letters), dtype=np.uint8)
        return b" ".join(word.tobytes()[: 1 + index % letters] for index, word in enumerate(drawn))

    def features(self, example: Array) -> NDArray[np.float64]:
        spec, ids = self._own(), example.tolist()
        tokenizer = _tokenizer(spec.tokenizer, spec.padding)
        text = tokenizer.text(ids)
        own = max(1, len(ids) - tokenizer.special(ids))
        unknown = ids.count(tokenizer.unknown)
        others = sum(not character.isascii() for character in text)
        return np.array((len(text) + unknown, len(ids), unknown / own, others / max(1, len(text))))

    def json_schema(self) -> dict[str, Any]:
        return {"type": "string", "minLength": 1, "description": "a text"}

    def _own(self) -> TensorSpec:
        if self._spec is None:
            raise SpecError("a text is made of the tokens of one tensor: content_of(spec) knows which")
        return self._spec


register(Texts())
