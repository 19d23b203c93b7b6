"""The Open Inference Protocol over REST, all but the inference itself: metadata, health, and the repository."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import lading
from lading.errors import NotReadyError
from lading.protocol.datatypes import TO_V2, v2_shape
from lading.protocol.json_values import parse_object
from lading.serve.engine.engine import Engine
from lading.serve.engine.model import ServedModel
from lading.serve.engine.repository import Repository
from lading.serve.health import Health
from lading.spec import TensorSpec

EXTENSIONS = ("binary_tensor_data", "model_repository")
PLATFORM = "onnxruntime_onnx"

Endpoint = Callable[[Request], Awaitable[Response]]


def v2_routes(engine: Engine, repository: Repository, health: Health) -> list[Route]:
    """The routes of the protocol."""
    rest = V2Rest(engine, repository, health)
    model = "/v2/models/{name}"
    version = model + "/versions/{version}"
    control = "/v2/repository/models/{name}"
    return [
        Route("/v2", rest.server),
        Route("/v2/", rest.server),
        Route("/v2/health/live", rest.live),
        Route("/v2/health/ready", rest.ready),
        Route("/v2/models", rest.models),
        Route(model, rest.model),
        Route(version, rest.model),
        Route(f"{model}/ready", rest.model_ready),
        Route(f"{version}/ready", rest.model_ready),
        Route("/v2/repository/index", rest.index, methods=["GET", "POST"]),
        Route(f"{control}/load", rest.load, methods=["POST"]),
        Route(f"{control}/unload", rest.unload, methods=["POST"]),
    ]


class V2Rest:
    """The protocol's endpoints that answer from what the server knows."""

    def __init__(self, engine: Engine, repository: Repository, health: Health) -> None:
        self._engine = engine
        self._health = health
        self._repository = repository

    async def server(self, _: Request) -> Response:
        """Name, version and extensions of the server."""
        return _json({"name": "lading", "version": lading.__version__, "extensions": EXTENSIONS})

    async def live(self, _: Request) -> Response:
        """200 unless a lane has died or is wedged."""
        if not self._health.alive:
            raise NotReadyError("a lane has died, or has been in one run for too long")
        return _json({"live": True})

    async def ready(self, _: Request) -> Response:
        """200 when every model answers."""
        if not self._health.ready:
            raise NotReadyError(f"not ready: {self._health.not_ready_because}")
        return _json({"ready": True})

    async def models(self, _: Request) -> Response:
        """Names of the models."""
        return _json({"models": sorted({model.name for model in self._repository.all()})})

    async def model(self, request: Request) -> Response:
        """Metadata of a model."""
        model = self._find(request)
        return _json(
            {
                "name": model.name,
                "versions": self._repository.versions(model.name),
                "platform": PLATFORM,
                "inputs": [tensor_metadata(spec) for spec in model.inputs],
                "outputs": [tensor_metadata(spec) for spec in model.outputs],
                "parameters": parameters(self._engine, self._repository, model),
            }
        )

    async def model_ready(self, request: Request) -> Response:
        """200 when this model answers."""
        model = self._find(request)
        if self._engine.draining or not model.ready:
            raise NotReadyError(f"model {model.name!r} is not ready: {model.not_ready_because}")
        return _json({"name": model.name, "ready": True})

    async def index(self, request: Request) -> Response:
        """Every model that is served or may be loaded, and its state; ``{"ready": true}`` asks for the ready ones."""
        body = await request.body()
        entries = self._repository.index()
        if body and parse_object(body, 'a JSON object such as {"ready": true}').get("ready") is True:
            entries = [entry for entry in entries if entry["state"] == "READY"]
        return _json(entries)

    async def load(self, request: Request) -> Response:
        """Load a model, or load it again."""
        await self._repository.load(request.path_params["name"])
        return _json({"name": request.path_params["name"], "load": True})

    async def unload(self, request: Request) -> Response:
        """Drain a model and free it."""
        await self._repository.unload(request.path_params["name"])
        return _json({"name": request.path_params["name"], "unload": True})

    def _find(self, request: Request) -> ServedModel:
        parameters = request.path_params
        return self._repository.find(parameters["name"], parameters.get("version"), request.query_params.get("variant"))


def tensor_metadata(spec: TensorSpec) -> dict[str, Any]:
    """Name, datatype and shape as the protocol gives them."""
    return {"name": spec.name, "datatype": TO_V2[spec.dtype], "shape": v2_shape(spec)}


def parameters(engine: Engine, repository: Repository, model: ServedModel) -> dict[str, Any]:
    """What is particular to this server: the variant, and how it is run."""
    return {
        "variant": model.variant,
        "variants": list(repository.variants(model)),
        "precision": model.packed.precision,
        "digest": model.artifact.digest,
        "lanes": engine.lanes,
        "threads": model.threads,
        "batch": model.batch,
        "brief": engine.brief(model),
        "cost_ms": {str(size): round(model.cost.seconds(size) * 1e3, 4) for size in model.cost.sizes},
    }


def _json(content: object) -> Response:
    return Response(orjson.dumps(content), HTTPStatus.OK, media_type="application/json")
