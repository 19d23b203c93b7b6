"""A flat card as a camera or a scanner sees it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from models.card_decks.canvas import Canvas
from models.card_decks.patterns import clouds
from models.card_decks.shapes import ellipse, star

Picture = NDArray[np.uint8]
SCAN_SHARE = 0.35
"""Share of pictures that are scans or cut-outs: the card fills them, upright, as in most collections of card images."""


def photograph(face: Picture, others: Sequence[Picture], rng: np.random.Generator) -> bytes:
    """Take one picture of a card.

    Args:
        face: RGBA, uint8 (height, width, 4).
        others: backs and faces that may lie about, RGBA.
        rng: decides everything.

    Returns:
        A JPEG of 160 to 360 pixels a side, of any common aspect.
    """
    image = _scan(face, rng) if rng.random() < SCAN_SHARE else _photo(face, others, rng)
    quality = int(rng.integers(55, 97))
    jpeg: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=quality, colorsubsampling="420")
    return jpeg


def _scan(face: Picture, rng: np.random.Generator) -> Picture:
    rows = int(rng.integers(224, 330))
    # Collections store scans as squares as often as in the card's own aspect.
    columns = rows if rng.random() < 0.5 else round(rows * face.shape[1] / face.shape[0])
    shade = int(rng.choice([255, 255, 255, 0, int(rng.integers(0, 256))]))
    background = np.full((rows, columns, 3), shade, np.uint8)
    inset = rng.uniform(-0.03, 0.06, size=2) * (columns, rows)
    corners = _rectangle(columns / 2, rows / 2, columns - 2 * inset[0], rows - 2 * inset[1])
    corners = _turn(corners, np.radians(rng.normal(0, 1.5) + (180 if rng.random() < 0.15 else 0)), rows / columns)
    image = _lay(background, face, corners)
    if rng.random() < 0.5:
        image = _tone(image, rng, strength=0.4)
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.2))
    return image


def _photo(face: Picture, others: Sequence[Picture], rng: np.random.Generator) -> Picture:
    rows, columns = _frame_size(rng)
    image = _background(rng, columns, rows)
    for _ in range(int(rng.choice([0, 0, 1, 2, 3]))):
        other = others[int(rng.integers(len(others)))]
        image = _lay(image, other, _place(other, columns, rows, rng, away=True))
    corners = _place(face, columns, rows, rng)
    image = _shadow_under(image, corners, rng)
    image = _lay(image, face, corners)
    if rng.random() < 0.12:
        _finger(image, corners, rng)
    image = _light(image, rng)
    image = _tone(image, rng, strength=1.0)
    image = _blur(image, rng)
    return _noise(image, rng)


def _frame_size(rng: np.random.Generator) -> tuple[int, int]:
    longer = int(rng.integers(230, 361))
    shorter = round(longer * float(rng.choice([1.0, 0.75, 0.75, 0.5625])))
    return (longer, shorter) if rng.random() < 0.6 else (shorter, longer)


def _rectangle(x: float, y: float, width: float, height: float) -> NDArray[np.float64]:
    dx, dy = width / 2, height / 2
    return np.array([(x - dx, y - dy), (x + dx, y - dy), (x + dx, y + dy), (x - dx, y + dy)])


def _turn(corners: NDArray[np.float64], angle: float, aspect: float = 1.0) -> NDArray[np.float64]:
    """Turn about the centre; ``aspect`` keeps a turn inside a stretched frame from shearing more than a scan does."""
    centre = corners.mean(axis=0)
    cosine, sine = np.cos(angle), np.sin(angle)
    matrix = np.array([(cosine, sine * aspect), (-sine / aspect, cosine)])
    return np.asarray((corners - centre) @ matrix + centre)


def _place(
    face: Picture, columns: int, rows: int, rng: np.random.Generator, *, away: bool = False
) -> NDArray[np.float64]:
    """Corners of a card in the frame: turned, tilted, and cut off by at most a sixth."""
    aspect = face.shape[1] / face.shape[0]
    angle = np.radians(_angle(rng) if not away else rng.uniform(0, 360))
    # The largest upright card that fits, then smaller or a little larger.
    spread_x = abs(np.cos(angle)) * aspect + abs(np.sin(angle))
    spread_y = abs(np.cos(angle)) + abs(np.sin(angle)) * aspect
    fitting = min(columns / spread_x, rows / spread_y)
    height = fitting * rng.uniform(0.7, 1.12)
    corners = _turn(_rectangle(0, 0, height * aspect, height), angle)
    corners = _tilt(corners, rng)
    span = corners.max(axis=0) - corners.min(axis=0)
    frame = np.array([columns, rows])
    room = np.maximum(frame - span, 0) / 2 + 0.07 * span
    centre = frame / 2 + rng.uniform(-1, 1, size=2) * room
    if away:
        centre = frame / 2 + rng.choice([-1, 1], size=2) * rng.uniform(0.45, 0.7, size=2) * frame
    return np.asarray(corners - (corners.max(axis=0) + corners.min(axis=0)) / 2 + centre)


def _angle(rng: np.random.Generator) -> float:
    draw = rng.random()
    if draw < 0.12:
        return float(rng.uniform(0, 360))
    return float(rng.normal(0, 10) + (180 if draw < 0.4 else 0))


def _tilt(corners: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Look at a plane from the side: rotate it about its two axes and project."""
    around_x, around_y = np.radians(rng.normal(0, 12, size=2).clip(-35, 35))
    size = np.abs(corners).max()
    x, y = corners[:, 0] * np.cos(around_y), corners[:, 1] * np.cos(around_x)
    depth = corners[:, 0] * np.sin(around_y) + corners[:, 1] * np.sin(around_x)
    scale = 1 / (1 + depth / (size * rng.uniform(3.0, 7.0)))
    return np.stack([x * scale, y * scale], axis=1)


