"""One fault each of a server of the Open Inference Protocol, as changes of a right request or response."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import grpc
import numpy as np

from oip_conformance.tensors import Tensor
from tests.given.protocol_messages import LENGTH, Asked, Fault, Refused, Reply

LIVE, READY, SERVER = r"^/v2/health/live$", r"^/v2/health/ready$", r"^/v2/?$"
MODEL, MODEL_READY = r"^/v2/models/[\w-]+(/versions/\w+)?$", r"^/v2/models/[\w-]+(/versions/\w+)?/ready$"
OF_VERSION = r"^/v2/models/[\w-]+/versions/\w+"
INFER, STATS, INDEX = r"/infer$", r"/stats$", r"^/v2/repository/index$"
EVERY = r""


def change(path: str, spoil: Callable[[Any], Any]) -> Fault:
    """Change the JSON of successful responses, in place or by what is returned."""

    def after(asked: Asked, reply: Reply) -> Reply:
        if reply.status == 200 and re.search(path, asked.path):
            other = spoil(reply.content)
            return reply if other is None else replace(reply, content=other)
        return reply

    return Fault(rest_after=after)


def put(path: str, name: str, value: Any) -> Fault:
    """A member of the JSON has another value."""
    return change(path, lambda content: {**content, name: value})


def drop(path: str, name: str) -> Fault:
    """A member of the JSON is missing."""
    return change(path, lambda content: {key: value for key, value in content.items() if key != name})


def each(path: str, member: str, /, **fields: Any) -> Fault:
    """The entries of a list in the JSON have other members; ``None`` removes one."""

    def spoil(content: Any) -> Any:
        entries = content[member] if member else content
        changed = [{k: v for k, v in {**entry, **fields}.items() if v is not None} for entry in entries]
        return {**content, member: changed} if member else changed

    return change(path, spoil)


def status(path: str, code: int, *, only: Callable[[Asked], bool] = lambda _: True) -> Fault:
    """Requests are refused."""

    def before(asked: Asked) -> Asked | Reply:
        refused = re.search(path, asked.path) and only(asked)
        return Reply(code, {"error": "refused"}) if refused else asked

    return Fault(rest_before=before)


def errors(path: str, make: Callable[[Reply], Reply]) -> Fault:
    """Errors are changed."""

    def after(asked: Asked, reply: Reply) -> Reply:
        return make(reply) if reply.status >= 400 and re.search(path, asked.path) else reply

    return Fault(rest_after=after)


def good(reply: Reply) -> Reply:
    """A response that looks good where there should be an error."""
    return replace(reply, status=200, content={"model_name": "echo", "ready": True, "name": "echo", "outputs": []})


def headers(path: str, **sent: str) -> Fault:
    """Responses have other headers; an underscore stands for a hyphen."""

    def after(asked: Asked, reply: Reply) -> Reply:
        found = {name.replace("_", "-"): value for name, value in sent.items()}
        return replace(reply, headers=found) if re.search(path, asked.path) and reply.status == 200 else reply

    return Fault(rest_after=after)


def request(spoil: Callable[[dict[str, Any]], Any]) -> Fault:
    """Inferences with JSON are understood in another way: the request is changed, or refused by ``False``."""

    def before(asked: Asked) -> Asked | Reply:
        if not asked.path.endswith("/infer"):
            return asked
        try:
            end = int(asked.headers.get(LENGTH, len(asked.body)))
            content = json.loads(asked.body[:end])
        except ValueError:
            return asked
        if not isinstance(content, dict):
            return asked
        try:
            if spoil(content) is False:
                return Reply(400, {"error": "refused"})
        except (KeyError, TypeError, IndexError, AttributeError):
            return asked
        head = json.dumps(content).encode()
        sent = {**asked.headers, LENGTH: str(len(head))} if LENGTH in asked.headers else asked.headers
        return replace(asked, body=head + asked.body[end:], headers=sent)

    return Fault(rest_before=before)


def entries(spoil: Callable[[dict[str, Any]], Any]) -> Fault:
    """Each output of an inference is changed."""

    def spoil_all(content: Any) -> None:
        for entry in content["outputs"]:
            spoil(entry)

    return change(INFER, spoil_all)


def call(method: str, spoil: Callable[[Any], Any]) -> Fault:
    """Successful calls of gRPC are changed, in place or by what is returned."""

    def after(asked: str, _: Any, message: Any) -> Any:
        if asked != method or isinstance(message, Refused):
            return message
        other = spoil(message)
        return message if other is None else other

    return Fault(grpc_after=after)


def call_with(method: str, spoil: Callable[[Any], Any]) -> Fault:
    """Calls of gRPC are understood in another way: the request is changed, or refused by ``False``."""

    def before(asked: str, message: Any) -> Any:
        if asked != method:
            return message
        copied = type(message)()
        copied.CopyFrom(message)
        if spoil(copied) is False:
            copied.Clear()  # no model has an empty name
        return copied

    return Fault(grpc_before=before)


def refuse(method: str, only: Callable[[Any], bool] = lambda _: True) -> Fault:
    """Calls of gRPC are refused."""

    def after(asked: str, message: Any, found: Any) -> Any:
        return Refused("refused") if asked == method and only(message) else found

    return Fault(grpc_after=after)


def call_errors(make: Callable[[str, Any, Refused], Any]) -> Fault:
    """Errors of gRPC are changed: by method, request and error."""

    def after(method: str, message: Any, found: Any) -> Any:
        return make(method, message, found) if isinstance(found, Refused) else found

    return Fault(grpc_after=after)


def with_code(code: grpc.StatusCode, message: str = "an error") -> Callable[[str, Any, Refused], Refused]:
    """The same error with another status."""
    return lambda _, __, ___: Refused(message, code=code)


def values(spoil: Callable[[Tensor], Any]) -> Fault:
    """Models get other values of an input."""

    def changed(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: replace(tensor, values=spoil(tensor)) for name, tensor in inputs.items()}

    return Fault(values=changed)


def rounded(tensor: Tensor) -> Any:
    """Numbers go through a type that is too small for them."""
    if tensor.values.dtype.kind == "f":
        return np.round(tensor.values, 3)
    if tensor.values.dtype == np.int64:
        return np.clip(tensor.values, -(2**53), 2**53)
    if tensor.values.dtype == np.bool_:
        return tensor.values if tensor.values.flat[0] else np.zeros_like(tensor.values)
    if tensor.values.dtype == object:
        kept = [value.decode("ascii", "replace").encode() for value in tensor.values.ravel()]
        return np.array(kept, dtype=object).reshape(tensor.values.shape)
    return tensor.values


def breaks_after_an_error() -> Fault:
    """Once a request was wrong, no other one is answered."""
    broken: list[bool] = []

    def after(_: Asked, reply: Reply) -> Reply:
        if broken:
            return Reply(500, {"error": "broken"})
        if reply.status >= 400:
            broken.append(True)
        return reply

    def after_call(_: str, __: Any, found: Any) -> Any:
        if broken:
            return Refused("broken", code=grpc.StatusCode.INTERNAL)
        if isinstance(found, Refused):
            broken.append(True)
        return found

    return Fault(rest_after=after, grpc_after=after_call)


def mixes_up_answers() -> Fault:
    """A request that was made before gets the answer of another one."""
    rest: dict[bytes, Reply] = {}
    calls: dict[bytes, Any] = {}

    def other(known: dict[bytes, Any], key: bytes, found: Any) -> Any:
        if key in known and len(known) > 1:
            return next(answer for body, answer in known.items() if body != key)
        known[key] = found
        return found

    def after(asked: Asked, reply: Reply) -> Reply:
        if not asked.path.endswith("/infer"):
            return reply
        found: Reply = other(rest, asked.body, reply)
        return found

    def after_call(method: str, message: Any, found: Any) -> Any:
        return other(calls, message.SerializeToString(), found) if method == "ModelInfer" else found

    return Fault(rest_after=after, grpc_after=after_call)


def mixes_up_ids() -> Fault:
    """Requests of several clients get one id."""

    def same(sent: str) -> str:
        return "at-once-0" if sent.startswith("at-once") else sent

    def after(_: Asked, reply: Reply) -> Reply:
        if isinstance(reply.content, dict) and "id" in reply.content:
            reply.content["id"] = same(reply.content["id"])
        return reply

    def after_call(method: str, _: Any, found: Any) -> Any:
        if method == "ModelInfer" and not isinstance(found, Refused):
            found.id = same(found.id)
        return found

    return Fault(rest_after=after, grpc_after=after_call)
