"""Ray Serve: one replica, one proxy, raw bodies."""

import sys
import time
from pathlib import Path

import numpy as np
import orjson
import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

sys.path.insert(0, str(Path(__file__).parents[1]))
import common


@serve.deployment(num_replicas=1, max_ongoing_requests=64, ray_actor_options={"num_cpus": 0})
class Peer:
    def __init__(self):
        self.session = common.open_session()

    async def __call__(self, request: Request):
        if request.method == "GET":
            return Response(b"ok")
        body = await request.body()
        if common.MODEL == "cards":
            return Response(orjson.dumps(common.labels(self.session.run(None, {"image": common.decode(body)}))))
        x = np.asarray(orjson.loads(body)["x"], np.float32)
        return Response(orjson.dumps({"y": self.session.run(None, {"x": x})[0]}, option=orjson.OPT_SERIALIZE_NUMPY))


if __name__ == "__main__":
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"port": common.PORT, "host": "127.0.0.1"}, logging_config={"enable_access_log": False})
    serve.run(Peer.bind(), route_prefix="/")
    while True:
        time.sleep(3600)
