"""The inference endpoints over HTTP: ``/classify``, ``/predict``, and ``/v2/models/.../infer``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from starlette.requests import ClientDisconnect

from lading.protocol.codec import Codec, Encoded, Headers
from lading.protocol.oip_rest import OipRestCodec
from lading.protocol.plain import ClassifyCodec, JsonCodec, TextCodec, TextForm
from lading.serve.engine.engine import Engine
from lading.serve.engine.model import Read, ServedModel
from lading.serve.engine.repository import Repository
from lading.serve.http.request import HttpCall
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
        """One encoded file in, one label for each labelled output back."""
        return self._plan(call, ClassifyCodec)

    def predict(self, call: HttpCall) -> Plan:
        """Any model's inputs by name as JSON, its outputs by name back."""
        return self._plan(call, JsonCodec)

    def reading(self, form: TextForm) -> Callable[[HttpCall], Plan]:
        """Text in, read by a function of the operator's choice; the inputs it stands for and their outputs back."""
        codec = partial(TextCodec, form=form)
        return lambda call: self._plan(call, codec)

    def infer(self, call: HttpCall) -> Plan:
        """The Open Inference Protocol's request, as JSON or with raw tensors."""
        return self._plan(call, OipRestCodec)

    def _plan(self, call: HttpCall, kind: Callable[..., Codec[bytes, Encoded]]) -> Plan:
        model = self._asked_for(call)
        codec = kind(model.info, call.headers, call.settings.max_pixels)
        return Plan(model, lambda body: codec.read(call.inflated(body)), codec.write, codec.brief and not call.encoded)

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


@dataclass(slots=True, eq=False)
class Plan:
    """Which model answers, and how its inputs are read and its outputs written."""

    model: ServedModel
    read: Callable[[bytes], Mapping[str, Array]]
    """The body to the model's inputs, batch dim included. Runs in a lane, and may raise RequestError."""
    encode: Callable[[Mapping[str, Array]], tuple[Headers, bytes]]
    """The outputs to the answer's headers and body; may raise UnanswerableError."""
    brief: bool = False
    """``read`` does no more than parse the body as it came."""

    def reader(self, call: HttpCall, body: bytes) -> Read:
        """What a lane calls to read a body; the inputs stay with the call, for whoever records it."""

        def read() -> Mapping[str, Array]:
            call.inputs = self.read(body)
            return call.inputs

        return read
