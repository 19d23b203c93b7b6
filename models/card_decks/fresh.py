"""Many decks with a few photographs each. Requests look like this, more than like many photographs of a few decks."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from joblib import Parallel, cpu_count, delayed

from lading.content.image import decode_image
from lading.spec import Example
from models.card_decks.labels import CARDS, Card
from models.card_decks.photograph import photograph
from models.card_decks.rendered import SIZE, Faces, targets
from models.card_decks.style import sample_style

_FRESH_STYLES = 2_000_000
"""Seeds of styles from here on are in no split of the rendered decks."""


class FreshDecks:
    """Photographs of decks of the training families that no split has.

    Args:
        decks: how many.
        photos: of each.
        first: number of the first deck; disjoint ranges are disjoint decks.
        workers: processes that render; default: one a usable CPU.
    """

    def __init__(self, decks: int, photos: int, *, first: int = 0, workers: int | None = None) -> None:
        self.decks, self.photos, self.first = decks, photos, first
        self.workers = workers or cpu_count()

    def __len__(self) -> int:
        return self.decks * self.photos

    def __getitem__(self, index: int) -> Example:
        """Inputs {"image": uint8 (224, 224, 3)}, targets {"suit": int64 (), "rank": int64 ()}."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        deck, number = divmod(index, self.photos)
        jpeg, card = self._rendered[deck][number]
        return {"image": decode_image(jpeg, height=SIZE, width=SIZE)}, targets(card)

    def group(self, index: int) -> int:
        """The deck in a picture: pictures of one deck are alike."""
        return self.first + index // self.photos

    @cached_property
    def _rendered(self) -> list[list[tuple[bytes, Card]]]:
        # loky's processes start afresh: the parent may hold threads of torch, and its script may have no main guard.
        pool = Parallel(n_jobs=min(self.workers, self.decks), backend="loky")
        return list(pool(delayed(_photos)(self.first + deck, self.photos) for deck in range(self.decks)))


def _photos(deck: int, count: int) -> list[tuple[bytes, Card]]:
    rng = np.random.default_rng([_FRESH_STYLES, deck])
    faces = Faces(sample_style(_FRESH_STYLES + deck, held_out=False))
    numbers = rng.choice(len(CARDS), size=count, replace=count > len(CARDS))
    return [(photograph(faces[1 + int(number)], faces, rng), CARDS[int(number)]) for number in numbers]
