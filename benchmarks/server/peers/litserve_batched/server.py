"""LitServe with its batching, which wants a synchronous API: up to 8 requests that come within 2 ms share a run."""

import base64
import sys
from pathlib import Path

import litserve
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import MODEL, PORT, decode, labels, open_session


class Peer(litserve.LitAPI):
    def setup(self, device):
        self.session = open_session()

    def decode_request(self, request):
        if MODEL == "cards":
            return decode(base64.b64decode(request["image"]))
        return np.asarray(request["x"], np.float32)

    def batch(self, inputs):
        return np.concatenate(inputs)

    def predict(self, batch):
        return self.session.run(None, {"image" if MODEL == "cards" else "x": batch})

    def unbatch(self, output):
        rows = range(len(output[0]))
        return [labels(output, row) if MODEL == "cards" else {"y": output[0][row : row + 1].tolist()} for row in rows]

    def encode_response(self, output):
        return output


if __name__ == "__main__":
    api = Peer(max_batch_size=8, batch_timeout=0.002)
    litserve.LitServer(api, accelerator="cpu", workers_per_device=1, fast_queue=True).run(
        port=PORT, num_api_servers=1, generate_client_file=False, log_level="warning", access_log=False
    )
