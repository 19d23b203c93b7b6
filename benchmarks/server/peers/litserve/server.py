"""LitServe with its default loop and base64 in JSON, the body that it parses; its batching: litserve_batched."""

import base64
import sys
from pathlib import Path

import litserve
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import LABELS, MODEL, PORT, decode, labels, molecule, open_session


class Peer(litserve.LitAPI):
    def setup(self, device):
        self.session = open_session()

    async def decode_request(self, request):
        if MODEL == "cards":
            return decode(base64.b64decode(request["image"]))
        return molecule(request) if MODEL == "molecules" else np.asarray(request["x"], np.float32)

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
