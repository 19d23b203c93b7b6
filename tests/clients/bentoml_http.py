"""What BentoML's client is used for; run with a server's address and a picture's path."""

from __future__ import annotations

import sys
from pathlib import Path

import bentoml


def main(url: str, photo: Path) -> None:
    """Fails with an assertion where the server does not do what the client expects."""
    with bentoml.SyncHTTPClient(url) as client:
        assert client.is_ready()
        assert client.classify(image=photo)["colour"] == "red"
        assert client.predict({"image": [[[[230, 20, 20]] * 16] * 16]})["model"] == "small-colour"


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
