"""The kinds of users that a load test has."""

from __future__ import annotations

from typing import Literal, get_args

Kind = Literal["plain", "v2-json", "v2-binary", "grpc"]
KINDS: tuple[Kind, ...] = get_args(Kind)
