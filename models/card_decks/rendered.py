"""Rendered decks: the data set that needs no download."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import metadata
from pathlib import Path
from typing import overload

import numpy as np
from joblib import Parallel, cpu_count, delayed
from rich.progress import track

from lading.content.image import decode_image
from lading.errors import DataError
from lading.spec import Example
from models.card_decks.faces import draw_back, draw_card
from models.card_decks.labels import CARDS, RANKS, SUITS, Card
from models.card_decks.photo_file import PhotoFile, cache_root, write_photos
from models.card_decks.photograph import Picture, photograph
from models.card_decks.style import DeckStyle, sample_style

SIZE = 224
PHOTOS_A_DECK = 2 * len(CARDS)
PLAIN_DECKS = {"train": 700, "valid": 10}
"""Training and valid decks from this number on are wide ones."""
_VALID_STYLES = 1_000_000
"""Valid decks are new ones of the training families: their seeds start here."""
_DRAWN_BY = (
    *("labels", "pen", "fonts", "shapes", "canvas", "style", "patterns", "signs", "courts", "jokers"),
    *("faces", "photograph", "rendered"),
)
"""The modules that decide a picture's pixels."""
SPLITS = ("train", "valid", "test", "test_in_style")


class RenderedDecks:
    """Photographs of made-up decks, by number.

    ``train`` and ``test_in_style`` show the same decks in different photographs; ``valid`` shows new decks of the same
    fonts and families; ``test`` shows decks whose fonts, shapes, court art and layouts are in none of the others. Decks
    numbered from ``PLAIN_DECKS`` on are of more families, and most leave it to the index to say which card it is.

    A picture is rendered when it is asked for, or read from the cache after :meth:`prepare`: it is the same either way.

    Args:
        split: one of ``SPLITS``.
        count: pictures; each deck gives two of every card.
        first: number of the deck to begin with.
        seed: another seed is another set of photographs.
        cache: folder of the prepared pictures; default: below ``LADING_DATA`` or ``~/.cache/lading``.
        workers: processes that prepare; default: one a usable CPU.
    """

    def __init__(
        self,
        split: str,
        count: int,
        *,
        first: int = 0,
        seed: int = 0,
        cache: Path | None = None,
        workers: int | None = None,
    ) -> None:
        if split not in SPLITS:
            raise DataError(f"rendered decks have no split {split!r}; the splits are: {', '.join(SPLITS)}")
        self.split, self.count, self.first, self.seed = split, count, first, seed
        self.workers = workers or cpu_count()
        self.folder = (cache or cache_root() / "cards-rendered") / f"{split}-{seed}-{self.fingerprint[:12]}"
        self._files: dict[int, PhotoFile] = {}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of what decides the pixels: this package's source, the libraries' versions, split and seed."""
        return hashlib.sha256(f"{_source_digest()} {self.split} {self.seed}".encode()).hexdigest()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Example:
        """Inputs {"image": uint8 (224, 224, 3)}, targets {"suit": int64 (), "rank": int64 ()}."""
        jpeg, card = self.photo(index)
        image = decode_image(jpeg, height=SIZE, width=SIZE)
        return {"image": image}, targets(card)

    def photo(self, index: int) -> tuple[bytes, Card]:
        """The encoded picture, as a client would send it, and the card in it."""
        if not 0 <= index < self.count:
            raise IndexError(index)
        deck, number = divmod(index, PHOTOS_A_DECK)
        deck += self.first
        if deck not in self._files and self._path(deck).is_file():
            self._files[deck] = PhotoFile(self._path(deck))
        if deck in self._files:
            return self._files[deck][number]
        return _Deck(self.split, self.seed, deck).photo(number)

    def prepare(self) -> RenderedDecks:
        """Render every deck that is not in the cache, in several processes; an interrupted run goes on where it was."""
        decks = range(self.first, self.first + -(-self.count // PHOTOS_A_DECK))
        missing = [deck for deck in decks if not self._path(deck).is_file()]
        if not missing:
            return self
        jobs = [(self.split, self.seed, deck, self._path(deck)) for deck in missing]
        label = f"rendering {self.split} decks"
        # loky's processes start afresh: the parent may hold threads of torch, and its script may have no main guard.
        pool = Parallel(n_jobs=min(self.workers, len(jobs)), backend="loky", return_as="generator_unordered")
        for _ in track(pool(delayed(_render)(*job) for job in jobs), label, total=len(jobs)):
            pass
        return self

    def _path(self, deck: int) -> Path:
        return self.folder / f"deck-{deck:05d}.photos"


def targets(card: Card) -> dict[str, np.ndarray[tuple[()], np.dtype[np.int64]]]:
    """Class indexes of a card, int64 scalars by output name."""
    return {
        "suit": np.array(SUITS.index(card.suit), dtype=np.int64),
        "rank": np.array(RANKS.index(card.rank), dtype=np.int64),
    }


@dataclass(frozen=True)
class _Deck:
    """One deck's photographs; a face is drawn when it is first needed."""

    split: str
    seed: int
    number: int

    def photo(self, number: int) -> tuple[bytes, Card]:
        rng = np.random.default_rng([self.seed, SPLITS.index(self.split), self.number, number])
        card = CARDS[number % len(CARDS)]
        faces = Faces(style_of(self.split, self.number))
        return photograph(faces[1 + CARDS.index(card)], faces, rng), card


class Faces(Sequence[Picture]):
    """A deck's back, then its 53 faces."""

    def __init__(self, style: DeckStyle) -> None:
        self._style = style

    def __len__(self) -> int:
        return 1 + len(CARDS)

    @overload
    def __getitem__(self, index: int) -> Picture: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Picture]: ...
    def __getitem__(self, index: int | slice) -> Picture | Sequence[Picture]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        return _face(self._style.seed, self._style.held_out, self._style.wide, index)


@lru_cache(maxsize=2 * (1 + len(CARDS)))
def _face(seed: int, held_out: bool, wide: bool, index: int) -> Picture:
    style = sample_style(seed, held_out=held_out, wide=wide)
    return draw_back(style) if index == 0 else draw_card(style, CARDS[index - 1])


def style_of(split: str, deck: int) -> DeckStyle:
    """The style of a split's deck, by its number."""
    if split == "test":
        return sample_style(deck, held_out=True)
    valid = split == "valid"
    return sample_style(
        deck + _VALID_STYLES * valid, held_out=False, wide=deck >= PLAIN_DECKS["valid" if valid else "train"]
    )


def _render(split: str, seed: int, number: int, path: Path) -> None:
    deck = _Deck(split, seed, number)
    write_photos(path, (deck.photo(photo) for photo in range(PHOTOS_A_DECK)))


@lru_cache(maxsize=1)
def _source_digest() -> str:
    digest = hashlib.sha256()
    for name in _DRAWN_BY:
        digest.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    for package in ("opencv-python-headless", "pillow", "numpy", "simplejpeg"):
        digest.update(metadata.version(package).encode())
    return digest.hexdigest()
