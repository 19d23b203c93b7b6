"""``python -m models.card_decks.misses``: the cards that a checkpoint reads wrongly, with the wrong answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table

from lading.build.train.checkpoint import load_checkpoint
from lading.build.train.module import evaluate
from lading.build.weights.imported import start_from
from lading.spec import Array
from models.card_decks import RANKS, SUITS
from models.card_decks.rendered import PHOTOS_A_DECK, RenderedDecks, style_of
from models.card_decks.style import DeckStyle
from models.cards import EXAMPLES, Cards

ACROSS = 16
"""Pictures per row of the contact sheet."""
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def misses(
    checkpoint: Annotated[Path, typer.Option(help="weights")] = Path("models/cards.safetensors"),
    split: Annotated[str, typer.Option(help="valid, test or test_in_style")] = "test",
    decks: Annotated[int | None, typer.Option(help="of the split; valid ones from 10 on are wide", min=1)] = None,
    sheet: Annotated[Path | None, typer.Option(help="picture of the missed ones to write")] = None,
    side: Annotated[
        int | None, typer.Option(help="pixels a side that the backbone is given; default: as it was trained", min=32)
    ] = None,
) -> None:
    """Show the misses of each deck, worst first, of each layout of number cards, and the confusions over all decks."""
    spec = Cards() if side is None else Cards(side=side)
    module = load_checkpoint(spec, checkpoint)[0] if side is None else start_from(spec, checkpoint)[0].eval()
    count = EXAMPLES.get(split, 0) if decks is None else decks * PHOTOS_A_DECK
    photos = RenderedDecks(split, count).prepare()
    outputs, targets = evaluate(spec, module, photos)
    wrong = missed(outputs, targets)
    console = Console()
    score = f"{spec.score_name} {spec.score(outputs, targets):.4f}"
    console.print(f"{split}: {len(wrong)} of {len(photos)} missed, {score}")
    styles = [style_of(split, deck) for deck in range(len(photos) // PHOTOS_A_DECK)]
    console.print(by_deck(wrong, styles), by_layout(wrong, styles), by_confusion(wrong))
    if sheet is not None and wrong:
        write_sheet(photos, sorted(wrong), sheet)


def missed(outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> dict[int, str]:
    """The wrong answer of each missed picture as "true, answered", by its number: the rank if that is wrong."""
    found: dict[int, str] = {}
    for name, labels in (("suit", SUITS), ("rank", RANKS)):
        answered = outputs[name].argmax(axis=1)
        for number in np.flatnonzero(answered != targets[name]):
            found[int(number)] = f"{labels[targets[name][number]]}, {labels[answered[number]]}"
    return found


def by_deck(wrong: Mapping[int, str], styles: Sequence[DeckStyle]) -> Table:
    """One line for each deck with a miss, worst first."""
    table = Table("deck", "number cards", "courts", "aces", "font", "missed", "most often (true, answered)")
    counts = {
        deck: Counter(what for number, what in wrong.items() if number // PHOTOS_A_DECK == deck)
        for deck in range(len(styles))
    }
    for deck in sorted(counts, key=lambda deck: -counts[deck].total()):
        if counts[deck]:
            style, often = styles[deck], "; ".join(f"{what} {times}" for what, times in counts[deck].most_common(3))
            kinds = (style.layout, style.court, style.ace, style.lettering.font.stem)
            table.add_row(str(deck), *kinds, str(counts[deck].total()), often)
    return table


def by_layout(wrong: Mapping[int, str], styles: Sequence[DeckStyle]) -> Table:
    """A line for each layout of number cards, worst first: its decks, and the share of their photos that is missed."""
    decks = Counter(style.layout for style in styles)
    counts = Counter(styles[number // PHOTOS_A_DECK].layout for number in wrong)
    table = Table("number cards", "decks", "missed", "share")
    for layout in sorted(decks, key=lambda layout: (-counts[layout] / decks[layout], layout)):
        share = counts[layout] / (decks[layout] * PHOTOS_A_DECK)
        table.add_row(layout, str(decks[layout]), str(counts[layout]), f"{share:.3f}")
    return table


def by_confusion(wrong: Mapping[int, str], rows: int = 12) -> Table:
    """The most frequent confusions."""
    table = Table("true, answered", "times")
    for what, times in Counter(wrong.values()).most_common(rows):
        table.add_row(what, str(times))
    return table


def write_sheet(decks: RenderedDecks, numbers: Sequence[int], path: Path) -> None:
    """Lay the missed pictures side by side, at half their size."""
    pictures = [decks[number][0]["image"][::2, ::2] for number in numbers]
    pictures += [np.zeros_like(pictures[0])] * (-len(pictures) % ACROSS)
    rows = [np.hstack(pictures[start : start + ACROSS]) for start in range(0, len(pictures), ACROSS)]
    Image.fromarray(np.vstack(rows)).save(path)


if __name__ == "__main__":
    app()
