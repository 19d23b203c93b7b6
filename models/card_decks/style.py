"""A deck's style: everything that tells two decks apart, drawn from a seed.

Training decks and held-out decks choose from disjoint sets of fonts, court art and ornaments, and from disjoint ranges
of the suits' shapes, so that a held-out deck is a new deck and not a new mixture.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, replace

import numpy as np

from models.card_decks.canvas import Colour
from models.card_decks.fonts import Lettering, font_files
from models.card_decks.shapes import Points, club, diamond, heart, redrawn, spade

TRAIN_COURTS = ("figure", "figure", "mosaic", "picture", "letter", "panel", "pip", "pip")
WIDE_COURTS = (*TRAIN_COURTS, *["sign"] * 4)
HELD_OUT_COURTS = ("emblem", "outline", "stripes")
TRAIN_ACES = ("plain", "huge", "wreath", "inlay", "framed")
WIDE_ACES = (*TRAIN_ACES, "disc", "bars", "sign")
HELD_OUT_ACES = ("plain", "rays")
TRAIN_JOKERS = ("jester", "figure", "picture", "mosaic", "star", "suits", "shapes", "shapes")
HELD_OUT_JOKERS = ("mask", "stripes")
LAYOUTS = (*["standard"] * 8, "tight", "upright", "none", "large")
INDEX_ONLY = ("none", "large", "sign")
"""Layouts whose number cards say their number in the index alone."""
TRAIN_LAYOUTS = (*LAYOUTS, "columns", "columns")
WIDE_LAYOUTS = (*TRAIN_LAYOUTS, *["offset"] * 4, "none", "large", "large", *["sign"] * 3)


@dataclass(frozen=True)
class DeckStyle:
    """How one deck is printed. Lengths are shares of the card's height."""

    seed: int
    held_out: bool
    wide: bool
    aspect: float
    paper: Colour
    frame: Colour | None
    frame_inset: float
    corner: float
    colours: dict[str, Colour]
    shapes: dict[str, list[Points]]
    pip_width: float
    """Width of a pip over its height."""
    pip_size: float
    layout: str
    lettering: Lettering
    index_height: float
    index_x: float
    index_y: float
    index_gap: float
    index_pip: float
    """Height of the small suit beside the rank; 0 for none."""
    index_beside: bool
    corners: int
    """2 or 4 corners with an index."""
    ink: Colour | None
    """Of ranks printed in one colour for all suits."""
    court: str
    court_frame: bool
    ace: str
    joker: str
    joker_word: str
    texture: float
    """Strength of a picture printed behind the pips."""
    palette: tuple[Colour, ...]
    inverse: bool = False
    """Light pips on cards of their suit's colour."""
    disguised: bool = False
    """Crowns, caps and beards of court cards say nothing about the rank."""


