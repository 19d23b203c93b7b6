"""Many encoded pictures and their cards in one file, so that reading a data set opens one file only."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from lading.errors import DataError
from lading.files import write_atomically
from models.card_decks.labels import CARDS, Card

_MAGIC = np.frombuffer(b"LADINGP1", dtype="<i8")


class PhotoFile:
    """Pictures by number, read from a memory map.

    The file is little-endian int64 (magic, count, count x (length, card)), then the pictures one after another.

    Raises:
        DataError: the file is incomplete or not of this format.
    """

    def __init__(self, path: Path) -> None:
        self._bytes = np.memmap(path, dtype=np.uint8, mode="r")
        head = self._bytes[:16].view("<i8")
        if len(head) != 2 or head[0] != _MAGIC[0]:
            raise DataError(f"{path} is not a file of pictures: delete it, and it will be made again")
        table = self._bytes[16 : 16 + 16 * int(head[1])].view("<i8").reshape(-1, 2)
        self.cards = tuple(CARDS[index] for index in table[:, 1])
        self._ends = np.cumsum(table[:, 0]) + 16 + 16 * int(head[1])
        self._starts = self._ends - table[:, 0]
        if len(table) != head[1] or (len(table) and self._ends[-1] != len(self._bytes)):
            raise DataError(f"{path} is incomplete: delete it, and it will be made again")

    def __len__(self) -> int:
        return len(self.cards)

    def __getitem__(self, index: int) -> tuple[bytes, Card]:
        return self._bytes[self._starts[index] : self._ends[index]].tobytes(), self.cards[index]


def write_photos(path: Path, photos: Iterable[tuple[bytes, Card]]) -> None:
    """Write the file, or replace it as a whole."""
    pictures = list(photos)
    table = np.array([(len(data), CARDS.index(card)) for data, card in pictures], dtype="<i8").reshape(-1, 2)
    head = _MAGIC.tobytes() + np.array([len(pictures)], dtype="<i8").tobytes() + table.tobytes()

    def write(unfinished: Path) -> None:
        with unfinished.open("wb") as stream:
            stream.write(head)
            stream.writelines(data for data, _ in pictures)

    write_atomically(path, write)


def cache_root() -> Path:
    """The folder of data sets: ``LADING_DATA``, else ``~/.cache/lading``."""
    return Path(os.environ.get("LADING_DATA") or Path.home() / ".cache" / "lading")
