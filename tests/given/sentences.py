"""What an error's sentence must hold, and what it must not."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lading.errors.sentences import LONGEST_SENTENCE

_INNARDS = re.compile(
    r"traceback|pydantic|<class|</?[a-z]+>|\bself\.|File \".*line \d|object at 0x|numpy|orjson"
    r"|\b[A-Z]\w+(Error|Exception)\b|\bis None\b|TensorSpec|lading\.\w+\.\w+"
)
"""Names of classes and packages, and what only their programmers understand."""


def check_sentence(sentence: str, words: Iterable[str]) -> None:
    """Fail unless a sentence holds the words, and is short and plain."""
    missing = [word for word in words if word not in sentence]
    assert not missing, f"{missing} not in: {sentence}"
    assert 0 < len(sentence) <= LONGEST_SENTENCE, sentence
    assert "\n" not in sentence, sentence
    found = _INNARDS.search(sentence)
    assert not found, f"{found and found[0]!r} in: {sentence}"
