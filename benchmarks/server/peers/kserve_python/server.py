"""KServe's Python server: one worker, gRPC off, the v2 protocol."""

import sys
from pathlib import Path

import numpy as np
from kserve import InferOutput, InferResponse, Model, ModelServer

sys.path.insert(0, str(Path(__file__).parents[1]))
import common


class Peer(Model):
    def __init__(self):
        super().__init__("peer")
        self.session = common.open_session()
        self.ready = True

    async def predict(self, payload, headers=None, response_headers=None):
        import base64

        if common.MODEL == "cards":
            data = payload.inputs[0].data[0]
            found = common.labels(self.session.run(None, {"image": common.decode(base64.b64decode(data))}))
            outputs = [InferOutput(name, [1], "BYTES", [label]) for name, label in found.items()]
        elif common.MODEL == "molecules":
            given = common.molecule({one.name: one.as_numpy() for one in payload.inputs})
            named = zip(common.LABELS, self.session.run(None, given), strict=True)
            outputs = [InferOutput(name, list(y.shape), "FP32", y.tolist()) for name, y in named]
        else:
            x = payload.inputs[0].as_numpy().astype(np.float32)
            y = self.session.run(None, {"x": x})[0]
            outputs = [InferOutput("y", list(y.shape), "FP32", y.ravel().tolist())]
        return InferResponse(response_id=payload.id or "", model_name="peer", infer_outputs=outputs)


if __name__ == "__main__":
    ModelServer(http_port=common.PORT, enable_grpc=False, workers=1, access_log_format=None).start([Peer()])
