"""``python -m models.card_decks.real_decks``: scores of a checkpoint on printed decks that it was not trained on.

The decks are not in this repository: KDE's are a Debian package (``kdegames-card-data-kf5``), drawn by ``rsvg-convert``
(``librsvg2-bin``). Nothing is trained on them or chosen by them.
"""

from __future__ import annotations

import gzip
import io
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from lading.build.train.checkpoint import load_checkpoint
from lading.build.train.module import evaluate
from lading.content.image import decode_image
from lading.errors import DataError
from lading.spec import Example
from models.card_decks import RANKS, SUITS, Card
from models.card_decks.photograph import photograph
from models.card_decks.rendered import SIZE, targets
from models.cards import Cards

KDE = Path("/usr/share/carddecks")
OTHER_CARDS = ("svg-future", "svg-xskat-german", "svg-xskat-french", "svg-konqi-modern")
"""Decks with other suits or ranks than the model's, and those that rsvg-convert cannot draw."""
PHOTOS_A_FACE = 4
_RANKS = ("1", *(str(number) for number in range(2, 11)), "jack", "queen", "king")
_NAMES = {
    f"{name}_{suit[:-1]}": Card(suit, rank) for suit in SUITS[:4] for name, rank in zip(_RANKS, RANKS[:13], strict=True)
}
"""KDE's name of a card's drawing: ``1_club``, ``10_heart``, ``queen_spade``."""
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class RealDeck:
    """Pictures of one printed deck, taken as training pictures are: scans and photos, the same ones each time.

    Args:
        faces: RGBA, uint8 (height, width, 4), by card.
    """

    def __init__(self, faces: Mapping[Card, NDArray[np.uint8]]) -> None:
        self._cards, self._faces = list(faces), list(faces.values())

    def __len__(self) -> int:
        return len(self._cards) * PHOTOS_A_FACE

    def __getitem__(self, index: int) -> Example:
        """Inputs {"image": uint8 (224, 224, 3)}, targets {"suit": int64 (), "rank": int64 ()}."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = index // PHOTOS_A_FACE
        jpeg = photograph(self._faces[number], self._faces, np.random.default_rng(index))
        return {"image": decode_image(jpeg, height=SIZE, width=SIZE)}, targets(self._cards[number])


@app.command()
def real_decks(
    checkpoint: Annotated[Path, typer.Option(help="weights")] = Path("models/cards.safetensors"),
    decks: Annotated[Path, typer.Option(help="folders with an .svgz of a deck each")] = KDE,
    cache: Annotated[Path, typer.Option(help="where drawn faces are kept")] = Path("build/real-decks"),
) -> None:
    """Score a checkpoint on each deck."""
    spec = Cards()
    module, _ = load_checkpoint(spec, checkpoint)
    table = Table("deck", "pictures", "joint", "suit", "rank")
    rows = []
    for name, faces in _decks(decks, cache):
        deck = RealDeck(faces)
        outputs, wanted = evaluate(spec, module, deck)
        right = {head: outputs[head].argmax(axis=1) == wanted[head] for head in ("suit", "rank")}
        rows.append((spec.score(outputs, wanted), right["suit"].mean(), right["rank"].mean()))
        table.add_row(name, str(len(deck)), *(f"{share:.3f}" for share in rows[-1]))
    table.add_row("mean of the decks", "", *(f"{share:.3f}" for share in np.mean(rows, axis=0)))
    Console().print(table)


def _decks(folder: Path, cache: Path) -> Iterator[tuple[str, dict[Card, NDArray[np.uint8]]]]:
    found = [file for file in sorted(folder.glob("*/*.svgz")) if file.parent.name not in OTHER_CARDS]
    if not found:
        raise DataError(f"there is no deck in {folder}: apt-get install kdegames-card-data-kf5 librsvg2-bin")
    for file in found:
        kept = cache / file.parent.name
        for name in track(_NAMES, f"drawing {file.parent.name}", transient=True):
            if not (kept / f"{name}.png").is_file():
                _draw(file, name, kept)
        yield (
            file.parent.name,
            {card: np.asarray(Image.open(kept / f"{name}.png")) for name, card in _NAMES.items()},
        )


def _draw(deck: Path, name: str, folder: Path) -> None:
    """Draw one face as a PNG of about 520 pixels in height."""
    folder.mkdir(parents=True, exist_ok=True)
    drawing = folder / "deck.svg"
    if not drawing.is_file():
        drawing.write_bytes(gzip.decompress(deck.read_bytes()))
    zoom = 2.0
    for _ in range(3):
        command = ["rsvg-convert", "--unlimited", "--zoom", str(zoom), "--export-id", name, str(drawing)]
        image = Image.open(io.BytesIO(subprocess.run(command, capture_output=True, check=True).stdout)).convert("RGBA")
        # The drawing is somewhere on the page, and the size of the page differs.
        box = image.getchannel("A").point(lambda alpha: 255 * (alpha > 128)).getbbox()
        if box is None:
            raise DataError(f"{name} of {deck} is empty")
        if 380 <= box[3] - box[1] <= 700:
            break
        zoom *= 520 / (box[3] - box[1])
    image.crop(box).save(folder / f"{name}.png")


if __name__ == "__main__":
    app()
