"""Fonts that come as files of installed packages, split into those of training decks and those of held-out decks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lading.errors import DataError
from models.card_decks import pen

TRAIN = {
    "matplotlib": (
        r"(DejaVu(Sans|Serif|SansMono)(-Bold|-Oblique|-BoldOblique|-Italic|-BoldItalic)?"
        r"|STIXGeneral(Bol)?|cmr10|cmb10)\.ttf"
    ),
    "font-roboto": r"Roboto-(Black|Bold|Medium|Regular|Light|Italic)\.ttf",
    "font-source-serif-pro": r"SourceSerifPro-(Black|Bold|Semibold|Regular|Light|BoldIt)\.ttf",
    "font-fredoka-one": r"FredokaOne-Regular\.ttf",
    "font-lato": r"Lato-(Black|Bold|Regular|Light|BoldItalic)\.ttf",
    "ttf-opensans": r"OpenSans-(ExtraBold|Bold|Regular|Light)\.ttf",
}
WIDE = {
    "matplotlib": r"(STIXGeneral(BolIta|Italic)|cmss10|cmtt10|cmti10)\.ttf",
    "font-amatic-sc": r"AmaticSC-(Bold|Regular)\.ttf",
    "font-fjallaone": r"FjallaOne-Regular\.ttf",
    "font-rhd": r"RedHatDisplay-(Black|Bold|Medium|Regular|Light|BoldItalic)\.ttf",
}
"""What wide training decks may have besides."""
HELD_OUT = {
    "font-caladea": r"Caladea-(Regular|Bold|BoldItalic)\.ttf",
    "font-hanken-grotesk": r"HankenGrotesk-(Bold|Medium|Regular)\.otf",
    "font-manrope": r"Manrope-(ExtraBold|SemiBold|Regular)\.ttf",
    "font-source-sans-pro": r"SourceSansPro-(Black|Semibold|Regular)\.ttf",
    "font-intuitive": r"Intuitive\.ttf",
}
"""Families, not only weights, are held out: no letter of these is in any training picture."""


@cache
def font_files(held_out: bool, *, wide: bool = False) -> tuple[Path, ...]:
    """Every font file of one side of the split, in a fixed order; those of wide decks after the others.

    Raises:
        DataError: a package that holds fonts is not installed.
    """
    found: list[Path] = []
    sources = [*(HELD_OUT if held_out else TRAIN).items(), *(WIDE.items() if wide else ())]
    for package, pattern in sources:
        try:
            files = metadata.files(package) or []
        except metadata.PackageNotFoundError:
            raise DataError(f"rendering cards needs the package {package}: pip install 'lading[cards]'") from None
        matching = sorted({str(file.locate()) for file in files if re.fullmatch(pattern, file.name)})
        found.extend(Path(file) for file in matching)
    return tuple(found)


@dataclass(frozen=True)
class Lettering:
    """How a deck writes its indexes: a font, and what its printer made of it."""

    font: Path
    stretch: float
    """Factor on the width: indexes of real decks are condensed."""
    weight: float = 0.0
    """What strokes gain on each side, or lose, as a share of the height of a capital letter."""
    slant: float = 0.0
    """Tangent of the angle that letters lean to the right."""
    bend: int | None = None
    """Seed of a smooth distortion; none: as the font has it."""
    hand: int | None = None
    """Seed of a hand that writes indexes with a pen instead of the font."""


@cache
def glyphs(lettering: Lettering, text: str, height: int, narrow: float = 1.0) -> NDArray[np.uint8]:
    """Render a word as a mask cut to its ink.

    Args:
        lettering: the font and its changes.
        text: what to write.
        height: of a capital letter, in pixels.
        narrow: factor on the width, beside the lettering's own.

    Returns:
        uint8 (rows, columns), 255 where there is ink.
    """
    if lettering.hand is not None and pen.ALPHABET.issuperset(text):
        image, scale = Image.fromarray(pen.written(text, lettering.hand)), height / pen.CAPITAL
    else:
        image, scale = _printed(lettering.font, text, height)
    image, scale = _changed(image, scale, lettering)
    size = (max(2, round(image.width * scale * lettering.stretch * narrow)), max(2, round(image.height * scale)))
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS))


def _printed(file: Path, text: str, height: int) -> tuple[Image.Image, float]:
    """A word in a font, cut to its ink, and the factor that makes its capitals as high as asked."""
    font = _font(file, height * 2)
    left, top, right, bottom = font.getbbox(text)
    image = Image.new("L", (int(right - left) + 4, int(bottom - top) + 4))
    ImageDraw.Draw(image).text((2 - left, 2 - top), text, fill=255, font=font)
    box = image.getbbox()
    if box is not None:
        image = image.crop(box)
    capital = font.getbbox("K")
    return image, height / max(1, capital[3] - capital[1])


def _changed(image: Image.Image, scale: float, lettering: Lettering) -> tuple[Image.Image, float]:
    """Lean, bend and thicken or thin the letters; returns them cut to their ink, as high as they were."""
    if not lettering.slant and not lettering.weight and lettering.bend is None:
        return image, scale
    edge = image.height // 2 + 2
    ink = cv2.copyMakeBorder(np.asarray(image), edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=0)
    rows, columns = ink.shape
    x, y = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
    from_x, from_y = x + lettering.slant * (y - rows / 2), y
    if lettering.bend is not None:
        rng = np.random.default_rng([lettering.bend, 29])
        for _ in range(2):
            push, wave, phase = rng.uniform(-0.05, 0.05, 2), rng.uniform(3, 9, 2), rng.uniform(0, 6.3, 2)
            from_x = from_x + push[0] * image.height * np.sin(wave[0] * y / image.height + phase[0])
            from_y = from_y + push[1] * image.height * np.sin(wave[1] * x / image.height + phase[1])
    ink = cv2.remap(ink, from_x.astype(np.float32), from_y.astype(np.float32), cv2.INTER_LINEAR)
    radius = round(abs(lettering.weight) * image.height)
    if radius:
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        changed = (cv2.dilate if lettering.weight > 0 else cv2.erode)(ink, disc)
        # A thin font is not thinned until it is gone.
        ink = changed if changed.sum() > 0.4 * ink.sum() else ink
    left, top, width, height = cv2.boundingRect(ink)
    return Image.fromarray(ink[top : top + height, left : left + width]), scale * image.height / max(1, height)


@cache
def _font(file: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(file), size)
