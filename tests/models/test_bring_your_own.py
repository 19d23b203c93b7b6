"""``docs/bring-your-own.md`` is true: its file is the example, and its commands do what it says."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from lading.build.examples import answer, spread, targets
from lading.build.export.export import export_module
from lading.cli import app
from lading.import_string import load_spec
from lading.predictor import open_session
from tests.given.tiny import fit

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "bring-your-own.md"
EXAMPLE = ROOT / "examples" / "digits.py"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def test_the_page_shows_the_example_file_as_it_is() -> None:
    assert blocks("python")[0] == EXAMPLE.read_text()


def test_every_command_of_the_page_exists_with_its_options() -> None:
    commands = [line.split() for block in blocks("bash") for line in block.splitlines() if line.startswith("lading ")]
    assert {words[1] for words in commands} == {"build", "inspect", "serve", "pack", "doctor"}
    for words in commands:
        shown = CliRunner().invoke(app, [words[1], "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
        assert shown.exit_code == 0
        for option in (word for word in words if word.startswith("--")):
            assert option in shown.output


@pytest.mark.slow
def test_the_example_learns_and_exports(tmp_path: Path) -> None:
    spec = load_spec(f"{EXAMPLE}:Digits")
    export_module(spec, fit(spec, steps=20), tmp_path / "fp32.onnx")
    examples = spread(spec.dataset("test"), 100)
    outputs = answer(open_session(tmp_path / "fp32.onnx"), spec, examples)
    assert spec.score(outputs, targets(examples)) > 0.6


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Terminal:
    """A folder in which the page's blocks are typed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = os.environ | {"PATH": path, "WANDB_MODE": "offline", "COLUMNS": "100"}

    def type(self, block: str) -> str:
        """Run a block to its end and return what it printed."""
        done = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", self._at_port(block)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def serving(self, block: str) -> Iterator[None]:
        """Start a block that serves, and stop it afterwards."""
        server = subprocess.Popen(self._at_port(block).split(), cwd=self.folder, env=self.environment)
        try:
            self._wait_until_ready(server)
            yield
        finally:
            server.terminate()
            assert server.wait(timeout=30) == 0

    def _wait_until_ready(self, server: subprocess.Popen[bytes]) -> None:
        give_up = time.monotonic() + 60
        while server.poll() is None and time.monotonic() < give_up:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5):
                    return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.05)
        pytest.fail("the server did not become ready")

    def _at_port(self, block: str) -> str:
        return block.replace("8080", str(self.port))


def shape_of(value: Any) -> Any:
    """The structure of a JSON value: keys, lengths and types, without the numbers and words."""
    if isinstance(value, dict):
        return {key: shape_of(inner) for key, inner in value.items()}
    return [shape_of(inner) for inner in value] if isinstance(value, list) else type(value).__name__


@pytest.mark.slow
def test_the_page_does_what_it_says(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    terminal = Terminal(tmp_path)
    build, inspect, serve, curl, pack, serve_flat, *_ = blocks("bash")
    expected = json.loads(blocks("json")[0])

    assert "serving" in terminal.type(build)
    assert (tmp_path / "build" / "digits" / "verify" / "report.html").is_file()
    assert "accuracy on test" in terminal.type(inspect)
    with terminal.serving(serve):
        answered = json.loads(terminal.type(curl))
        assert shape_of(answered) == shape_of(expected)
        assert answered["model"] == expected["model"]
        assert np.argmax(answered["outputs"]["digit"]) == np.argmax(expected["outputs"]["digit"])

    (tmp_path / "elsewhere.py").write_text(blocks("python")[1])
    terminal.type("python elsewhere.py")
    assert "wrapped ONNX file" in terminal.type(pack)
    row = np.array(json.loads(curl.split("'")[3])["pixels"], np.float32).reshape(1, 64)
    body = json.dumps({"pixels": row.tolist()})
    with terminal.serving(serve_flat):
        address = "http://127.0.0.1:8080/predict"
        answered = json.loads(
            terminal.type(f"curl {address} --header 'content-type: application/json' --data '{body}'")
        )
    wanted = open_session(tmp_path / "network.onnx").run(["digit"], {"pixels": row})[0]
    assert np.argmax(answered["outputs"]["digit"]) == np.argmax(wanted)
