"""Tokenizers by the hash of their ``tokenizer.json``: a spec finds its own wherever the file was read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from lading.errors import SpecError
from lading.files import read_bounded
from lading.spec import Padding

LARGEST_FILE = 64 * 1024 * 1024
"""Maximum bytes of a ``tokenizer.json``. That of a model for 100 languages has 17 MB."""
_HASH = "sha256:"
_FILES: dict[str, bytes] = {}

# Its threads would be more than a lane may use. It only reads the variable at its first batch.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def known_by_hash(tokenizer: str) -> bool:
    """Whether a spec names its tokenizer by hash, and not by a path."""
    return tokenizer.startswith(_HASH)


def keep(file: Path) -> str:
    """Read a ``tokenizer.json``.

    Returns:
        Its name from now on: ``sha256:`` and its hash.

    Raises:
        SpecError: there is no such file, or it is too large.
    """
    try:
        content = read_bounded(file, LARGEST_FILE)
    except OSError as error:
        raise SpecError(f"the tokenizer {file} cannot be read: {error.strerror}") from None
    name = _HASH + hashlib.sha256(content).hexdigest()
    _FILES.setdefault(name, content)
    return name


def keep_listed(tokenizer: str, files: Mapping[str, Path]) -> None:
    """Read the tokenizer of this hash from the files of an artifact, unless it is known already.

    Raises:
        SpecError: it is not one of them.
    """
    if tokenizer in _FILES:
        return
    if tokenizer not in files:
        raise SpecError(f"no file of the artifact is the tokenizer {tokenizer}")
    keep(files[tokenizer])


def content_of_tokenizer(tokenizer: str) -> bytes:
    """The bytes of the ``tokenizer.json`` of this hash, or at this path.

    Raises:
        SpecError: there is none.
    """
    name = tokenizer if known_by_hash(tokenizer) else keep(Path(tokenizer))
    if name not in _FILES:
        raise SpecError(f"the tokenizer {name} is not here: read the artifact, or the model's source, that has it")
    return _FILES[name]


@dataclass(frozen=True)
class FileSays:
    """What a ``tokenizer.json`` says about the tensors of its network, where it does.

    Attributes:
        max_length: tokens that a longer text is cut to.
        pad: the number of the token that a shorter one is filled up with.
    """

    max_length: int | None
    pad: int | None


def what_file_says(tokenizer: str) -> FileSays:
    """Read truncation and padding of the tokenizer of this hash.

    Raises:
        SpecError: the package is not installed, or cannot read the file.
    """
    content = content_of_tokenizer(tokenizer)
    _opened(content)
    told = json.loads(content)
    truncation, padding = told.get("truncation") or {}, told.get("padding") or {}
    added = {token.get("content"): token.get("id") for token in told.get("added_tokens") or ()}
    known = next((added[name] for name in ("[PAD]", "<pad>", "<|pad|>", "<|endoftext|>") if name in added), None)
    return FileSays(truncation.get("max_length"), padding.get("pad_id", known))


class Tokenizer:
    """A ``tokenizer.json``, ready to use. Thread-safe. Its own truncation and padding are switched off.

    Args:
        content: the file.
        padding: how long a text may be, and whether a longer one is cut.

    Raises:
        SpecError: the package is not installed, or cannot read the file.
    """

    def __init__(self, content: bytes, padding: Padding) -> None:
        self._fast: Any = _opened(content)
        self._fast.no_padding()
        self._fast.no_truncation()
        if padding.truncate:
            self._fast.enable_truncation(padding.max_length)
        self.size: int = self._fast.get_vocab_size(with_added_tokens=True)
        added = self._fast.get_added_tokens_decoder()
        self._special = frozenset(number for number, token in added.items() if token.special)
        unknown = getattr(self._fast.model, "unk_token", None)
        self.unknown: int | None = None if unknown is None else self._fast.token_to_id(unknown)

    def ids(self, text: str) -> list[int]:
        """The numbers of a text's tokens, with those that the tokenizer adds."""
        # encode() holds the interpreter lock, for milliseconds of a long text, and this does not.
        (encoding,) = self._fast.encode_batch_fast([text])
        ids: list[int] = encoding.ids
        return ids

    def text(self, ids: list[int]) -> str:
        """A text with these tokens. What the tokenizer does not keep, such as capitals, is lost."""
        text: str = self._fast.decode(ids, skip_special_tokens=True)
        return text

    def special(self, ids: list[int]) -> int:
        """How many of the tokens are special and not the unknown one: they stand for nothing in a text."""
        return sum(number in self._special and number != self.unknown for number in ids)


@lru_cache(maxsize=32)
def open_tokenizer(tokenizer: str, padding: Padding) -> Tokenizer:
    """The tokenizer of this hash, or at this path.

    Raises:
        SpecError: see :class:`Tokenizer` and :func:`content_of_tokenizer`.
    """
    return Tokenizer(content_of_tokenizer(tokenizer), padding)


def _opened(content: bytes) -> Any:
    try:
        import tokenizers
    except ImportError:
        raise SpecError("content='text' needs tokenizers: pip install 'lading[text]'") from None
    try:
        return tokenizers.Tokenizer.from_str(content.decode())
    except Exception as error:  # the package raises Exception itself
        raise SpecError(f"the tokenizer cannot be read; is it a tokenizer.json? {str(error)[:200]}") from None
