"""What BentoML's client is used for, on ``bentoml serve`` of the artifact; run with the folder as the last argument."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import bentoml

from tests.given.bentoml_process import ROOT, served


def main(url: str, folder: Path) -> None:
    """Fails with an assertion where the server does not do what the client expects."""
    with bentoml.SyncHTTPClient(url) as client:
        assert client.is_ready()
        print("call is_ready")
        assert client.classify(image=folder / "photo.jpg")["colour"] == "red"
        print("call classify")
        assert client.predict({"image": [[[[230, 20, 20]] * 16] * 16]})["model"] == "small-colour"
        print("call predict")


if __name__ == "__main__":
    print("version", bentoml.__version__)
    bodies = Path(sys.argv[3])
    with tempfile.TemporaryDirectory() as home:
        settings = {"LADING_ARTIFACT": str(bodies / "colour"), "BENTOML_HOME": home, "BENTOML_DO_NOT_TRACK": "true"}
        with served(cwd=ROOT, **settings) as server:
            main(str(server.base_url), bodies)
