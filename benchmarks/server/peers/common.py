"""What the peers share: the same decode function and the same session that Lading uses, and nothing else of it."""

import json
import os
from pathlib import Path

import numpy as np
import onnxruntime as ort

ARTIFACT = Path(os.environ["BENCH_ARTIFACT"])
PORT = int(os.environ["BENCH_PORT"])
MODEL = os.environ["BENCH_MODEL"]
LANES = int(os.environ.get("BENCH_LANES", "1"))
manifest = json.loads((ARTIFACT / "lading.json").read_text())
variant = next(one for one in manifest["variants"] if one["variant"]["name"] == manifest["chosen"])
LABELS = {one["name"]: one.get("labels") for one in manifest["outputs"]}


def open_session():
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return ort.InferenceSession(str(ARTIFACT / variant["file"]), options, providers=["CPUExecutionProvider"])


def decode(data):
    from lading.content.image import decode_image

    return decode_image(data, height=224, width=224)[None]


def labels(outputs, row=0):
    named = zip(LABELS, outputs, strict=True)
    return {name: LABELS[name][int(values[row].argmax())] for name, values in named}


def molecule(content):
    """One molecule as the graph takes it: its atoms, its bonds, and that all atoms are the first molecule's."""
    nodes = np.asarray(content["node_features"], np.float32)
    edges = np.asarray(content["edge_index"], np.int64).reshape(2, -1)
    return {"node_features": nodes, "edge_index": edges, "owner": np.zeros(len(nodes), np.int64)}
