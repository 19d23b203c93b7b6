"""As a course project writes it: FastAPI, an async handler that decodes with Pillow and runs torch eager."""

import io
import os
from pathlib import Path

import numpy as np
import torch
import uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image

from lading.build.train.checkpoint import load_checkpoint
from lading.import_string import load_spec

torch.set_num_threads(1)  # one core is what every peer has here
spec = load_spec("models/cards.py:Cards")
model, _ = load_checkpoint(spec, Path("models/cards.safetensors"))
SUITS, RANKS = spec.outputs[0].labels, spec.outputs[1].labels
app = FastAPI()


@app.post("/classify")
async def classify(file: UploadFile):
    image = Image.open(io.BytesIO(await file.read())).convert("RGB").resize((224, 224))
    pixels = torch.from_numpy(np.asarray(image).astype(np.float32))[None]
    with torch.no_grad():
        suit, rank = model(pixels)
    return {"suit": SUITS[int(suit.argmax())], "rank": RANKS[int(rank.argmax())]}


@app.get("/ready")
async def ready():
    return "ok"


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["BENCH_PORT"]), log_level="warning")
