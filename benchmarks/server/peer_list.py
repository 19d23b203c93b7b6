"""Lading and its peers: what each is installed with, started by and asked."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import metadata

from benchmarks import ROOT
from benchmarks.server import request_bodies as bodies
from benchmarks.server.request_bodies import RequestBody

PEERS = ROOT / "benchmarks" / "server" / "peers"

MakeBody = Callable[[], RequestBody]


@dataclass(frozen=True)
class Peer:
    """One server."""

    name: str
    cards: tuple[str, MakeBody] | None
    """Path and body of a photo; ``None``: it does not serve the model."""
    tiny: tuple[str, MakeBody] | None
    """The same of a row of numbers."""
    requirements: tuple[str, ...] = ()
    """Name of its own environment; none: this one."""
    command: tuple[str, ...] = ()
    """After the interpreter; the peer's ``server.py`` when empty."""
    environment: tuple[tuple[str, str], ...] = ()
    molecules: tuple[str, MakeBody] | None = None
    """The same of one molecule."""

    def asked(self, model: str) -> tuple[str, MakeBody] | None:
        """Path and body for ``cards``, ``tiny`` or ``molecules``."""
        return {"cards": self.cards, "tiny": self.tiny, "molecules": self.molecules}[model]

    def serves(self, model: str) -> bool:
        """Whether it serves the model."""
        return self.asked(model) is not None


def _versions(*packages: str) -> tuple[str, ...]:
    return tuple(f"{package}=={metadata.version(package)}" for package in packages)


# The same ONNX Runtime as Lading's own, so that it is the servers that are compared.
COMMON = (
    "numpy",
    *_versions("onnxruntime", "pillow", "simplejpeg", "cykooz-resizer"),
    "pydantic",
    "orjson",
    "uvloop",
    "httptools",
)
RAW, V2 = bodies.photo_raw, bodies.photo_v2_json
ROW, ROW_V2 = bodies.row_json, bodies.row_v2_json
MOLECULE, MOLECULE_V2 = ("/predict", bodies.molecule_json), bodies.molecule_v2_json
LADING = Peer("lading", ("/classify", RAW), ("/predict", ROW), molecules=MOLECULE)
LADING_V2 = Peer(
    "lading v2",
    ("/v2/models/cards/infer", bodies.photo_v2_binary),
    ("/v2/models/tiny/infer", ROW_V2),
    molecules=("/v2/models/molecules/infer", MOLECULE_V2),
)
LADING_BENTO = Peer("lading on BentoML", ("/classify", RAW), ("/predict", ROW), molecules=MOLECULE)
FASTAPI_TORCH = Peer(
    "fastapi_torch",
    ("/classify", partial(bodies.photo_form, "file")),
    None,
    (
        *_versions("torch", "torchvision", "safetensors", "opencv-python-headless", "joblib"),
        *("fastapi==0.165.0", "uvicorn==0.54.0", "python-multipart", "rich"),
    ),
)
FASTAPI_ORT = Peer(
    "fastapi_onnxruntime",
    ("/predict", RAW),
    ("/predict", ROW),
    ("fastapi==0.165.0", "uvicorn==0.54.0"),
    molecules=MOLECULE,
)
LITSERVE = (("/predict", bodies.photo_json), ("/predict", ROW), ("litserve==0.2.17",))
ALL = (
    LADING,
    LADING_V2,
    LADING_BENTO,
    FASTAPI_TORCH,
    FASTAPI_ORT,
    Peer(
        "bentoml_api",
        ("/predict", partial(bodies.photo_form, "image")),
        ("/predict", ROW),
        ("bentoml==1.4.39",),
        ("-m", "bentoml", "serve", "server:Peer", "--port", "{port}"),
        (("BENTOML_DO_NOT_TRACK", "true"),),
        molecules=MOLECULE,
    ),
    Peer("litserve", *LITSERVE, molecules=MOLECULE),
    Peer("litserve_batched", *LITSERVE),
    Peer(
        "mlserver",
        ("/v2/models/peer/infer", V2),
        ("/v2/models/peer/infer", ROW_V2),
        ("mlserver==1.7.1",),
        molecules=("/v2/models/peer/infer", MOLECULE_V2),
    ),
    Peer(
        "ray_serve",
        ("/", RAW),
        ("/", ROW),
        ("ray[serve]==2.54.0", "protobuf<6"),
        # Its proxy starts on the same core, and its replica, a separate process, imports the shared code.
        environment=(("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "60"), ("PYTHONPATH", f"{ROOT / 'src'}:{PEERS}")),
    ),
    Peer(
        "kserve_python",
        ("/v2/models/peer/infer", V2),
        ("/v2/models/peer/infer", ROW_V2),
        ("kserve==0.21.0",),
        molecules=("/v2/models/peer/infer", MOLECULE_V2),
    ),
)
FRAMEWORKS = ("bentoml_api", "litserve", "litserve_batched", "mlserver", "ray_serve", "kserve_python")


@functools.cache
def peer_named(name: str) -> Peer:
    """One of :data:`ALL`."""
    return next(peer for peer in ALL if peer.name == name)
