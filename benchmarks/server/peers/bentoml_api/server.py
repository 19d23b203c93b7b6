"""BentoML's own API and batching, as its documentation tunes a CPU model; access log and metrics off."""

import sys
from pathlib import Path
from typing import Annotated

import bentoml
import numpy as np
from bentoml.validators import ContentType

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import LABELS, LANES, MODEL, decode, labels, molecule, open_session


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

    elif MODEL == "molecules":  # its batching stacks arrays of one shape, which molecules are not

        @bentoml.api
        def predict(self, node_features: np.ndarray, edge_index: np.ndarray) -> dict:
            given = molecule({"node_features": node_features, "edge_index": edge_index})
            return {name: y.tolist() for name, y in zip(LABELS, self.session.run(None, given), strict=True)}

    else:

        @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=1000)
        def predict(self, x: np.ndarray) -> np.ndarray:
            return self.session.run(None, {"x": x.astype(np.float32)})[0]
