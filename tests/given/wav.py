"""A content type from another package: WAV files. :func:`install` makes the package."""

from __future__ import annotations

import io
import wave
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from lading.budget import Budget
from lading.content import ContentType
from lading.errors import ContentError
from lading.spec import Array, TensorSpec

RATE = 8000
"""Samples per second."""
_SCALE = 32768.0


class Wav(ContentType):
    """16-bit mono WAV files as float32 (batch, samples) from -1 to 1, cut or padded with silence."""

    name = "wav"
    noun = "recording"
    formats = "WAV"
    media_types = ("audio/wav", "audio/x-wav")
    suffixes = (".wav",)
    sample = "voice.wav"
    note = "A recording is cut or padded to the model's length."
    feature_names = ("loudness", "crossings")
    corruptions = MappingProxyType({"quieter": lambda samples, severity, _: samples / np.float32(1 + severity)})
    decode_ms = 0.1

    def problem(self, spec: TensorSpec) -> str | None:
        right = spec.dtype == "float32" and len(spec.shape) == 2
        return None if right else f"a recording is float32 with shape (batch, samples), not {spec.dtype} {spec.shape}"

    def sniff(self, data: bytes) -> bool:
        return data[:4] == b"RIFF" and data[8:12] == b"WAVE"

    def decode(self, data: bytes, spec: TensorSpec, budget: Budget) -> Array:
        try:
            with wave.open(io.BytesIO(data)) as file:
                if (file.getnchannels(), file.getsampwidth()) != (1, 2):
                    raise ContentError("the recording is not 16-bit mono: convert it first")
                budget.spend_pixels(file.getnframes(), file.getnchannels(), "recording")
                budget.hold(2 * file.getnframes(), "recording")
                heard = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        except (wave.Error, EOFError, ValueError) as error:
            raise ContentError(f"this is not a WAV file: {error}") from None
        samples = np.zeros(_length(spec), np.float32)
        samples[: len(heard)] = heard[: len(samples)] / _SCALE
        return samples

    def encode(self, example: Array, spec: TensorSpec | None = None) -> bytes:
        del spec
        data = io.BytesIO()
        with wave.open(data, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes((example * (_SCALE - 1)).astype("<i2").tobytes())
        return data.getvalue()

    def draw(self, spec: TensorSpec, rng: np.random.Generator) -> bytes:
        return self.encode(rng.uniform(-1, 1, _length(spec)))

    def features(self, example: Array) -> NDArray[np.float64]:
        return np.array([np.sqrt(np.mean(example**2)), np.mean(np.diff(np.sign(example)) != 0)], np.float64)


def _length(spec: TensorSpec) -> int:
    return int(spec.shape[1])


WAV = Wav()


def install(folder: Path) -> Path:
    """Write what ``pip install`` leaves of a package whose entry point names the type; put the folder on the path."""
    metadata = folder / "lading_wav-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: lading-wav\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[lading.content]\nwav = tests.given.wav:WAV\n")
    return folder
