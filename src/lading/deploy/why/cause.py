"""A cause that a release fails for, and how it is found in what Kubernetes, Helm and the server say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum

from lading.deploy.why.statements import telling
from lading.errors.sentences import clipped


class Rank(IntEnum):
    """How near a cause is to the root. Only the nearest ones are shown."""

    ROOT = 0
    SYMPTOM = 1
    """A probe that fails, a container that ends: shown where nothing says why."""
    OUTCOME = 2
    """A rollout that does not finish."""


@dataclass(frozen=True)
class Cause:
    """One cause."""

    name: str
    """Does not change from version to version, so that scripts can use it."""
    pattern: str
    """Regular expression; its groups are words of the sentence."""
    sentence: str
    do: str
    """What to do."""
    example: str
    """A statement as it was seen."""
    rank: Rank = Rank.ROOT

    def match(self, statement: str, facts: dict[str, str]) -> tuple[str, str] | None:
        """The sentence and what to do, if the statement stands for this cause.

        Args:
            statement: a reason and a message.
            facts: words about the container, such as its image; the pattern's own groups come first.
        """
        found = re.search(self.pattern, statement, re.DOTALL)
        if found is None:
            return None
        groups = {key: clipped(telling(value), LONGEST) for key, value in found.groupdict().items() if value}
        words = _Words(facts | groups)
        if not groups and "said" not in words:
            words["said"] = clipped(telling(statement), LONGEST)
        return self.sentence.format_map(words).rstrip(". "), self.do.format_map(words)


class _Words(dict[str, str]):
    """A word that no one knows is a general one."""

    def __missing__(self, key: str) -> str:
        return _GENERAL[key]


_GENERAL = {
    "image": "of the container",
    "container": "server",
    "memory": "what is free",
    "cpu": "more than is free",
    "request": "more",
    "exit": "unknown",
    "said": "it said nothing",
    "what": "object",
    "name": "that is named",
    "resource": "resource",
}
LONGEST = 300
"""Characters of a message within a sentence."""