def sample_style(seed: int, *, held_out: bool, wide: bool = False) -> DeckStyle:
    """Draw a style. The same arguments give the same style on every machine.

    Args:
        seed: the deck.
        held_out: a deck of the test, which no training deck is like.
        wide: a training deck of more families: most leave it to the index to say which card it is.
    """
    rng = np.random.default_rng([seed, int(held_out)])
    dark = rng.random() < 0.08
    paper = _paper(rng, dark)
    layout = str(rng.choice(LAYOUTS if held_out else WIDE_LAYOUTS if wide else TRAIN_LAYOUTS))
    index_height = float(rng.choice([rng.uniform(0.08, 0.105), rng.uniform(0.1, 0.135), rng.uniform(0.13, 0.19)]))
    if layout in INDEX_ONLY:
        # A deck that does not show its number in pips prints a large one in the corner.
        index_height = max(index_height, 0.13)
    return DeckStyle(
        seed=seed,
        held_out=held_out,
        wide=wide,
        aspect=float(rng.choice([0.714, 0.714, 0.643, rng.uniform(0.6, 0.76)])),
        paper=paper,
        frame=_any(rng, 0.2, 0.9, 0.2, 0.9) if rng.random() < 0.2 else None,
        frame_inset=float(rng.uniform(0.01, 0.035)),
        corner=float(rng.uniform(0.02, 0.07)),
        colours=_suit_colours(rng, dark),
        shapes=_suit_shapes(rng, seed, held_out=held_out, wide=wide),
        pip_width=float(rng.uniform(0.78, 1.0)),
        pip_size=float(rng.uniform(0.12, 0.215)),
        layout=layout,
        lettering=_lettering(rng, seed, held_out=held_out, wide=wide),
        index_height=index_height,
        index_x=float(rng.uniform(0.05, 0.075) + index_height * 0.22),
        index_y=float(rng.uniform(0.02, 0.055)),
        index_gap=float(rng.uniform(0.008, 0.03)),
        index_pip=float(index_height * rng.uniform(0.5, 1.15)) if rng.random() < 0.96 else 0.0,
        index_beside=bool(rng.random() < 0.14),
        corners=4 if rng.random() < 0.18 else 2,
        ink=None if rng.random() < 0.97 or dark else (20, 20, 24),
        court=str(rng.choice(HELD_OUT_COURTS if held_out else WIDE_COURTS if wide else TRAIN_COURTS)),
        court_frame=bool(rng.random() < 0.65),
        ace=str(rng.choice(HELD_OUT_ACES if held_out else WIDE_ACES if wide else TRAIN_ACES)),
        joker=str(rng.choice(HELD_OUT_JOKERS if held_out else TRAIN_JOKERS)),
        joker_word=str(rng.choice(["JOKER", "JOKER", "Joker", "joker", ""])),
        texture=float(rng.uniform(0.05, 0.35)) if rng.random() < 0.15 else 0.0,
        palette=_palette(rng),
        # Of a generator of their own, so that the other decks stay what they were.
        inverse=wide and bool(np.random.default_rng([seed, 41]).random() < 0.06),
        disguised=wide and bool(np.random.default_rng([seed, 43]).random() < 0.7),
    )