def _lay(image: Picture, face: Picture, corners: NDArray[np.float64]) -> Picture:
    rows, columns = image.shape[:2]
    width = float(np.linalg.norm(corners[1] - corners[0]))
    if width < face.shape[1] * 0.72:
        # Linear sampling sees four pixels: shrink first, so that fine print blurs instead of flickering.
        shrink = max(0.2, width / face.shape[1])
        face = cv2.resize(face, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    source = np.array([(0, 0), (face.shape[1], 0), (face.shape[1], face.shape[0]), (0, face.shape[0])], np.float32)
    matrix = cv2.getPerspectiveTransform(source, corners.astype(np.float32))
    warped = cv2.warpPerspective(face, matrix, (columns, rows), flags=cv2.INTER_LINEAR)
    alpha = warped[..., 3:].astype(np.float32) / 255
    return np.asarray(image * (1 - alpha) + warped[..., :3] * alpha + 0.5).astype(np.uint8)


def _background(rng: np.random.Generator, columns: int, rows: int) -> Picture:
    kind = rng.choice(["flat", "gradient", "wood", "cloth", "clouds", "clutter"], p=[0.12, 0.16, 0.2, 0.17, 0.15, 0.2])
    base = rng.uniform(15, 240, size=3) if rng.random() < 0.5 else np.full(3, rng.uniform(15, 250))
    image = np.broadcast_to(base.astype(np.float32), (rows, columns, 3)).copy()
    if kind == "gradient":
        ramp = np.linspace(-1, 1, columns, dtype=np.float32)[None, :, None] * rng.uniform(-70, 70, 3).astype(np.float32)
        image += ramp + np.linspace(-1, 1, rows, dtype=np.float32)[:, None, None] * rng.uniform(-50, 50)
    elif kind == "wood":
        base = np.array([rng.uniform(90, 220), rng.uniform(60, 160), rng.uniform(30, 110)], np.float32)
        grain = rng.normal(0, 1, size=(max(4, rows // int(rng.integers(3, 12))), 4, 1)).astype(np.float32)
        grain = cv2.resize(grain, (columns, rows), interpolation=cv2.INTER_CUBIC)[..., None]
        image = base + grain * rng.uniform(6, 24)
    elif kind == "cloth":
        weave = rng.normal(0, rng.uniform(4, 22), size=(rows, columns, 1)).astype(np.float32)
        image += cv2.GaussianBlur(weave, (0, 0), rng.uniform(0.4, 1.5))[..., None]
    elif kind == "clouds":
        return clouds(rng, columns, rows)
    elif kind == "clutter":
        return _clutter(rng, columns, rows)
    return np.clip(image, 0, 255).astype(np.uint8)


def _clutter(rng: np.random.Generator, columns: int, rows: int) -> Picture:
    canvas = Canvas(columns, rows, tuple(int(part) for part in rng.integers(0, 256, 3)))  # type: ignore[arg-type]
    for _ in range(int(rng.integers(5, 30))):
        x, y = rng.uniform(0, columns), rng.uniform(0, rows)
        size = rng.uniform(0.03, 0.3) * columns
        colour = tuple(int(part) for part in rng.integers(0, 256, 3))
        shape = star(int(rng.integers(3, 7)), rng.uniform(0.4, 1)) if rng.random() < 0.5 else ellipse(0, 0, 1, 0.6)
        canvas.fill([_turn(shape, rng.uniform(0, 6.3)) * size + (x, y)], colour)  # type: ignore[arg-type]
    return cv2.GaussianBlur(canvas.pixels, (0, 0), rng.uniform(0.3, 3))


def _shadow_under(image: Picture, corners: NDArray[np.float64], rng: np.random.Generator) -> Picture:
    mask: NDArray[np.float32] = np.zeros(image.shape[:2], np.float32)
    offset = rng.normal(0, 4, size=2)
    cv2.fillPoly(mask, [np.round(corners + offset).astype(np.int32)], float(rng.uniform(0.1, 0.6)))
    mask = cv2.GaussianBlur(mask, (0, 0), rng.uniform(1.5, 8))
    return np.asarray(image * (1 - mask[..., None])).astype(np.uint8)


def _finger(image: Picture, corners: NDArray[np.float64], rng: np.random.Generator) -> None:
    """Cover part of one edge, never the corners that hold the indexes."""
    edge = int(rng.choice([0, 1, 2, 3]))
    point = corners[edge] * 0.5 + corners[(edge + 1) % 4] * 0.5
    inward = corners.mean(axis=0) - point
    reach = rng.uniform(0.05, 0.3)
    angle = float(np.degrees(np.arctan2(inward[1], inward[0])))
    length, thick = (
        float(np.linalg.norm(inward)),
        float(np.linalg.norm(corners[1] - corners[0]) * rng.uniform(0.07, 0.13)),
    )
    skin = tuple(int(part) for part in np.array([225, 175, 145]) * rng.uniform(0.35, 1.1) // 1)
    centre = point - inward * (0.6 - reach)
    axes = (max(1, round(length * 0.6)), max(1, round(thick)))
    cv2.ellipse(image, (round(centre[0]), round(centre[1])), axes, angle, 0, 360, skin, -1, cv2.LINE_AA)


def _light(image: Picture, rng: np.random.Generator) -> Picture:
    rows, columns = image.shape[:2]
    coarse = 1 + rng.normal(0, 1, size=(3, 3)).astype(np.float32) * rng.uniform(0.02, 0.16)
    field = cv2.resize(coarse.astype(np.float32), (columns, rows), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.3:
        # The edge of a shadow across the picture.
        point, normal = rng.uniform(0.2, 0.8, 2) * (columns, rows), rng.normal(size=2)
        x, y = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
        side = ((x - point[0]) * normal[0] + (y - point[1]) * normal[1]) / np.linalg.norm(normal)
        field = field * (1 - rng.uniform(0.15, 0.5) / (1 + np.exp(-np.clip(side / rng.uniform(1, 18), -30, 30))))
    lit = image * field[..., None]
    if rng.random() < 0.15:
        x, y = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
        spot, size = rng.uniform(0.1, 0.9, 2) * (columns, rows), rng.uniform(0.05, 0.2) * columns
        glare = np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / (2 * size**2))
        lit = lit + (glare * rng.uniform(30, 140))[..., None]
    return np.clip(lit, 0, 255).astype(np.uint8)


def _tone(image: Picture, rng: np.random.Generator, *, strength: float) -> Picture:
    """Exposure, white balance and gamma, through one table a channel."""
    ramp = np.linspace(0, 1, 256)
    gain = np.exp(rng.normal(0, 0.14 * strength)) * np.exp(rng.normal(0, 0.06 * strength, size=3))
    gamma, lift = np.exp(rng.normal(0, 0.18 * strength)), rng.uniform(0, 0.12) * strength
    table = np.clip(lift + (1 - lift) * ramp[:, None] ** gamma * gain, 0, 1)
    return cv2.LUT(image, np.round(table * 255).astype(np.uint8)[None])


def _blur(image: Picture, rng: np.random.Generator) -> Picture:
    scale = max(image.shape) / 320
    if rng.random() < 0.45:
        image = cv2.GaussianBlur(image, (0, 0), scale * rng.uniform(0.3, 1.5))
    if rng.random() < 0.18:
        length = max(2, round(scale * rng.uniform(2, 7)))
        kernel = np.zeros((length, length), np.float32)
        kernel[length // 2] = 1
        turn = cv2.getRotationMatrix2D(((length - 1) / 2, (length - 1) / 2), rng.uniform(0, 180), 1)
        kernel = cv2.warpAffine(kernel, turn, (length, length))
        image = cv2.filter2D(image, -1, kernel / max(1e-6, float(kernel.sum())))
    return image


def _noise(image: Picture, rng: np.random.Generator) -> Picture:
    if rng.random() < 0.35:
        return image
    noise = rng.standard_normal(size=image.shape, dtype=np.float32) * rng.uniform(1, 11)
    return np.clip(image + noise, 0, 255).astype(np.uint8)
