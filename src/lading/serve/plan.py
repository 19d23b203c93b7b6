"""What is to be done with one request, once its headers are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lading.serve.http_call import HttpCall
from lading.serve.job import Read
from lading.serve.served_model import ServedModel
from lading.spec import Array

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
