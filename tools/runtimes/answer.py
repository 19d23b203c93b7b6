"""Answer saved requests with the onnxruntime of this interpreter, and compare: it needs `lading`, and no torch.

    python answer.py FOLDER

FOLDER has ``NAME.onnx``, and for each batch ``NAME-BATCH.npz`` with the inputs and, as ``answer``, what torch answered.
Prints JSON: the version, and by name and batch the largest difference, as a share of the largest answer, or a sentence.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort

from lading.artifact import read_tensors
from lading.errors import LadingError
from lading.predictor import open_session


def answer(folder: Path) -> dict[str, dict[str, float | str]]:
    found: dict[str, dict[str, float | str]] = {}
    for file in sorted(folder.glob("*.onnx")):
        batches = sorted(folder.glob(f"{file.stem}-*.npz"), key=lambda saved: int(saved.stem.rpartition("-")[2]))
        for batch in batches:
            found.setdefault(file.stem, {})[batch.stem.rpartition("-")[2]] = _difference(file, batch)
    return found


def _difference(file: Path, batch: Path) -> float | str:
    given = read_tensors(batch)
    wanted = given.pop("answer")
    try:
        (got,) = open_session(file).run(None, given)
    except LadingError as error:
        return str(error)
    except Exception as error:  # ONNX Runtime's exceptions share no public base class.
        return f"it does not run: {' '.join(str(error).split())[:200]}"
    if got.shape != wanted.shape:
        return f"it answers {list(got.shape)}, and torch {list(wanted.shape)}"
    return float(np.abs(got - wanted).max() / np.abs(wanted).max())


if __name__ == "__main__":
    print(json.dumps({"onnxruntime": ort.__version__, "differences": answer(Path(sys.argv[1]))}))
