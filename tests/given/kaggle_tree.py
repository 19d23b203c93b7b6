"""Kaggle's data set: its folder layout, and its way here through kagglehub, from a Kaggle of our own."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
from PIL import Image


class Kaggle(HTTPServer):
    """The two calls of Kaggle's API that kagglehub makes for a public data set."""

    def __init__(self, archive: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.archive = archive
        self.asked: list[str] = []


class _Answer(BaseHTTPRequestHandler):
    server: Kaggle

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        call = self.path.rsplit("/", 1)[-1]
        self.server.asked.append(call)
        body, kind = b'{"currentVersionNumber": 2}', "application/json"
        if call == "DownloadDataset":
            body, kind = self.server.archive, "application/zip"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def kaggle_tree(root: Path, names: list[str]) -> Path:
    """A tiny tree in Kaggle's layout: two pictures a card and split."""
    rng = np.random.default_rng(0)
    for split in ("train", "valid", "test"):
        for name in names:
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(2):
                pixels = rng.integers(0, 256, size=(60, 44, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.jpg")
    return root
