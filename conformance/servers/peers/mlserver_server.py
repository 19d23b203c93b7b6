"""MLServer with both models: ``python mlserver_server.py HTTP_PORT GRPC_PORT``."""

import asyncio
import sys

from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceRequest, InferenceResponse

import models


class Checked(MLModel):
    async def load(self) -> bool:
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        requested = [output.name for output in payload.outputs or []]
        try:
            models.check(self.name, [(each.name, each.datatype, each.shape) for each in payload.inputs], requested)
            arrays = {each.name: NumpyCodec.decode_input(each) for each in payload.inputs}
            found = models.answer(self.name, arrays, requested)
        except (models.WrongInputError, ValueError, TypeError, OverflowError) as error:
            raise InferenceError(str(error)) from error
        outputs = [NumpyCodec.encode_output(name, array) for name, array in found.items()]
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)


async def main() -> None:
    http, grpc = map(int, sys.argv[1:])
    settings = Settings(
        host="127.0.0.1", http_port=http, grpc_port=grpc, parallel_workers=0, metrics_endpoint=None, debug=False
    )
    described = [
        ModelSettings(
            name=name,
            implementation=Checked,
            platform="numpy_python",
            inputs=models.metadata(inputs),
            outputs=models.metadata(outputs),
        )
        for name, (inputs, outputs) in models.MODELS.items()
    ]
    await MLServer(settings).start(described)


if __name__ == "__main__":
    asyncio.run(main())
