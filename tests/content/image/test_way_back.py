"""Without the two small decoding packages, Pillow alone gives the same pictures to within a few levels of 255."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lading.content.image import decode_image
from tests.given.hostile_pictures import every_format

ROOT = Path(__file__).parents[3]
SIZES = ((150, 100), (210, 165))
HEIGHT, WIDTH = 24, 32
DECODE_WITHOUT = """
import io, sys
for package in sys.argv[1].split(","):
    sys.modules[package] = None  # makes its import fail
import numpy as np
from lading.content.image import Pictures, decode_image
from tests.content.image.test_way_back import HEIGHT, WIDTH, SIZES
from tests.given.hostile_pictures import every_format
found = {f"{name} {size}": decode_image(data, height=HEIGHT, width=WIDTH)
         for size in SIZES for name, data in every_format(*size).items()}
found["encoded"] = decode_image(Pictures().encode(found["webp (150, 100)"]), height=HEIGHT, width=WIDTH)
np.savez(sys.stdout.buffer, **found)
"""


# Pillow decodes a JPEG at 1/2, 1/4 or 1/8, and simplejpeg at any number of eighths, so edges differ in sharpness.
# These pictures are all edges.
@pytest.mark.parametrize(
    ("packages", "mean", "largest"),
    [("cykooz_resizer", 0.5, 1), ("simplejpeg", 5, 40), ("simplejpeg,cykooz_resizer", 5, 40)],
)
def test_pillow_alone_gives_the_same_pictures(packages: str, mean: float, largest: int) -> None:
    command = [sys.executable, "-c", DECODE_WITHOUT, packages]
    done = subprocess.run(command, capture_output=True, check=True, cwd=ROOT)
    found = np.load(io.BytesIO(done.stdout))
    for size in SIZES:
        for name, data in every_format(*size).items():
            expected = decode_image(data, height=HEIGHT, width=WIDTH).astype(int)
            difference = np.abs(found[f"{name} {size}"] - expected)
            assert difference.mean() <= mean, (name, size)
            assert difference.max() <= largest, (name, size)
    assert np.abs(found["encoded"] - found["webp (150, 100)"].astype(int)).mean() < 5
