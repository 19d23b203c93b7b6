"""A body as it arrived, in pieces."""

from __future__ import annotations

from collections.abc import Iterator

_LOOSE = 1_024  # small pieces that are joined into one
_SMALL = 1_048_576  # bytes of ``_LOOSE`` pieces that are small


class Pieces:
    """A body in pieces. A lane joins them: for a large body that takes milliseconds.

    Pieces may have one byte, and an object each would take much more. So small ones are joined as they arrive.

    Attributes:
        size: bytes so far.
    """

    __slots__ = ("_all", "_loose", "_loose_bytes", "size")

    def __init__(self) -> None:
        self._all: list[bytes] = []
        self._loose = self._loose_bytes = self.size = 0

    def add(self, piece: bytes) -> None:
        """Keep the next piece."""
        self._all.append(piece)
        self.size += len(piece)
        self._loose_bytes += len(piece)
        self._loose += 1
        if self._loose == _LOOSE:
            if self._loose_bytes <= _SMALL:
                self._all[-_LOOSE:] = [b"".join(self._all[-_LOOSE:])]
            self._loose = self._loose_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        """The pieces that have arrived, some of them joined."""
        return iter(self._all)

    def take(self) -> bytes:
        """The whole body. The pieces are given up."""
        pieces, self._all = self._all, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
