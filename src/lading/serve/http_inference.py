"""The inference endpoints over HTTP: ``/classify``, ``/predict``, and ``/v2/models/.../infer``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

import orjson
from starlette.requests import ClientDisconnect

from lading.errors import ContentTypeError, UnknownModelError
from lading.serve.body import picture_in
from lading.serve.engine import Engine
from lading.serve.http_call import GONE, HttpCall
from lading.serve.inference_endpoint import JSON, Headers
from lading.serve.predict import decode_json, encode_json
from lading.serve.repository import Repository
from lading.serve.served_model import ServedModel
from lading.serve.text_forms import TextForm, encode_with_inputs
from lading.serve.v2_answer import encode
from lading.serve.v2_request import V2Request
from lading.spec import Array

_V2 = "/v2/models/"
_INFER = "/infer"
BodyReader = Callable[[bytes], Mapping[str, Array]]
WORTH_WATCHING_S = 0.02
"""When a request will wait longer than this, it is watched whether its client goes away meanwhile."""


class HttpInference:
    """Answers requests with the models of a repository.

    Args:
        engine: admits and runs.
        repository: finds the model.
    """

    def __init__(self, engine: Engine, repository: Repository) -> None:
        self._engine = engine
        self._repository = repository

    async def classify(self, call: HttpCall) -> tuple[Headers, bytes]:
        """A picture in, one label for each labelled output back."""
        model = self._asked_for(call)
        how = model.classifier
        if isinstance(how, str):
            raise UnknownModelError(f"{how}: send its inputs to /predict as JSON")
        outputs = await self._run(
            call, model, lambda body: how.decode(picture_in(call, body), call.settings.max_pixels)
        )
        return JSON, orjson.dumps(how.answer(outputs))

    async def predict(self, call: HttpCall) -> tuple[Headers, bytes]:
        """Any model's inputs by name as JSON, its outputs by name back."""
        model = self._asked_for(call)
        # A missing type, and the one that curl -d sends by default, are taken for JSON: its parser decides.
        if call.content_type not in ("application/json", "", "application/x-www-form-urlencoded"):
            raise ContentTypeError(f"/predict reads application/json, not {call.content_type}")
        outputs = await self._run(call, model, lambda body: decode_json(model, call.settings, call.inflated(body)))
        return JSON, encode_json(model, outputs)

    def reading(self, form: TextForm) -> Callable[[HttpCall], Awaitable[tuple[Headers, bytes]]]:
        """Text in, read by a function of the operator's choice; the inputs it stands for and their outputs back."""

        async def predict(call: HttpCall) -> tuple[Headers, bytes]:
            model = self._asked_for(call)
            inputs: dict[str, Array] = {}

            def read(body: bytes) -> dict[str, Array]:
                inputs.update(form.read(model, call.inflated(body)))
                return inputs

            outputs = await self._run(call, model, read)
            return JSON, encode_with_inputs(model, inputs, outputs)

        return predict

    async def infer(self, call: HttpCall) -> tuple[Headers, bytes]:
        """The Open Inference Protocol's request, as JSON or with raw tensors."""
        model = self._asked_for(call)
        request = V2Request(call, model, b"")

        def read(body: bytes) -> dict[str, Array]:
            request.body = body
            return request.read()

        outputs = await self._run(call, model, read)
        return encode(request, outputs)

    def admit(self, call: HttpCall) -> None:
        """Refuse what cannot be answered in time.

        Raises:
            LadingError: as :meth:`Engine.admit`, or there is no such model.
        """
        self._engine.admit(self._asked_for(call), call.deadline(), call.declared_bytes)

    def _asked_for(self, call: HttpCall) -> ServedModel:
        query = call.query
        name, version = model_in(call.scope["path"]) or (query.get("model"), query.get("version"))
        call.model = self._repository.find(name, version, query.get("variant"))
        return call.model

    async def _run(self, call: HttpCall, model: ServedModel, read: BodyReader) -> dict[str, Array]:
        deadline = call.deadline()
        self._engine.admit(model, deadline, call.declared_bytes)
        body = await call.body()
        stages = call.span.stages if call.span else None

        def in_lane() -> Mapping[str, Array]:
            call.inputs = read(body)
            return call.inputs

        answering = self._engine.infer(model, in_lane, deadline=deadline, size=len(body), stages=stages)
        waits = self._engine.wait_seconds >= WORTH_WATCHING_S
        if not waits:
            call.outputs = await answering
        elif GONE in call.scope:
            call.outputs = await self._until_gone(call, answering)
        else:
            call.outputs = await self._watched(call, answering)
        return call.outputs

    async def _until_gone(self, call: HttpCall, answering: Coroutine[Any, Any, dict[str, Array]]) -> dict[str, Array]:
        """Leave the queue when the server says that the client went away: no task more, as :meth:`_watched` takes."""
        task = asyncio.current_task()
        assert task is not None
        gone = False

        def leave() -> None:
            nonlocal gone
            gone = task.cancel()

        call.scope[GONE] = leave
        try:
            return await answering
        except asyncio.CancelledError:
            if not gone:
                raise
            task.uncancel()
            raise ClientDisconnect from None
        finally:
            call.scope[GONE] = None

    async def _watched(self, call: HttpCall, answering: Coroutine[Any, Any, dict[str, Array]]) -> dict[str, Array]:
        """Leave the queue when the client goes away, behind any ASGI server."""
        inference = asyncio.ensure_future(answering)
        gone = asyncio.ensure_future(call.receive())
        try:
            await asyncio.wait({inference, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not inference.done():
                raise ClientDisconnect
            return inference.result()
        finally:
            inference.cancel()
            gone.cancel()


def model_in(path: str) -> tuple[str, str | None] | None:
    """Name and version in ``/v2/models/NAME[/versions/VERSION]/infer``; ``None`` for another path."""
    if not (path.startswith(_V2) and path.endswith(_INFER)):
        return None
    match path[len(_V2) : -len(_INFER)].split("/"):
        case [name] if name:
            return name, None
        case [name, "versions", version] if name and version:
            return name, version
    return None
