"""Fonts that come as files of installed packages, split into those of training decks and those of held-out decks."""

from __future__ import annotations

import re
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lading.errors import DataError

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
HELD_OUT = {
    "font-caladea": r"Caladea-(Regular|Bold|BoldItalic)\.ttf",
    "font-hanken-grotesk": r"HankenGrotesk-(Bold|Medium|Regular)\.otf",
    "font-manrope": r"Manrope-(ExtraBold|SemiBold|Regular)\.ttf",
    "font-source-sans-pro": r"SourceSansPro-(Black|Semibold|Regular)\.ttf",
    "font-intuitive": r"Intuitive\.ttf",
}
"""Families, not only weights, are held out: no letter of these is in any training picture."""


@cache
def font_files(held_out: bool) -> tuple[Path, ...]:
    """Every font file of one side of the split, in a fixed order.

    Raises:
        DataError: a package that holds fonts is not installed.
    """
    found: list[Path] = []
    for package, pattern in (HELD_OUT if held_out else TRAIN).items():
        try:
            files = metadata.files(package) or []
        except metadata.PackageNotFoundError:
            raise DataError(f"rendering cards needs the package {package}: pip install 'lading[cards]'") from None
        matching = sorted({str(file.locate()) for file in files if re.fullmatch(pattern, file.name)})
        found.extend(Path(file) for file in matching)
    return tuple(found)


@cache
def glyphs(file: Path, text: str, height: int, stretch: float) -> NDArray[np.uint8]:
    """Render a word as a mask cut to its ink.

    Args:
        file: the font.
        text: what to write.
        height: of a capital letter, in pixels.
        stretch: factor on the width: indexes of real decks are condensed.

    Returns:
        uint8 (rows, columns), 255 where there is ink.
    """
    font = _font(file, height * 2)
    left, top, right, bottom = font.getbbox(text)
    image = Image.new("L", (int(right - left) + 4, int(bottom - top) + 4))
    ImageDraw.Draw(image).text((2 - left, 2 - top), text, fill=255, font=font)
    box = image.getbbox()
    if box is not None:
        image = image.crop(box)
    capital = font.getbbox("K")
    scale = height / max(1, capital[3] - capital[1])
    size = (max(2, round(image.width * scale * stretch)), max(2, round(image.height * scale)))
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS))


@cache
def _font(file: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(file), size)
