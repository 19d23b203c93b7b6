"""Rows of a payload log as OpenTelemetry log records, over OTLP/HTTP with JSON.

https://opentelemetry.io/docs/specs/otlp/#otlphttp: one POST to ``/v1/logs``; a collector does the rest.
"""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from lading.errors import SettingsError
from lading.manifest import ModelInfo

TIMEOUT_S = 10.0
ATTRIBUTES = ("request_id", "model", "version", "variant", "protocol", "code", "error", "output", "truth")


class OtlpLogs:
    """Sends rows to a collector. Pictures' files are not sent.

    Args:
        address: ``http://HOST:4318``; the path is added when there is none.

    Raises:
        SettingsError: it is no HTTP address.
    """

    def __init__(self, address: str) -> None:
        parts = urllib.parse.urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise SettingsError(f"LADING_PAYLOAD_LOG=otlp+{address} is no address: write otlp+http://HOST:4318")
        self._url = address if parts.path.strip("/") else f"{address.rstrip('/')}/v1/logs"

    def store(self, model: ModelInfo, rows: Sequence[Mapping[str, Any]], pictures: Mapping[str, bytes]) -> None:
        del pictures
        self._send(model.name, rows)

    def store_truths(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._send("feedback", rows)

    def _send(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        scope = {"scope": {"name": "lading.payload"}, "logRecords": [_record(row) for row in rows]}
        resource = {"attributes": [_attribute("service.name", name)]}
        body = orjson.dumps({"resourceLogs": [{"resource": resource, "scopeLogs": [scope]}]})
        request = urllib.request.Request(self._url, body, {"content-type": "application/json"})
        # urllib's errors are OSErrors.
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            answer.read()


def _record(row: Mapping[str, Any]) -> dict[str, Any]:
    tensors = {
        name: value for name, value in row.items() if name.startswith(("input.", "output.")) and value is not None
    }
    text = orjson.dumps(tensors, option=orjson.OPT_SERIALIZE_NUMPY, default=np.ndarray.tolist).decode()
    known = [_attribute(name, row[name]) for name in ATTRIBUTES if row.get(name) is not None]
    return {
        # Protobuf's JSON writes 64-bit integers as strings.
        "timeUnixNano": str(row["time"] * 1000),
        "severityNumber": 9 if not row.get("error") else 17,
        "body": {"stringValue": text},
        "attributes": known,
    }


def _attribute(name: str, value: object) -> dict[str, Any]:
    kind = {"intValue": str(value)} if isinstance(value, int) else {"stringValue": str(value)}
    return {"key": name, "value": kind}
