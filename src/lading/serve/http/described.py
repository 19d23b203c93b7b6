"""``GET /model`` and ``GET /docs.json``: what a model is, and what may be sent to it. ``?model=NAME`` selects one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lading.errors import NotReadyError
from lading.protocol.describe import describe_model
from lading.protocol.texts import TextForm
from lading.serve.engine.model import ServedModel
from lading.serve.engine.repository import Repository
from lading.serve.http.openapi import openapi
from lading.settings import Settings

_KEPT = 256
"""Maximum descriptions in memory: a reloaded model has another digest."""
_HEADERS = {"x-content-type-options": "nosniff", "cache-control": "no-cache"}


class Described:
    """The descriptions of all models. Each is made once, from the artifact.

    Args:
        repository: the models.
        settings: limits and switches that the API description states.
        texts: forms of text that the first model reads.
        reported: whether ``/report`` has a page about a model.
    """

    def __init__(
        self,
        repository: Repository,
        settings: Settings,
        texts: Sequence[TextForm],
        reported: Callable[[str], bool],
    ) -> None:
        self._repository, self._settings, self._texts, self._reported = repository, settings, texts, reported
        self._made: dict[tuple[str, ...], dict[str, Any]] = {}
        first = repository.find()
        for make in (self._description, self._document) if first.artifact.refused is None else ():
            self._of(first, make)

    def routes(self) -> list[Route]:
        """``/model`` and ``/docs.json``."""
        return [Route("/model", self._model), Route("/docs.json", self._docs)]

    async def _model(self, request: Request) -> Response:
        model = self._named(request)
        description = await asyncio.to_thread(self._of, model, self._description)
        return _json(description | {"report": self._reported(model.name)})

    async def _docs(self, request: Request) -> Response:
        return _json(await asyncio.to_thread(self._of, self._named(request), self._document))

    def _named(self, request: Request) -> ServedModel:
        return self._repository.named(request.query_params)

    def _of(self, model: ServedModel, make: Callable[[ServedModel], dict[str, Any]]) -> dict[str, Any]:
        if model.artifact.refused is not None:  # an example is one of its files
            raise NotReadyError(str(model.artifact.refused))
        key = (make.__name__, model.name, model.version, model.variant, model.artifact.digest)
        if key not in self._made:
            if len(self._made) >= _KEPT:
                self._made.clear()
            self._made[key] = make(model)
        return self._made[key]

    def _description(self, model: ServedModel) -> dict[str, Any]:
        return describe_model(model.artifact, model.packed, model.info.classifier, self._texts_of(model))

    def _document(self, model: ServedModel) -> dict[str, Any]:
        describe = partial(openapi, model.artifact, model.packed, model.info.classifier, self._settings)
        return describe(self._texts_of(model), named=model.name != self._repository.default)

    def _texts_of(self, model: ServedModel) -> list[TextForm]:
        return [form for form in self._texts if form.fits(model.info)]


def _json(content: dict[str, Any]) -> Response:
    return Response(orjson.dumps(content), headers=_HEADERS, media_type="application/json")
