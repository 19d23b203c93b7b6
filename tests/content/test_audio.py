"""Recordings: read at any rate, with any number of channels, and never at more cost than they are worth."""

from __future__ import annotations

import contextlib
import io
import struct
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from lading.budget import Budget
from lading.content import audio, check_contents
from lading.content.audio import Audio, decode_audio, descriptors
from lading.errors import BodyTooLargeError, ContentError, RequestError, SpecError
from lading.spec import Array, TensorSpec
from tests.given.content_round_trip import check_round_trip

RATE, SAMPLES = 16_000, 8_000
SOUND = TensorSpec(name="sound", dtype="float32", shape=("batch", SAMPLES), content="audio", rate=RATE)


def tone(seconds: float = 0.5, rate: int = RATE, hertz: float = 440.0, channels: int = 1) -> Array:
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return np.repeat(wave[:, None], channels, axis=1).astype(np.float32)


def file(samples: Array, rate: int = RATE, kind: str = "WAV", subtype: str | None = None) -> bytes:
    data = io.BytesIO()
    soundfile.write(data, samples, rate, format=kind, subtype=subtype)
    return data.getvalue()


def decode(data: bytes, fit: str = "start", budget: Budget | None = None) -> Array:
    return decode_audio(data, rate=RATE, samples=SAMPLES, fit=fit, budget=budget)


def test_a_recording_is_read_as_it_was_written() -> None:
    check_round_trip(SOUND)


@pytest.mark.parametrize(
    ("kind", "subtype", "error"),
    [
        ("WAV", "PCM_16", 1e-4),
        ("WAV", "PCM_24", 1e-6),
        ("WAV", "FLOAT", 1e-6),
        ("WAV", "ULAW", 0.02),
        ("FLAC", "PCM_16", 1e-4),
        ("OGG", "VORBIS", 0.05),
        ("OGG", "OPUS", 0.05),
    ],
)
def test_every_format_is_the_same_tone(kind: str, subtype: str, error: float) -> None:
    heard = decode(file(tone(), kind=kind, subtype=subtype))
    assert (heard.dtype.name, heard.shape) == ("float32", (SAMPLES,))
    assert np.abs(heard - tone()[:, 0])[200:-200].max() <= error


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_another_rate_is_resampled_and_channels_are_averaged(rate: int, channels: int) -> None:
    heard = decode(file(tone(rate=rate, channels=channels), rate, subtype="FLOAT"))
    assert np.abs(heard - tone()[:, 0])[200:-200].max() < 2e-3


def test_the_start_of_a_long_recording_is_the_same_as_of_the_whole_one() -> None:
    long = tone(seconds=3, rate=44_100)
    assert np.abs(decode(file(long, 44_100, subtype="FLOAT")) - tone(3)[:SAMPLES, 0])[200:].max() < 2e-3


