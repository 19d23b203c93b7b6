"""What is to be done with one request, once its headers are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

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
