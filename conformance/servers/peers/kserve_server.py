"""KServe's Python server with both models: ``python kserve_server.py HTTP_PORT GRPC_PORT``."""

import sys

from kserve import InferOutput, InferResponse, Model, ModelServer
from kserve.errors import InvalidInput
from kserve.utils.utils import generate_uuid

import models


class Checked(Model):
    def __init__(self, name):
        super().__init__(name)
        self.ready = True

    def get_input_types(self):
        return models.metadata(models.MODELS[self.name][0])

    def get_output_types(self):
        return models.metadata(models.MODELS[self.name][1])

    async def predict(self, payload, headers=None, response_headers=None):
        requested = [output.name for output in payload.request_outputs or []]
        try:
            models.check(self.name, [(each.name, each.datatype, each.shape) for each in payload.inputs], requested)
            arrays = {each.name: each.as_numpy() for each in payload.inputs}
            found = models.answer(self.name, arrays, requested)
        except (models.WrongInputError, ValueError, TypeError) as error:
            raise InvalidInput(str(error)) from error
        outputs = []
        for name, array in found.items():
            output = InferOutput(name, list(array.shape), models.MODELS[self.name][1][name][0])
            output.set_data_from_numpy(array, binary_data=False)
            outputs.append(output)
        return InferResponse(
            response_id=payload.id or generate_uuid(),  # a response without an id is refused by the server
            model_name=self.name,
            infer_outputs=outputs,
            use_binary_outputs=payload.use_binary_outputs,
            requested_outputs=payload.request_outputs,
        )


if __name__ == "__main__":
    http, grpc = map(int, sys.argv[1:])
    server = ModelServer(http_port=http, grpc_port=grpc, workers=1, enable_grpc=True, access_log_format=None)
    server.start([Checked(name) for name in models.MODELS])
