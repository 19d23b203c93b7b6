"""The Open Inference Protocol over REST, all but the inference itself: metadata, health, and the repository."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import lading
from lading.content import content_of
from lading.errors import NotReadyError, RequestError
from lading.errors.sentences import clipped, shown
from lading.protocol.datatypes import BYTES, TO_V2, v2_shape
from lading.protocol.json_body import parse_object
from lading.serve.engine.engine import Engine
from lading.serve.engine.model import ServedModel
from lading.serve.engine.repository import Repository
from lading.serve.health import Health
from lading.serve.http.errors import LONGEST_PATH
from lading.serve.not_offered import PATHS, not_offered
from lading.serve.telemetry.statistics import Statistics
from lading.settings import Settings
from lading.spec import TensorSpec

EXTENSIONS = ("binary_tensor_data", "classification", "model_repository", "statistics")
PLATFORM = "onnxruntime_onnx"


Endpoint = Callable[[Request], Awaitable[Response]]


def v2_routes(
    engine: Engine, repository: Repository, health: Health, statistics: Statistics, settings: Settings
) -> list[Route]:
    """The routes of the protocol, and of calls in Triton's extensions that are not offered."""
    rest = V2Rest(engine, repository, health, statistics, settings)
    model = "/v2/models/{name}"
    version = model + "/versions/{version}"
    control = "/v2/repository/models/{name}"
    return [
        Route("/v2", rest.server),
        Route("/v2/health/live", rest.live),
        Route("/v2/health/ready", rest.ready),
        Route("/v2/models", rest.models),
        Route("/v2/models/stats", rest.statistics),
        Route(f"{model}/stats", rest.statistics),
        Route(f"{version}/stats", rest.statistics),
        Route(model, rest.model),
        Route(version, rest.model),
        Route(f"{model}/ready", rest.model_ready),
        Route(f"{version}/ready", rest.model_ready),
        Route("/v2/repository/index", rest.index, methods=["GET", "POST"]),
        Route(f"{control}/load", rest.load, methods=["POST"]),
        Route(f"{control}/unload", rest.unload, methods=["POST"]),
        *(Route(path, _not_offered(instead), methods=["GET", "POST"]) for path, instead in PATHS.items()),
    ]


class V2Rest:
    """The protocol's endpoints that answer from what the server knows."""

    def __init__(
        self, engine: Engine, repository: Repository, health: Health, statistics: Statistics, settings: Settings
    ) -> None:
        self._limits = {"max_message_bytes": settings.max_body_bytes}
        if settings.grpc_max_message_bytes != settings.max_body_bytes:
            self._limits["max_grpc_message_bytes"] = settings.grpc_max_message_bytes
        self._engine = engine
        self._health = health
        self._repository = repository
        self._statistics = statistics

    async def server(self, _: Request) -> Response:
        """Name, version and extensions of the server, and the size of the largest request."""
        known = {"name": "lading", "version": lading.__version__, "extensions": EXTENSIONS}
        return _json({**known, **self._limits})

    async def live(self, _: Request) -> Response:
        """200 unless a lane hangs and cannot be replaced."""
        if not self._health.alive:
            raise NotReadyError("a lane hangs and cannot be replaced, or a worker is missing")
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
                "inputs": inputs_metadata(model.inputs),
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

    async def statistics(self, request: Request) -> Response:
        """What was counted and timed for a model, or for each of them."""
        parameters = request.path_params
        entries = await self._statistics.of(parameters.get("name"), parameters.get("version"))
        return _json({"model_stats": entries})

    async def load(self, request: Request) -> Response:
        """Load a model, or load it again."""
        check_load_parameters(await _parameters_in(request))
        await self._repository.load(request.path_params["name"])
        return _json({"name": request.path_params["name"], "load": True})

    async def unload(self, request: Request) -> Response:
        """Drain a model and free it."""
        check_load_parameters(await _parameters_in(request))
        await self._repository.unload(request.path_params["name"])
        return _json({"name": request.path_params["name"], "unload": True})

    def _find(self, request: Request) -> ServedModel:
        parameters = request.path_params
        return self._repository.named({**request.query_params, "model": parameters["name"], **parameters})


def check_load_parameters(names: Iterable[str]) -> None:
    """Refuse parameters of a load or unload that would change what is loaded.

    Raises:
        RequestError: there is one.
    """
    for name in names:
        if name != "unload_dependents":  # no model depends on another one
            raise RequestError(
                f"parameter {shown(name)} is not taken: a model is loaded as it is in its artifact; change the "
                "artifact's folder, and load it again"
            )


async def _parameters_in(request: Request) -> Iterable[str]:
    body = await request.body()
    parameters = parse_object(body, 'a JSON object such as {"parameters": {}}').get("parameters") if body else None
    if not isinstance(parameters, dict | None):
        raise RequestError(f"'parameters' is {shown(parameters)}; send an object")
    return parameters or ()


def _not_offered(instead: str) -> Endpoint:
    async def refuse(request: Request) -> Response:
        raise not_offered(f"{request.method} {clipped(request.url.path, LONGEST_PATH)}", instead)

    return refuse


def inputs_metadata(specs: Sequence[TensorSpec]) -> list[dict[str, Any]]:
    """What a request must send: a client that knows nothing else fills these tensors, and is answered.

    A text is BYTES of shape [batch], because tokens without their tokenizer mean nothing. What the server fills in for
    it, such as a mask, is not listed; it may be sent with tokens (``tensors`` of :func:`parameters`).
    """
    of_text = {spec.padded_dim for spec in specs if _is_text(spec)}
    needed = [spec for spec in specs if not (spec.optional and of_text.intersection(spec.symbolic_dims))]
    return [
        {"name": spec.name, "datatype": BYTES, "shape": [-1]} if _is_text(spec) else tensor_metadata(spec)
        for spec in needed
    ]


def _is_text(spec: TensorSpec) -> bool:
    content = content_of(spec)
    return content is not None and content.textual


def tensor_metadata(spec: TensorSpec) -> dict[str, Any]:
    """Name, datatype and shape as the protocol gives them."""
    return {"name": spec.name, "datatype": TO_V2[spec.dtype], "shape": v2_shape(spec)}


def parameters(engine: Engine, repository: Repository, model: ServedModel) -> dict[str, Any]:
    """What is particular to this server: labels of outputs, the variant, and how it is run.

    ``files`` are the formats that BYTES of an input may be in, and ``tensors`` all inputs as numbers.
    """
    labels = {spec.name: spec.labels for spec in model.outputs if spec.labels}
    files = {spec.name: content.formats for spec in model.inputs if (content := content_of(spec)) is not None}
    tensors = [tensor_metadata(spec) for spec in model.inputs]
    return {
        **({"labels": labels} if labels else {}),
        **({"files": files} if files else {}),
        **({"tensors": tensors} if tensors != inputs_metadata(model.inputs) else {}),
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