@pytest.mark.parametrize("rate", [RATE, 44_100])
@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_the_middle_is_kept_and_a_short_one_is_padded_on_both_sides(rate: int, kind: str) -> None:
    long = np.zeros((rate * 3, 1), np.float32)
    long[rate * 3 // 2] = 1
    assert abs(int(np.abs(decode(file(long, rate, kind), "middle")).argmax()) - SAMPLES // 2) <= 1
    short = decode(file(np.full((rate // 4, 1), 0.5, np.float32), rate, kind), "middle")
    assert np.flatnonzero(np.abs(short) > 0.2)[[0, -1]].tolist() == pytest.approx([2000, 5999], abs=2)


def test_a_short_one_is_padded_with_silence_at_its_end() -> None:
    heard = decode(file(tone(0.25)))
    assert not heard[4000:].any()
    assert np.abs(heard[:4000] - tone(0.25)[:, 0]).max() < 1e-4


def test_a_longer_one_is_refused_where_the_spec_says_so() -> None:
    assert decode(file(tone(0.5)), "refuse").any()
    with pytest.raises(ContentError, match=r"takes 0\.75 s; at most 0\.50 s are accepted: send a shorter one"):
        decode(file(tone(0.75)), "refuse")


def test_hours_in_a_small_file_are_refused_before_they_are_decoded() -> None:
    data = file(np.zeros((60_000_000, 1), np.int16), kind="FLAC")
    assert len(data) < 200_000
    tracemalloc.start()
    with pytest.raises(BodyTooLargeError, match="60000000 x 1 = 60000000 samples; at most 50000000 are accepted"):
        decode(data)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("claimed", [0, 100, 2**36 - 1])
def test_a_header_that_lies_about_the_length_costs_no_more(claimed: int) -> None:
    data = bytearray(file(np.zeros((5_000_000, 1), np.int16), kind="FLAC"))
    # STREAMINFO: the number of samples is the low 36 bits of the eight bytes at 18.
    packed = struct.unpack(">Q", data[18:26])[0]
    data[18:26] = struct.pack(">Q", packed >> 36 << 36 | claimed)
    tracemalloc.start()
    with contextlib.suppress(*(() if claimed == 100 else (ContentError, BodyTooLargeError))):
        assert decode(bytes(data)).shape == (SAMPLES,)
    assert tracemalloc.get_traced_memory()[1] < 7_000_000
    tracemalloc.stop()


def test_samples_a_second_and_channels_are_bounded() -> None:
    data = bytearray(file(tone(), subtype="PCM_16"))
    for rate in (1, 2**31 - 1):
        data[24:28] = struct.pack("<I", rate)
        with pytest.raises(ContentError, match="samples a second"):
            decode(bytes(data))
    with pytest.raises(ContentError, match="100 channels"):
        decode(file(tone(channels=100), subtype="PCM_16"))
    with pytest.raises(BodyTooLargeError, match=r"takes .* MB"):
        decode(file(tone(channels=60), subtype="PCM_16"), budget=Budget(decode_bytes=100_000))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the recording is empty: send a WAV, FLAC or Ogg file"),
        (b"\xff\xd8\xff", "this is a JPEG file, which cannot be read"),
        (b"words", "this is not a recording"),
        (b"fLaC" + bytes(40), "cannot be decoded"),
        (b"OggS" + bytes(40), "cannot be decoded"),
        (file(np.zeros((0, 1), np.float32)), "no samples"),
        (file(np.full((100, 1), np.nan, np.float32), subtype="FLOAT"), "NaN or infinite"),
    ],
)
def test_what_is_no_recording_is_refused_with_a_sentence(data: bytes, words: str) -> None:
    with pytest.raises(ContentError, match=words):
        decode(data)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_bytes_are_read_or_refused(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["WAV", "FLAC", "OGG"]))
    whole = bytearray(file(tone(0.1), kind=kind))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    with contextlib.suppress(RequestError):
        assert decode(cut, budget=Budget(pixels=1_000_000)).shape == (SAMPLES,)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dtype": "int16"}, "a recording is float32 with shape"),
        ({"shape": ("batch", 1, SAMPLES)}, "a recording is float32 with shape"),
        ({"shape": ("batch", "samples")}, "a recording is float32 with shape"),
        ({"rate": None}, "a recording needs rate="),
    ],
)
def test_a_tensor_that_cannot_hold_a_recording_is_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(SpecError, match=f"tensor 'sound': {reason}"):
        check_contents([TensorSpec.model_validate(SOUND.model_dump() | changes)])


def test_without_the_libraries_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    audio._libraries.cache_clear()
    monkeypatch.setitem(sys.modules, "soxr", None)
    with pytest.raises(SpecError, match=r"pip install 'lading\[audio\]'"):
        check_contents([SOUND])
    audio._libraries.cache_clear()


def test_the_features_say_what_a_recording_is_like() -> None:
    names = Audio.feature_names
    low, high, quiet = (
        dict(zip(names, descriptors(wave), strict=True))
        for wave in (tone(hertz=200)[:, 0], tone(hertz=4000)[:, 0], tone()[:, 0] * np.float32(1e-4))
    )
    assert low["level"] == pytest.approx(-9.03, abs=0.05)
    assert low["peak"] == pytest.approx(-6.02, abs=0.05)
    assert high["centroid"] == pytest.approx(0.5, abs=0.01)
    assert low["centroid"] < 0.05
    assert high["crossings"] == pytest.approx(0.5, abs=0.01)
    assert (low["silence"], quiet["silence"]) == (0, 1)
    assert np.isfinite(descriptors(np.zeros(10, np.float32))).all()


def test_one_function_reads_for_training_and_serving(tmp_path: Path) -> None:
    (tmp_path / "a.ogg").write_bytes(file(tone(), kind="OGG"))
    data = (tmp_path / "a.ogg").read_bytes()
    served = Audio().decode(data, SOUND, Budget())
    np.testing.assert_array_equal(served, decode_audio(data, rate=RATE, samples=SAMPLES))
