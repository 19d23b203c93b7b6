"""What a statement of the protocol is, and the list of all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oip_conformance.subject import Subject

Check = Callable[["Subject"], None]
"""Asks the server. Returns, or raises :class:`Failed` or :class:`Skipped`."""


class Level(Enum):
    """How binding the text is."""

    MUST = "MUST"
    """The text says must, or defines a call or a field and does not call it optional."""
    SHOULD = "SHOULD"
    """The text says should or typically, shows it only in an example, or its documents differ."""
    MAY = "MAY"
    """The text leaves it to the server. A server that offers it has to offer it as described."""


REST, GRPC = "REST", "gRPC"


class Failed(Exception):  # noqa: N818 - a result, not an error
    """The server does not do what the statement says; the message says what it did."""


class Skipped(Exception):  # noqa: N818 - a result, not an error
    """The statement does not apply to this server or model; the message says why."""


@dataclass(frozen=True)
class Section:
    """A section of a published text."""

    document: str
    title: str
    url: str


@dataclass(frozen=True)
class Statement:
    """One statement of the protocol's text, and how it is checked."""

    id: str
    """Group and name, such as ``rest_metadata.server_name``."""
    text: str
    """The statement in our words."""
    section: Section
    level: Level
    over: tuple[str, ...]
    """REST, gRPC or both: the addresses that it needs."""
    check: Check
    extension: str | None = None
    """Name in the server's ``extensions``; the statement is skipped where it is not listed."""

    @property
    def group(self) -> str:
        """The first part of the id."""
        return self.id.partition(".")[0]


STATEMENTS: dict[str, Statement] = {}
"""All statements by id, in the order of the text. :mod:`oip_conformance.statements` fills it in."""


def state(statement: Statement) -> None:
    """Add a statement to the list.

    Raises:
        ValueError: there is one with this id.
    """
    if statement.id in STATEMENTS:
        raise ValueError(f"two statements have the id {statement.id!r}")
    STATEMENTS[statement.id] = statement


def statement(
    level: Level, section: Section, over: Sequence[str], *, extension: str | None = None
) -> Callable[[Check], Check]:
    """Make a statement of a function: the docstring is its text, module and name are its id."""

    def register(check: Check) -> Check:
        group = check.__module__.rpartition(".")[2]
        text = " ".join((check.__doc__ or "").split())
        state(Statement(f"{group}.{check.__name__}", text, section, level, tuple(over), check, extension))
        return check

    return register


def require(condition: object, message: str) -> None:
    """Fail the statement, with what the server did instead, unless the condition is true."""
    if not condition:
        raise Failed(message)


def shown(value: object, longest: int = 120) -> str:
    """A value for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= longest else f"{text[:longest]}..."
