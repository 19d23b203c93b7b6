"""The inference endpoints over HTTP: ``/classify``, ``/predict``, and ``/v2/models/.../infer``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import orjson
from starlette.requests import ClientDisconnect

from lading.errors import ContentTypeError, UnknownModelError
from lading.serve.body import picture_in
from lading.serve.engine import Engine
from lading.serve.http_call import HttpCall
from lading.serve.plan import JSON, Headers, Plan
from lading.serve.predict import decode_json, encode_json
from lading.serve.repository import Repository
from lading.serve.served_model import ServedModel
from lading.serve.text_forms import TextForm, encode_with_inputs
from lading.serve.v2_answer import encode
from lading.serve.v2_request import JSON_LENGTH, V2Request
from lading.spec import Array

_V2 = "/v2/models/"
_INFER = "/infer"
WORTH_WATCHING_S = 0.02
"""When a request will wait longer than this, it is watched whether its client goes away meanwhile."""


class HttpInference:
    """Plans requests for the models of a repository, and has them answered.

    Args:
        engine: admits and runs.
        repository: finds the model.
    """

    def __init__(self, engine: Engine, repository: Repository) -> None:
        self.engine = engine
        self._repository = repository

    def classify(self, call: HttpCall) -> Plan:
        """A picture in, one label for each labelled output back."""
        model = self._asked_for(call)
        how = model.classifier
        if isinstance(how, str):
            raise UnknownModelError(f"{how}: send its inputs to /predict as JSON")
        return Plan(
            model,
            lambda body: how.decode(picture_in(call, body), call.settings.max_pixels),
            lambda outputs: (JSON, orjson.dumps(how.answer(outputs))),
        )

    def predict(self, call: HttpCall) -> Plan:
        """Any model's inputs by name as JSON, its outputs by name back."""
        model = self._asked_for(call)
        # A missing type, and the one that curl -d sends by default, are taken for JSON: its parser decides.
        if call.content_type not in ("application/json", "", "application/x-www-form-urlencoded"):
            raise ContentTypeError(f"/predict reads application/json, not {call.content_type}")
        return Plan(
            model,
            lambda body: decode_json(model.info, call.inflated(body), call.settings.max_pixels),
            lambda outputs: (JSON, encode_json(outputs, model.answer_end)),
            brief=not call.encoded,
        )

    def reading(self, form: TextForm) -> Callable[[HttpCall], Plan]:
        """Text in, read by a function of the operator's choice; the inputs it stands for and their outputs back."""

        def predict(call: HttpCall) -> Plan:
            model = self._asked_for(call)
            inputs: dict[str, Array] = {}

            def read(body: bytes) -> dict[str, Array]:
                inputs.update(form.read(model.info, call.inflated(body)))
                return inputs

            return Plan(
                model,
                read,
                lambda outputs: (JSON, encode_with_inputs(model.info, inputs, dict(outputs), model.answer_end)),
            )

        return predict

    def infer(self, call: HttpCall) -> Plan:
        """The Open Inference Protocol's request, as JSON or with raw tensors."""
        model = self._asked_for(call)
        request = V2Request(model.info, call.headers.get(JSON_LENGTH), call.settings.max_pixels)
        return Plan(
            model,
            lambda body: request.read(call.inflated(body)),
            lambda outputs: encode(request, outputs),
            brief=not call.encoded,
        )

    async def answer(self, call: HttpCall, plan: Plan, deadline: float) -> tuple[Headers, bytes]:
        """Carry out a plan behind any ASGI server.

        Raises:
            LadingError: as :meth:`Engine.submit`, :meth:`HttpCall.body` and the plan.
            ClientDisconnect: the client went away.
        """
        body = await call.body()
        read = plan.reader(call, body)
        answering = self.engine.infer(
            plan.model, read, deadline=deadline, size=len(body), brief=plan.brief, stages=call.stages
        )
        if self.engine.wait_seconds < WORTH_WATCHING_S:
            call.outputs = await answering
        else:
            inference = asyncio.ensure_future(answering)
            gone = asyncio.ensure_future(call.receive())
            try:
                await asyncio.wait({inference, gone}, return_when=asyncio.FIRST_COMPLETED)
                if not inference.done():
                    raise ClientDisconnect
                call.outputs = inference.result()
            finally:
                inference.cancel()
                gone.cancel()
        return plan.encode(call.outputs)

    def _asked_for(self, call: HttpCall) -> ServedModel:
        query = call.query
        name, version = model_in(call.scope["path"]) or (query.get("model"), query.get("version"))
        call.model = self._repository.find(name, version, query.get("variant"))
        return call.model


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
