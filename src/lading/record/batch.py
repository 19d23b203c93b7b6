"""Rows of the payload log that are stored together, and what stores them."""

from __future__ import annotations

import itertools
import os
import re
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from lading.artifact.manifest import ModelInfo
from lading.record.payload_columns import Row

_NUMBERS = itertools.count(1)
_PROCESS = secrets.token_hex(4)
"""Tells processes apart that have the same host name and process id, such as a container and its successor."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The place of rows that are stored together. It does not change when a failed write is tried again, so an
    attempt that failed late is replaced and no row is stored twice. No other batch of any server has it."""

    day: str
    stem: str

    @classmethod
    def new(cls) -> Batch:
        """A place that no other batch has."""
        now = datetime.now(UTC)
        host = re.sub(r"[^A-Za-z0-9.-]", "_", socket.gethostname())[:64]
        return cls(f"date={now:%Y-%m-%d}", f"{now:%H%M%S}-{host}-{_PROCESS}-{os.getpid()}-{next(_NUMBERS)}")


class Sink(Protocol):
    """Stores rows of the payload log."""

    def store(self, batch: Batch, model: ModelInfo, rows: Sequence[Row], pictures: Mapping[str, bytes]) -> None:
        """Store rows of one model, and encoded files by their path. They are durable once this returns.

        Raises:
            OSError: the rows were not stored. The caller may try again with the same batch.
        """

    def store_truths(self, batch: Batch, rows: Sequence[Row]) -> None:
        """Store feedback: ``time``, ``request_id``, ``output`` and ``truth`` (JSON). Raises as :meth:`store`."""
