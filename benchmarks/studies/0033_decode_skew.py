"""How many answers does decoding change? Decision 33: at most 0.1 %.

It makes photos as clients send them, and an NCHW graph of floats, for ``lading doctor --decode``. The photos are of
decks that training never saw, drawn at several sizes, JPEG qualities and EXIF orientations. The graph is the reference
network, fed like one that was trained on ImageNet.

    python -m benchmarks.studies.0033_decode_skew build/skew
    lading doctor artifacts/cards --decode build/skew/photos
    lading pack build/skew/suits.onnx --labels build/skew/labels.txt --image imagenet
    lading doctor artifacts/suits --decode build/skew/photos
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from joblib import Parallel, delayed
from PIL import Image
from torch import nn

from lading.build.train.checkpoint import load_checkpoint
from models.card_decks.labels import CARDS, SUITS
from models.card_decks.photograph import photograph
from models.card_decks.rendered import Faces
from models.card_decks.style import sample_style
from models.cards import Cards

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
SEED = 3_000_000
SIDES = (0, 0, 1280, 1920, 4032)
"""Pixels of the long side; 0: as drawn, a few hundred. A phone has 4032."""
ORIENTATION = 0x0112


def photos_of(deck: int, count: int, folder: Path) -> None:
    """Write JPEGs of one deck."""
    rng = np.random.default_rng([SEED, deck])
    faces = Faces(sample_style(SEED + deck, held_out=False))
    for number in range(count):
        card = int(rng.integers(len(CARDS)))
        image: Image.Image = Image.open(io.BytesIO(photograph(faces[1 + card], faces, rng)))
        side = SIDES[int(rng.integers(len(SIDES)))]
        if side:
            ratio = side / max(image.size)
            size = round(image.width * ratio), round(image.height * ratio)
            image = image.resize(size, Image.Resampling.LANCZOS)
        exif = Image.Exif()
        exif[ORIENTATION] = turned = int(rng.choice([1, 1, 3, 6, 8]))
        upright = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
        image = image.transpose(upright[turned]) if turned in upright else image
        quality, subsampling = int(rng.integers(50, 97)), int(rng.choice([0, 2]))
        image.save(folder / f"{deck:04}-{number}.jpg", quality=quality, subsampling=subsampling, exif=exif)


class Normalised(nn.Module):
    """float32 (batch, 3, 224, 224), normalised as for ImageNet, to probabilities of the suit (batch, 5)."""

    def __init__(self) -> None:
        super().__init__()
        spec = Cards()
        self.network = load_checkpoint(spec, spec.checkpoint())[0]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.network.suit(self.network.backbone(image)).softmax(1)  # type: ignore[no-any-return, operator]


@app.command()
def write(
    out: Annotated[Path, typer.Argument(help="folder to write to")],
    decks: Annotated[int, typer.Option(min=1)] = 250,
    photos: Annotated[int, typer.Option(min=1, help="of each deck")] = 8,
) -> None:
    """Write the photos, and a graph of floats in NCHW with its labels."""
    folder = out / "photos"
    folder.mkdir(parents=True, exist_ok=True)
    Parallel(n_jobs=2)(delayed(photos_of)(deck, photos, folder) for deck in range(decks))
    (out / "labels.txt").write_text("\n".join(SUITS))
    batch = torch.export.Dim("batch")
    torch.onnx.export(
        Normalised().eval(),
        (torch.zeros(2, 3, 224, 224),),
        out / "suits.onnx",
        input_names=["input"],
        output_names=["suit"],
        dynamic_shapes=({0: batch},),
        dynamo=True,
        external_data=False,
    )
    typer.echo(f"{out}: {len(list(folder.iterdir()))} photos, and a graph of floats with its labels")


if __name__ == "__main__":
    app()
