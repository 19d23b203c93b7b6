"""A bare ONNX file, packed with labels."""

from __future__ import annotations

from pathlib import Path

from lading.artifact import Artifact
from lading.build.onnx_file import pack_onnx
from tests.given.onnx_text import CLASSIFIER, parse, save
from tests.given.quick_verify import quick_verify

LABELS = ("setosa", "versicolor", "virginica")


def packed_classifier(folder: Path) -> Artifact:
    """float32 x (batch, 4) to probabilities y (batch, 3) of three labels, as model ``iris``."""
    labels = folder / "labels.txt"
    labels.write_text("\n".join(LABELS))
    with quick_verify():
        return pack_onnx(save(parse(CLASSIFIER), folder / "iris.onnx"), folder / "artifact", name="iris", labels=labels)
