"""``python -m models.card_decks OUT.jpg``: a contact sheet of photographs, as a model gets them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from models.card_decks.rendered import PHOTOS_A_DECK, RenderedDecks


def contact_sheet(
    out: Annotated[Path, typer.Argument(help="picture to write")],
    split: Annotated[str, typer.Option(help="train, valid, test or test_in_style")] = "test",
    rows: Annotated[int, typer.Option(min=1, help="decks, one a row")] = 8,
    columns: Annotated[int, typer.Option(min=1, max=PHOTOS_A_DECK)] = 12,
    seed: int = 0,
) -> None:
    """Write photographs of several decks side by side."""
    photos = RenderedDecks(split, rows * PHOTOS_A_DECK, seed=seed)
    picks = np.random.default_rng(seed)
    lines = []
    for deck in range(rows):
        chosen = picks.choice(PHOTOS_A_DECK, size=columns, replace=False)
        lines.append(np.hstack([photos[deck * PHOTOS_A_DECK + int(number)][0]["image"] for number in chosen]))
    Image.fromarray(np.vstack(lines)).save(out)


if __name__ == "__main__":
    typer.run(contact_sheet)
