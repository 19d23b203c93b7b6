"""The content type ``audio``: WAV, FLAC or Ogg files to float32 samples of one channel, at the model's rate and length.

Channels are averaged, another rate is resampled (soxr, high quality), and the recording is cut or padded with zeros.
Training and serving use the same function. ``pip install 'lading[audio]'`` brings the two libraries.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lading.budget import Budget
from lading.content import ContentType, Corrupt, register
from lading.errors import ContentError, SpecError
from lading.errors.formats import format_of
from lading.spec import Array, TensorSpec

EXTRA = "pip install 'lading[audio]'"
_RATES = (1_000, 768_000)  # of files, in samples a second: from slow sensors to the fastest converters
_MOST_CHANNELS = 64
_SPARE_S = 0.05
"""Seconds that are decoded on either side of what is kept, so that the resampler's filter does not see an end there."""
_COPIES = 4
"""float32 copies of the decoded part at once: as decoded, as one channel, and the resampler's input and output."""
_BLOCK, _BLOCKS = 1024, 64
"""Samples of a block, and blocks, that the spectrum is computed from."""
_SILENT = 10 ** (-50 / 20)
"""Level below which a part of a recording is silent: 50 dB below full scale."""
_FLOOR = 1e-5


@cache
def _libraries() -> tuple[ModuleType, ModuleType]:
    """soundfile and soxr, imported when the first tensor needs them: other models do without."""
    try:
        import soundfile
        import soxr
    except (ImportError, OSError) as error:  # OSError: the wheel for this system has no libsndfile
        raise SpecError(f"audio needs soundfile and soxr ({error}): {EXTRA}") from None
    return soundfile, soxr


def decode_audio(
    data: bytes, *, rate: int, samples: int, fit: str = "start", budget: Budget | None = None
) -> NDArray[np.float32]:
    """Decode a WAV, FLAC or Ogg file.

    Args:
        data: the encoded file.
        rate: of the result, in samples per second.
        samples: length of the result.
        fit: the part of a longer recording that is kept, as ``TensorSpec.fit``.
        budget: what decoding may cost, checked before any sample is decoded.

    Returns:
        float32 of shape (samples,), from -1 to 1 for a file of integers.

    Raises:
        RequestError: not a recording, another format, an incomplete file, or one that is too long.
        BodyTooLargeError: the recording does not fit the budget.
        SpecError: the libraries are not installed.
    """
    budget = budget or Budget()
    if not _is_audio(data):
        known = format_of(data)
        what = f"this is {known}, which cannot be read" if known else "this is not a recording that can be read"
        raise ContentError(f"{what if data else 'the recording is empty'}: send a WAV, FLAC or Ogg file")
    soundfile, _ = _libraries()
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            heard = _part(file, rate, samples, fit, budget)
    except soundfile.LibsndfileError as error:
        raise ContentError(f"the recording cannot be decoded: {str(error.error_string)[:200]}") from None
    if not np.isfinite(heard).all():
        raise ContentError("the recording has samples that are NaN or infinite")
    return heard