def inverted(style: DeckStyle, suit: str) -> DeckStyle:
    """The style of one suit's cards in a deck that prints light pips on the suit's colour."""
    paper = style.colours[suit]
    light: Colour = tuple(200 + part // 5 for part in style.paper)  # type: ignore[assignment]
    dark: Colour = tuple(round(part * 0.6) for part in paper)  # type: ignore[assignment]
    return replace(style, paper=dark, colours=dict.fromkeys(style.colours, light), ink=None, frame=light)


def _lettering(rng: np.random.Generator, seed: int, *, held_out: bool, wide: bool) -> Lettering:
    """A font of this side of the split, and in most wide decks a change of its strokes, or a hand instead of it."""
    fonts = font_files(held_out, wide=wide)
    font, stretch = fonts[int(rng.integers(len(fonts)))], float(rng.uniform(0.5, 1.08))
    if not wide:
        return Lettering(font, stretch)
    own = np.random.default_rng([seed, 37])
    return Lettering(
        font,
        stretch,
        weight=float(own.uniform(-0.03, 0.05)) if own.random() < 0.5 else 0.0,
        slant=float(own.normal(0, 0.12)) if own.random() < 0.3 else 0.0,
        bend=seed if own.random() < 0.5 else None,
        hand=seed if own.random() < 0.3 else None,
    )


def _suit_shapes(rng: np.random.Generator, seed: int, *, held_out: bool, wide: bool) -> dict[str, list[Points]]:
    # Held-out shapes lie outside the training ranges: plumper or slimmer, with other feet and curves.
    def between(low: float, high: float, other_low: float, other_high: float) -> float:
        return float(rng.uniform(other_low, other_high) if held_out else rng.uniform(low, high))

    plump, notch = between(0.0, 0.6, 0.62, 0.85), between(0.25, 0.5, 0.18, 0.24)
    tip = float(rng.uniform(0.0, 0.5))
    foot = between(0.25, 0.6, 0.18, 0.24)
    leaf = between(0.40, 0.48, 0.36, 0.395)
    slim, curve, spread = float(rng.uniform(0, 1)), between(-0.06, 0.22, 0.23, 0.32), float(rng.uniform(0.5, 0.58))
    own = np.random.default_rng([seed, 47])
    stem = {"stem": float(own.uniform(0.04, 0.15))} if wide else {}
    shapes = {
        "hearts": heart(plump, notch, tip),
        "spades": spade(plump, notch, tip, foot, **stem),
        "diamonds": diamond(slim, curve),
        "clubs": club(leaf, spread, foot, **stem),
    }
    if not wide or own.random() < 0.2:
        return shapes
    return {suit: redrawn(outlines, own) for suit, outlines in shapes.items()}


def _suit_colours(rng: np.random.Generator, dark: bool) -> dict[str, Colour]:
    red = _hsv(rng.uniform(0.955, 1.02), rng.uniform(0.75, 1), rng.uniform(0.65, 0.95))
    black = _hsv(rng.uniform(0, 1), rng.uniform(0, 0.4), rng.uniform(0.0, 0.22))
    if dark:
        red = _hsv(rng.uniform(0.96, 1.03), rng.uniform(0.7, 1), rng.uniform(0.8, 1))
        black = _hsv(rng.uniform(0.1, 0.2), rng.uniform(0, 0.5), rng.uniform(0.75, 1))
    colours = {"hearts": red, "diamonds": red, "spades": black, "clubs": black, "joker": black}
    if rng.random() < 0.2:
        colours["clubs"] = _hsv(rng.uniform(0.3, 0.42), rng.uniform(0.7, 1), rng.uniform(0.35, 0.6) + 0.3 * dark)
        blue, orange = rng.uniform(0.56, 0.64), rng.uniform(0.05, 0.09)
        colours["diamonds"] = _hsv(blue if rng.random() < 0.75 else orange, rng.uniform(0.7, 1), rng.uniform(0.6, 0.95))
    elif rng.random() < 0.1:
        # Any four inks: a deck's own idea of telling its suits apart.
        low, high = (0.7, 1.0) if dark else (0.3, 0.75)
        inks = [_hsv(rng.uniform(0, 1), rng.uniform(0.6, 1), rng.uniform(low, high)) for _ in range(4)]
        colours |= dict(zip(("clubs", "diamonds", "hearts", "spades"), inks, strict=True))
        if rng.random() < 0.6:
            colours["hearts"] = red
    elif rng.random() < 0.05:
        # One ink for the whole deck: only the shapes tell the suits apart.
        colours = dict.fromkeys(colours, black)
    return colours


def _paper(rng: np.random.Generator, dark: bool) -> Colour:
    if dark:
        return _hsv(rng.uniform(0, 1), rng.uniform(0, 0.6), rng.uniform(0.03, 0.2))
    if rng.random() < 0.7:
        grey = int(rng.integers(238, 256))
        return (grey, grey, max(0, grey - int(rng.integers(0, 14))))
    return _hsv(rng.uniform(0, 1), rng.uniform(0.03, 0.22), rng.uniform(0.85, 1))


def _palette(rng: np.random.Generator) -> tuple[Colour, ...]:
    base = rng.uniform(0, 1)
    classic = (_hsv(0.0, 0.85, 0.8), _hsv(0.14, 0.8, 0.95), _hsv(0.62, 0.8, 0.55), (20, 20, 20), (245, 240, 230))
    if rng.random() < 0.5:
        return classic
    return tuple(_hsv(base + rng.uniform(-0.5, 0.5), rng.uniform(0.2, 1), rng.uniform(0.2, 1)) for _ in range(5))


def _any(rng: np.random.Generator, s0: float, s1: float, v0: float, v1: float) -> Colour:
    return _hsv(rng.uniform(0, 1), rng.uniform(s0, s1), rng.uniform(v0, v1))


def _hsv(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, min(1.0, saturation), min(1.0, value))
    return (round(red * 255), round(green * 255), round(blue * 255))
