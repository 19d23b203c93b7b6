"""The inference endpoints over HTTP: ``/classify``, ``/predict``, and ``/v2/models/.../infer``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import orjson
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from lading.content.image import looks_like_picture as _looks_like_picture
from lading.errors import ContentTypeError, RequestError, UnknownModelError
from lading.protocol.oip_rest import JSON_LENGTH, V2Request, encode
from lading.protocol.plain import TextForm, decode_json, encode_json, encode_with_inputs
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


Headers = list[tuple[bytes, bytes]]
JSON: Headers = [(b"content-type", b"application/json")]


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


_RAW = ("", "application/octet-stream", "binary/octet-stream")
_HINT = (
    "send a JPEG, PNG or WebP file as the body (curl --data-binary @photo.jpg) "
    "or as a form's file (curl -F file=@photo.jpg)"
)


def picture_in(call: HttpCall, body: bytes) -> bytes:
    """Take an encoded picture from a body: the raw body, or the one file of a form, whatever its field is called.

    What the bytes are counts for more than what the header calls them: curl's ``--data-binary`` says
    ``application/x-www-form-urlencoded`` of everything.

    Raises:
        ContentTypeError: neither a picture nor a type that may hold one.
        RequestError: see :func:`lading.serve.http.inference.file_in_form`.
    """
    body = call.inflated(body)
    kind = call.content_type
    if kind == "multipart/form-data":
        return file_in_form(call.headers[b"content-type"].decode("latin-1"), body)
    if _looks_like_picture(body) or kind in _RAW or kind.startswith("image/"):
        return body
    if kind == "application/json":
        raise ContentTypeError(f"/classify does not read JSON: {_HINT}; JSON goes to /predict")
    raise ContentTypeError(f"/classify does not read {kind}: {_HINT}")


def file_in_form(content_type: str, body: bytes) -> bytes:
    """Return the content of a form's one file, whatever its field is called.

    Args:
        content_type: the request's header, with the boundary.
        body: the whole body.

    Raises:
        RequestError: no form, a field that is not a file, or not exactly one file that is complete.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not boundary:
        raise RequestError("the form cannot be read: its content type names no boundary")
    parts = _Parts()
    try:
        MultipartParser(boundary, parts.callbacks()).write(body)  # type: ignore[arg-type]
    except FormParserError as error:
        raise RequestError(f"the form cannot be read: {error}") from None
    if len(parts.files) != 1:
        raise RequestError(
            f"the form has {len(parts.files)} complete files; send exactly one (curl -F file=@photo.jpg)"
        )
    return bytes(parts.files[0])


class _Parts:
    """Collects the files that the parser comes across."""

    def __init__(self) -> None:
        self.files: list[bytearray] = []
        self._data = bytearray()
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = b""

    def callbacks(self) -> dict[str, object]:
        names = (
            "part_begin",
            "part_data",
            "part_end",
            "header_field",
            "header_value",
            "header_end",
            "headers_finished",
        )
        return {f"on_{name}": getattr(self, f"_{name}") for name in names}

    def _part_begin(self) -> None:
        self._data, self._disposition = bytearray(), b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header, self._value = bytearray(), bytearray()

    def _headers_finished(self) -> None:
        options = parse_options_header(self._disposition)[1]
        if b"filename" not in options and b"filename*" not in options:
            name = options.get(b"name", b"").decode("utf-8", "replace")
            raise RequestError(f"the form's field {name!r} is not a file; a form carries one file and nothing else")

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._data += data[start:end]

    def _part_end(self) -> None:
        self.files.append(self._data)
