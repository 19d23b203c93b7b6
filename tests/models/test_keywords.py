"""The example of recordings: built as its page says, and served over every port."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from examples.keywords import RATE, WORDS, sound
from lading.artifact import Artifact
from tests.given.live_server import live_server
from tests.given.packed_graph import answers_of_all_ports

ROOT = Path(__file__).parents[2]


def test_the_sounds_differ_by_their_direction() -> None:
    rng = np.random.default_rng(0)
    for word in WORDS:
        heard = sound(word, rng)
        assert (heard.dtype.name, heard.shape) == ("float32", (4000,))
        assert 0.01 < np.abs(heard).max() <= 1


@pytest.mark.slow
def test_it_is_built_and_every_port_hears_the_words(tmp_path: Path) -> None:
    command = ["-m", "lading", "build", f"{ROOT}/examples/keywords.py:Keywords", "--out", str(tmp_path / "artifact")]
    done = subprocess.run(
        [sys.executable, *command, "trainer.max_epochs=4"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    artifact = Artifact.load(tmp_path / "artifact")
    rng = np.random.default_rng(99)
    with live_server(artifact) as live:
        for word in WORDS:
            file = io.BytesIO()
            soundfile.write(file, sound(word, rng), RATE, format="FLAC")
            for port, answered in answers_of_all_ports(live, {"sound": file.getvalue()}).items():
                assert WORDS[int(answered["word"][0].argmax())] == word, port
