"""MLServer with a custom runtime, no parallel workers, metrics off; the v2 protocol with BYTES or FP32."""

import sys
from pathlib import Path

import numpy as np
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse

sys.path.insert(0, str(Path(__file__).parents[1]))
import common


class Peer(MLModel):
    async def load(self) -> bool:
        self.session = common.open_session()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        import base64

        if common.MODEL == "cards":
            data = payload.inputs[0].data.root[0]
            found = common.labels(self.session.run(None, {"image": common.decode(base64.b64decode(data))}))
            outputs = [StringCodec.encode_output(name, [label]) for name, label in found.items()]
        elif common.MODEL == "molecules":
            given = common.molecule({one.name: NumpyCodec.decode_input(one) for one in payload.inputs})
            named = zip(common.LABELS, self.session.run(None, given), strict=True)
            outputs = [NumpyCodec.encode_output(name, y) for name, y in named]
        else:
            x = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32)
            outputs = [NumpyCodec.encode_output("y", self.session.run(None, {"x": x})[0])]
        return InferenceResponse(model_name=self.name, outputs=outputs)


async def main():
    settings = Settings(
        parallel_workers=0,
        http_port=common.PORT,
        host="127.0.0.1",
        grpc_port=common.PORT + 1,
        metrics_endpoint=None,
        debug=False,
    )
    server = MLServer(settings)
    await server.start([ModelSettings(name="peer", implementation=Peer)])


if __name__ == "__main__":
    import asyncio

    asyncio.run(main())
