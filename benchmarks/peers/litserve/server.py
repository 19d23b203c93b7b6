"""LitServe with its default loop; batching is off for cards, where it gains nothing, and on for the tiny model."""

import sys
from pathlib import Path

import litserve
import numpy as np
from fastapi import Request

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import LABELS, MODEL, PORT, decode, labels, molecule, open_session


class Peer(litserve.LitAPI):
    def setup(self, device):
        self.session = open_session()

    async def decode_request(self, request: Request):
        if MODEL == "cards":
            return decode(await request.body())
        content = await request.json()
        return molecule(content) if MODEL == "molecules" else np.asarray(content["x"], np.float32)

    async def predict(self, x):
        if MODEL == "cards":
            return labels(self.session.run(None, {"image": x}))
        if MODEL == "molecules":
            return {name: y.tolist() for name, y in zip(LABELS, self.session.run(None, x), strict=True)}
        return {"y": self.session.run(None, {"x": x})[0].tolist()}

    async def encode_response(self, output):
        return output


if __name__ == "__main__":
    api = Peer(enable_async=True)
    litserve.LitServer(api, accelerator="cpu", workers_per_device=1, fast_queue=True).run(
        port=PORT, num_api_servers=1, generate_client_file=False, log_level="warning", access_log=False
    )
