"""What KServe's clients are used for; run with a server's addresses."""

from __future__ import annotations

import asyncio
import sys
from importlib.metadata import version

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig


def request(*, binary: bool) -> InferRequest:
    """Two red pictures."""
    tensor = InferInput("image", [2, 16, 16, 3], "UINT8")
    tensor.set_data_from_numpy(np.full((2, 16, 16, 3), (230, 20, 20), np.uint8), binary_data=binary)
    return InferRequest(model_name="small-colour", infer_inputs=[tensor], request_id="7")


async def main(http: str, grpc: str) -> None:
    """Fails with an assertion where the server does not do what the client expects."""
    rest = InferenceRESTClient(RESTConfig(protocol="v2"))
    assert await rest.is_server_live(http)
    assert await rest.is_server_ready(http)
    assert await rest.is_model_ready(http, "small-colour")
    remote = InferenceGRPCClient(grpc)
    assert await remote.is_server_live()
    assert await remote.is_server_ready()
    assert await remote.is_model_ready("small-colour")
    print("call live, ready (REST, gRPC)")
    for binary in (True, False):
        answers = [await rest.infer(http, request(binary=binary), model_name="small-colour")]
        answers.append(await remote.infer(request(binary=binary)))
        for answer in answers:
            assert answer.id == "7"
            colours = {output.name: output.as_numpy() for output in answer.outputs}["colour"]
            assert colours.reshape(2, 3).argmax(axis=1).tolist() == [0, 0]
    print("call infer (REST with JSON and binary, gRPC)")
    await rest.close()
    await remote.close()


if __name__ == "__main__":
    print("version", version("kserve"))
    asyncio.run(main(sys.argv[1], sys.argv[2]))
