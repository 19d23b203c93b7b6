"""Small random changes to a training picture that leave its card readable."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def augment(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Turn, move, tint and sometimes blur or cover a part.

    Args:
        image: uint8 (height, width, 3).
        rng: decides everything.

    Returns:
        uint8 of the same shape.
    """
    rows, columns = image.shape[:2]
    # A card reads the same upside down.
    turn = rng.normal(0, 4) + (180 if rng.random() < 0.5 else 0)
    matrix = cv2.getRotationMatrix2D((columns / 2, rows / 2), turn, rng.uniform(0.92, 1.08))
    matrix[:, 2] += rng.uniform(-0.05, 0.05, size=2) * (columns, rows)
    matrix[:, 0] *= rng.uniform(0.95, 1.05)
    image = cv2.warpAffine(image, matrix, (columns, rows), borderMode=cv2.BORDER_REPLICATE)
    ramp = np.linspace(0, 1, 256)[:, None]
    gain = np.exp(rng.normal(0, 0.1)) * np.exp(rng.normal(0, 0.04, size=3))
    table = np.clip(ramp ** np.exp(rng.normal(0, 0.15)) * gain + rng.uniform(-0.04, 0.04), 0, 1)
    image = cv2.LUT(image, np.round(table * 255).astype(np.uint8)[None])
    if rng.random() < 0.12:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.1))
    if rng.random() < 0.2:
        height, width = (rng.uniform(0.08, 0.25, size=2) * (rows, columns)).astype(int)
        top, left = int(rng.integers(0, rows - height)), int(rng.integers(0, columns - width))
        image[top : top + height, left : left + width] = rng.integers(0, 256, size=3)
    return np.asarray(image, dtype=np.uint8)
