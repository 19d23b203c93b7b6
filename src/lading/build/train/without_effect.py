"""Options of the command line that would change nothing are refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lading.build.facts import flat
from lading.build.train.config import compose, plain
from lading.errors import SpecError


def refuse_without_effect(target: str, words: Sequence[str], unused: Callable[[str], bool], why: str) -> None:
    """Refuse options of which this run reads nothing.

    Args:
        target: the model's import string.
        words: ``key=value``, as typed. One may change several keys, such as ``optimizer={lr: 0.1}``.
        unused: whether a dotted key is read by nothing.
        why: nothing reads it, and what to do; it continues the sentence after a colon.

    Raises:
        SpecError: names every such word; or the configuration is wrong.
    """
    if not words:
        return
    compose(target, words)
    default = flat(plain(compose(target)))
    refused = [word for word in words if all(map(unused, _keys(target, word, default)))]
    if refused:
        raise SpecError(f"{' '.join(refused)} would have no effect: {why}")


def _keys(target: str, word: str, default: dict[str, object]) -> list[str]:
    """The dotted keys that a word changes; if it changes none, the key that it is about."""
    try:
        changed = flat(plain(compose(target, [word])))
    except SpecError:  # it needs the words before it
        changed = default
    missing = object()
    keys = [key for key in default.keys() | changed.keys() if default.get(key, missing) != changed.get(key, missing)]
    return keys or [word.lstrip("+~").partition("=")[0]]
