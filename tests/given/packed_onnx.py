"""A bare ONNX file, packed with labels."""

from __future__ import annotations

from pathlib import Path

from lading.artifact import Artifact
from lading.build.onnx_declared import Declared
from lading.build.onnx_file import pack_onnx
from lading.build.onnx_pictures import read_words
from tests.given.onnx_text import CLASSIFIER, COLOURS, NCHW, parse, save
from tests.given.quick_verify import quick_verify

LABELS = ("setosa", "versicolor", "virginica")


def packed_classifier(folder: Path) -> Artifact:
    """float32 x (batch, 4) to probabilities y (batch, 3) of three labels, as model ``iris``."""
    labels = folder / "labels.txt"
    labels.write_text("\n".join(LABELS))
    with quick_verify():
        return pack_onnx(save(parse(CLASSIFIER), folder / "iris.onnx"), folder / "artifact", name="iris", labels=labels)


def packed_pictures(folder: Path, *images: str) -> Artifact:
    """Normalised float32 (batch, 3, 16, 16) to the strongest colour (batch, 3), as model ``colours``."""
    labels = folder / "labels.txt"
    labels.write_text("red\ngreen\nblue")
    with quick_verify():
        return pack_onnx(
            save(parse(COLOURS, NCHW), folder / "colours.onnx"),
            folder / "artifact",
            name="colours",
            labels=labels,
            declared=Declared(pictures=tuple(map(read_words, images))),
        )
