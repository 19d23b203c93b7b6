"""The clients that people use, against the cards model; run with the three addresses and a photo of the ace of hearts.

A process of its own: tritonclient brings the protocol's messages a second time, under the names of Lading's.
"""

from __future__ import annotations

import sys
from pathlib import Path

import bentoml
import httpx
import numpy as np
import tritonclient.grpc
import tritonclient.http


def main(url: str, grpc: str, bento: str, photo: Path) -> None:
    """Fails with an assertion where the server does not do what a client expects."""
    picture = photo.read_bytes()
    answer = httpx.post(f"{url}/classify", content=picture).json()
    assert (answer["suit"], answer["rank"]) == ("hearts", "ace")
    with bentoml.SyncHTTPClient(bento) as client:
        assert client.classify(image=photo)["rank"] == "ace"
    encoded = np.array([picture], dtype=object)
    for module, address in ((tritonclient.http, url.removeprefix("http://")), (tritonclient.grpc, grpc)):
        tensor = module.InferInput("image", [1], "BYTES")
        tensor.set_data_from_numpy(encoded)
        triton = module.InferenceServerClient(address)
        assert triton.is_model_ready("cards")
        assert triton.infer("cards", [tensor]).as_numpy("suit").shape[0] == 1
        triton.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]))
