"""ONNX files that packages ship: text recognition, voice, pitch, file types and pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.studies.kinds.kind import FEW, Graph, Kind
from lading.spec import Array

PACKAGES = ("magika", "rapidocr-onnxruntime", "silero-vad", "nudenet", "basic-pitch", "swift-f0", "ddddocr")


def wheels(folder: Path | None) -> Iterator[Kind]:
    """Those of a folder that `uv pip install --no-deps --target` filled with :data:`PACKAGES`."""
    rng = np.random.default_rng(0)

    def pixels(*shape: int) -> Array:
        return rng.standard_normal((FEW // 4, *shape)).astype(np.float32)

    ocr = "rapidocr_onnxruntime/models"
    for name, file, examples in (
        ("text direction", f"{ocr}/ch_ppocr_mobile_v2.0_cls_infer.onnx", lambda: {"x": pixels(3, 48, 192)}),
        ("text recognition", f"{ocr}/ch_PP-OCRv4_rec_infer.onnx", lambda: {"x": pixels(3, 48, 160)}),
        ("text detection", f"{ocr}/ch_PP-OCRv4_det_infer.onnx", lambda: {"x": pixels(3, 96, 96)}),
        ("file type", "magika/models/standard_v3_3/model.onnx", lambda: {"bytes": _bytes(rng)}),
        ("voice with its state", "silero_vad/data/silero_vad.onnx", None),
        ("voice in sequences", "silero_vad/data/silero_vad_16k_sequence.onnx", None),
        ("pitch of a voice", "swift_f0/model.onnx", _tones),
        ("notes of music", "basic_pitch/saved_models/icassp_2022/nmp.onnx", None),
        ("picture detection", "nudenet/320n.onnx", None),
        ("captcha", "ddddocr/common_old.onnx", None),
    ):
        yield Kind(name, f"wheel of {file.partition('/')[0].replace('_', '-')}", _made(folder, file, examples))


def _made(folder: Path | None, file: str, examples: Callable[[], dict[str, Array]] | None) -> Callable[[Path], Graph]:
    def make(_: Path) -> Graph:
        if folder is None or not (folder / file).is_file():
            raise FileNotFoundError(f"{file} is not installed")
        return Graph(folder / file, examples() if examples else None)

    return make


def _bytes(rng: np.random.Generator) -> Array:
    """The head and the tail of files, as the library cuts them."""
    return rng.integers(0, 256, (FEW // 4, 2048)).astype(np.int32)


def _tones() -> dict[str, Array]:
    """Tones of 100 to 400 Hz at 16,000 samples a second, and the range to search."""
    hertz = np.linspace(100, 400, FEW // 4, dtype=np.float32)
    audio = np.sin(2 * np.pi * hertz[:, None] * np.arange(8000) / 16_000).astype(np.float32)
    limits = {name: np.full(FEW // 4, value, np.float32) for name, value in (("fmin", 47.0), ("fmax", 2094.0))}
    return {"audio": audio, **limits}
