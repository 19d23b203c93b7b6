"""FastAPI and ONNX Runtime tuned well: raw bodies, a pool of threads, orjson, uvloop and httptools."""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import orjson
import uvicorn
from fastapi import FastAPI, Request, Response

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import LABELS, LANES, MODEL, PORT, decode, labels, molecule, open_session

session = open_session()
pool = ThreadPoolExecutor(LANES)
app = FastAPI()


def cards(body):
    return orjson.dumps(labels(session.run(None, {"image": decode(body)})))


def tiny(body):
    x = np.asarray(orjson.loads(body)["x"], np.float32)
    return orjson.dumps({"y": session.run(None, {"x": x})[0]}, option=orjson.OPT_SERIALIZE_NUMPY)


def molecules(body):
    named = zip(LABELS, session.run(None, molecule(orjson.loads(body))), strict=True)
    return orjson.dumps(dict(named), option=orjson.OPT_SERIALIZE_NUMPY)


ANSWER = {"cards": cards, "tiny": tiny, "molecules": molecules}[MODEL]


@app.post("/predict")
async def predict(request: Request):
    body = await request.body()
    answer = await asyncio.get_running_loop().run_in_executor(pool, ANSWER, body)
    return Response(answer, media_type="application/json")


@app.get("/ready")
async def ready():
    return Response(b"ok")


if __name__ == "__main__":
    uvicorn.run(app, port=PORT, log_level="warning", access_log=False, loop="uvloop", http="httptools")
