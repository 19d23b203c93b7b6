"""How the text of a variable becomes a value."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode


def _paths(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(Path(part) for part in value.split(os.pathsep) if part)
    return (value,) if isinstance(value, Path) else value


def _names(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _origins(value: Any) -> Any:
    parts = value.split(",") if isinstance(value, str) else value
    origins = tuple(dict.fromkeys(_origin(part) for part in parts if part.strip()))
    if "*" in origins and len(origins) > 1:
        raise ValueError("* already allows every origin: leave the others out, or leave * out")
    return origins


def _origin(text: str) -> str:
    """An origin as browsers send it: in lower case, and without the scheme's own port.

    Raises:
        ValueError: it is no origin; the message says what to write.
    """
    origin = text.strip().lower().removesuffix("/")
    if origin == "*":
        return origin
    example = "write scheme and host, such as https://app.example.com or http://localhost:5173"
    if origin == "null":
        raise ValueError(
            f"every sandboxed page and local file has the origin null, so it names no one: {example}, or *"
        )
    if "*" in origin:
        raise ValueError(f"an origin has no wildcard: {example}, separated by commas, or * alone for all")
    scheme, separator, place = origin.partition("://")
    if not separator or not re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme):
        raise ValueError(f"{text.strip()!r} has no scheme: {example}")
    if not re.fullmatch(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(:\d{1,5})?", place):
        raise ValueError(f"{text.strip()!r} is not only scheme, host in ASCII, and port: {example}")
    return origin.removesuffix({"https": ":443", "http": ":80"}.get(scheme, ""))


def _functions(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    pairs = [part.strip().partition("=") for part in value.split(",") if part.strip()]
    if any(not re.fullmatch(r"[a-z][a-z0-9-]*", name) or not target for name, _, target in pairs):
        raise ValueError("write NAME=package.module:function, with NAME in lower case")
    return {name: target for name, _, target in pairs}


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=0, le=65535)] | Literal["off"]
Paths = Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_paths)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)]
Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_origins)]
Functions = Annotated[dict[str, str], NoDecode, BeforeValidator(_functions)]
"""``NAME=package.module:function``, by name."""