def _part(file: Any, rate: int, samples: int, fit: str, budget: Budget) -> NDArray[np.float32]:
    _, soxr = _libraries()
    own, channels, frames = file.samplerate, file.channels, file.frames
    if not _RATES[0] <= own <= _RATES[1] or not 1 <= channels <= _MOST_CHANNELS:
        raise ContentError(
            f"the recording has {own} samples a second and {channels} channels: send {_RATES[0]} to {_RATES[1]} "
            f"samples a second and at most {_MOST_CHANNELS} channels"
        )
    # All of it, although a part is decoded: no honest client sends hours to a model of seconds.
    budget.spend_pixels(max(0, frames), channels, "recording", "samples")
    wanted = math.ceil(samples * own / rate)
    spare = math.ceil(_SPARE_S * own)
    begin = max(0, (frames - wanted) // 2 - spare) if fit == "middle" else 0
    most = wanted + 2 * spare
    budget.hold(_COPIES * 4 * min(most, max(frames, 1)) * channels, "recording")
    budget.check_time()
    if begin:
        file.seek(begin)
    # A header may say less than there is, so what is read is bounded here and not by it.
    read = file.read(min(most, frames), dtype="float32", always_2d=True)
    if not len(read):
        raise ContentError("the recording has no samples")
    heard = read.mean(axis=1, dtype=np.float32) if channels > 1 else read[:, 0]
    if own != rate:
        budget.check_time()
        heard = soxr.resample(heard, own, rate)
    if fit == "refuse" and frames * rate > samples * own:
        raise ContentError(
            f"the recording takes {frames / own:.2f} s; at most {samples / rate:.2f} s are accepted: send a shorter one"
        )
    before = 0
    if fit == "middle":
        # Where the middle of the file is in what was heard.
        before = round((frames / 2 - begin) * rate / own - samples / 2)
    result = np.zeros(samples, np.float32)
    source = heard[max(0, before) : max(0, before) + samples]
    start = max(0, -before)
    source = source[: samples - start]
    result[start : start + len(source)] = source
    return result


def _is_audio(data: bytes) -> bool:
    return data[:4] in (b"fLaC", b"OggS") or (data[:4] == b"RIFF" and data[8:12] == b"WAVE")


def descriptors(samples: Array) -> NDArray[np.float64]:
    """The drift features of float32 (samples,): float64 (5,), named by ``Audio.feature_names``."""
    wave = samples.astype(np.float64)
    level = math.sqrt(float((wave * wave).mean()))
    peak = float(np.abs(wave).max())
    crossings = float((np.signbit(wave[1:]) != np.signbit(wave[:-1])).mean()) if len(wave) > 1 else 0.0
    size = min(_BLOCK, len(wave))
    starts = np.linspace(0, len(wave) - size, min(_BLOCKS, -(-len(wave) // size))).astype(np.int64)
    blocks = np.stack([wave[start : start + size] for start in starts])
    power = (np.abs(np.fft.rfft(blocks * np.hanning(size))) ** 2).sum(axis=0)
    total = float(power.sum())
    centroid = float((power * np.linspace(0, 1, len(power))).sum()) / total if total > 0 else 0.0
    silence = float((np.sqrt((blocks * blocks).mean(axis=1)) < _SILENT).mean())
    decibels = [20 * math.log10(max(one, _FLOOR)) for one in (level, peak)]
    return np.array([*decibels, crossings, centroid, silence])


def _noise(samples: Array, severity: int, rng: np.random.Generator) -> Array:
    ratio = 10 ** (-(30, 20, 12, 6, 0)[severity - 1] / 20)
    sigma = ratio * max(math.sqrt(float(np.mean(samples.astype(np.float64) ** 2))), _FLOOR)
    return (samples + rng.normal(0, sigma, samples.shape)).astype(samples.dtype)


def _quieter(samples: Array, severity: int, _: np.random.Generator) -> Array:
    return (samples * 10 ** (-(6, 12, 20, 30, 40)[severity - 1] / 20)).astype(samples.dtype)


def _clipped(samples: Array, severity: int, _: np.random.Generator) -> Array:
    gain = (1.5, 2.0, 4.0, 8.0, 16.0)[severity - 1] / max(float(np.abs(samples).max()), _FLOOR)
    return np.clip(samples * gain, -1, 1).astype(samples.dtype)


def _muffled(samples: Array, severity: int, _: np.random.Generator) -> Array:
    spectrum = np.fft.rfft(samples)
    kept = math.ceil(len(spectrum) * (0.7, 0.5, 0.35, 0.2, 0.1)[severity - 1])
    spectrum[kept:] = 0
    return np.fft.irfft(spectrum, len(samples)).astype(samples.dtype)


def _later(samples: Array, severity: int, _: np.random.Generator) -> Array:
    shift = round(len(samples) * (0.02, 0.05, 0.1, 0.2, 0.35)[severity - 1])
    return np.concatenate([np.zeros(shift, samples.dtype), samples[: len(samples) - shift]])


CORRUPTIONS: Mapping[str, Corrupt] = {
    "background noise": _noise,
    "quieter": _quieter,
    "clipped": _clipped,
    "muffled": _muffled,
    "later": _later,
}


class Audio(ContentType):
    """Recordings as float32 (batch, samples), of a fixed rate and length.

    Args:
        rate: samples per second of what is encoded.
    """

    name = "audio"
    noun = "recording"
    formats = "WAV, FLAC or Ogg"
    media_types = ("audio/flac", "audio/wav", "audio/x-wav", "audio/ogg", "application/ogg")
    suffixes = (".flac", ".wav", ".ogg", ".oga", ".opus")
    sample = "voice.wav"
    note = "Channels are averaged; the recording is resampled, and cut or padded to the model's length."
    feature_names = ("level", "peak", "crossings", "centroid", "silence")
    corruptions = CORRUPTIONS
    decode_ms = 1.0

    def __init__(self, rate: int = 16_000) -> None:
        self._rate = rate

    def of(self, spec: TensorSpec) -> Audio:
        return self if spec.rate is None else Audio(spec.rate)

    def problem(self, spec: TensorSpec) -> str | None:
        if spec.dtype != "float32" or len(spec.shape) != 2 or not isinstance(spec.shape[1], int):
            return f"a recording is float32 with shape (batch, samples), not {spec.dtype} {spec.shape}"
        if spec.rate is None:
            return "a recording needs rate=, in samples per second, such as 16000"
        try:
            _libraries()
        except SpecError as error:
            return str(error)
        return None

    def accepts(self, media_type: str) -> bool:
        return media_type.startswith("audio/") or media_type in self.media_types

    def sniff(self, data: bytes) -> bool:
        return _is_audio(data)

    def decode(self, data: bytes, spec: TensorSpec, budget: Budget) -> Array:
        rate, samples = _form(spec)
        return decode_audio(data, rate=rate, samples=samples, fit=spec.fit, budget=budget)

    def encode(self, example: Array) -> bytes:
        soundfile, _ = _libraries()
        data = io.BytesIO()
        # Above full scale, 16 bits would wrap around.
        soundfile.write(data, np.clip(example, -1, 1), self._rate, format="FLAC", subtype="PCM_16")
        return data.getvalue()

    def draw(self, spec: TensorSpec, rng: np.random.Generator) -> bytes:
        _, samples = _form(spec)
        tone = np.sin(rng.uniform(0.01, 1.0) * np.arange(samples))
        return self.of(spec).encode((0.3 * tone + rng.normal(0, 0.05, samples)).astype(np.float32))

    def features(self, example: Array) -> NDArray[np.float64]:
        return descriptors(example)


def _form(spec: TensorSpec) -> tuple[int, int]:
    samples = spec.shape[1]
    assert spec.rate is not None
    assert isinstance(samples, int)
    return spec.rate, samples


register(Audio())
