"""BentoML's own API and batching, as its documentation tunes a CPU model; access log and metrics off."""

import sys
from pathlib import Path
from typing import Annotated

import bentoml
import numpy as np
from bentoml.validators import ContentType

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import LANES, MODEL, decode, labels, open_session


@bentoml.service(
    threads=LANES,
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
class Peer:
    def __init__(self):
        self.session = open_session()

    if MODEL == "cards":

        @bentoml.api
        def predict(self, image: Annotated[Path, ContentType("image/jpeg")]) -> dict:
            return labels(self.session.run(None, {"image": decode(image.read_bytes())}))

    else:

        @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=1000)
        def predict(self, x: np.ndarray) -> np.ndarray:
            return self.session.run(None, {"x": x.astype(np.float32)})[0]
