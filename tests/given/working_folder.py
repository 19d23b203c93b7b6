"""A folder in which documented commands are typed: like a checkout, with what the pages tell a reader to have."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path

from lading.artifact import Artifact
from lading.signing.keys import new_keys
from tests.given.bare_encoder import write_encoder
from tests.given.documented import ROOT, Documented
from tests.given.live_server import wait_until
from tests.given.onnx_text import CLASSIFIER, COLOURS, NCHW, parse, save
from tests.given.packed_onnx import LABELS
from tests.given.small_text import WORDS, write_tokenizer

CHANGED = (".dvc", "configs", "k8s")
"""Folders that a command changes. The others are links."""
QUIET = "silent\nshow-error\nfail-with-body\n"


@dataclass(frozen=True)
class WorkingFolder:
    """Where commands are typed, and the environment of the shell."""

    path: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def variables(self) -> dict[str, str]:
        """The environment: programs of this Python first, no colours, and curl that fails for an error."""
        programs = f"{self.path / 'programs'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        python = os.pathsep.join(str(ROOT / name) for name in ("src", "", "conformance/src"))
        own = {
            "PATH": programs,
            "PYTHONPATH": python,
            "CURL_HOME": str(self.path / "programs"),
            "WANDB_MODE": "offline",
            # As the installed package of the conformance suite names it.
            "PYTEST_PLUGINS": "oip_conformance.pytest_plugin",
        }
        return {**os.environ, **own, "COLUMNS": "200", "NO_COLOR": "1", "DVC_NO_ANALYTICS": "1", **self.environment}

    def type(
        self, text: str, *, addresses: Mapping[str, str] | None = None, timeout: float = 540
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as a shell does, where each address is replaced by that of a running server."""
        return subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", _at(text, addresses or {})],
            cwd=self.path,
            env=self.variables(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )

    @contextmanager
    def running(self, text: str, sign: str) -> Iterator[Path]:
        """A command that serves until it is stopped, once its output shows the sign; yields the file of its output."""
        log = self.path / "output.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {text}"], cwd=self.path, env=self.variables(), stdout=stream, stderr=stream
            )
        try:
            wait_until(lambda: sign in log.read_text() or process.poll() is not None, 300)
            assert process.poll() is None, log.read_text()
            yield log
        finally:
            process.terminate()
            process.wait(60)


def with_more(one: Documented) -> str:
    """The command without its comment, and with the words that make it short."""
    text = re.sub(r"\s+#\s.*$", "", one.text)
    assert one.row is not None
    return f"{text} {one.row.more}".strip()


def _at(text: str, addresses: Mapping[str, str]) -> str:
    for written in sorted(addresses, key=len, reverse=True):
        text = text.replace(written, addresses[written])
    return text


def checkout(path: Path, *, environment: Mapping[str, str] | None = None) -> WorkingFolder:
    """A folder with the repository's files, where a command may write."""
    path.mkdir(parents=True, exist_ok=True)
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in sorted({line.split("/")[0] for line in listed.splitlines()}):
        if name in CHANGED:
            shutil.copytree(ROOT / name, path / name)
        else:
            (path / name).symlink_to(ROOT / name)
    subprocess.run(["git", "init", "--quiet"], cwd=path, check=True)  # DVC wants one
    programs = path / "programs"
    programs.mkdir()
    (programs / ".curlrc").write_text(QUIET)
    _program(programs / "oip-conformance", f'exec {sys.executable} -m oip_conformance "$@"')
    return WorkingFolder(path, environment or {})


def _program(file: Path, line: str) -> None:
    file.write_text(f"#!/bin/sh\n{line}\n")
    file.chmod(0o755)


def fill(folder: WorkingFolder, artifacts: Mapping[str, Artifact], payloads: Path) -> None:
    """Add what the pages name: artifacts, values, keys, photos, an ONNX file and a payload log."""
    path = folder.path
    (path / "artifacts").mkdir()
    for name, artifact in artifacts.items():
        (path / "artifacts" / name).symlink_to(artifact.path)
    (path / "payloads").symlink_to(payloads)
    for name in ("model.onnx", "network.onnx"):
        save(parse(CLASSIFIER), path / name)
    save(parse(COLOURS, NCHW), path / "resnet18.onnx")
    write_encoder(path / "bert.onnx")
    write_tokenizer(path / "tokenizer.json")
    (path / "texts.txt").write_text("\n".join(" ".join(two) for two in permutations(WORDS[4:], 2)))
    sound = "p = AveragePool <kernel_shape = [500], strides = [500]> (s) f = Flatten (p) y = LpNormalization (f)"
    save(parse(f"s = Unsqueeze (x, last) {sound}", "float[N, 4000] x", "float[N, 8] y"), path / "encoder.onnx")
    (path / "labels.txt").write_text("\n".join(LABELS))
    (path / "keys").write_text("a-key-of-the-tests expires=2099-06-30\n")
    shutil.copy(path / "keys", path / "keys.txt")
    new_keys(path / "signer" / "release.pem")
    shutil.copy(path / "signer" / "release.pub", path / "release.pub")
    (path / "photos").mkdir()
    for number in range(4):
        shutil.copy(ROOT / "examples" / "ace-of-hearts.jpg", path / "photos" / f"{number}.jpg")
