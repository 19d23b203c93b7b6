"""Rows of the payload log as OpenTelemetry log records, sent to a collector over OTLP/HTTP.

The exporter is OpenTelemetry's own (extra ``otel``). Its variables apply: ``OTEL_EXPORTER_OTLP_HEADERS`` authenticates,
``OTEL_EXPORTER_OTLP_CERTIFICATE`` names a CA, ``OTEL_EXPORTER_OTLP_TIMEOUT`` limits one export with its retries.
"""

from __future__ import annotations

import logging
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from lading.artifact.manifest import ModelInfo
from lading.errors import SettingsError
from lading.files import shown
from lading.record.batch import Batch

ATTRIBUTES = ("request_id", "model", "version", "variant", "protocol", "code", "error", "output", "truth")
LARGEST_BATCH = 4_000_000
"""Characters of the bodies in one request. OpenTelemetry's collector accepts 20 MiB by default."""
_SCOPE = InstrumentationScope("lading.payload")


class OtlpLogs:
    """Sends rows to a collector. The files of pictures are not sent.

    Args:
        address: ``http://HOST:4318``. ``/v1/logs`` is added if there is no path.

    Raises:
        SettingsError: the address is not an HTTP address.
    """

    def __init__(self, address: str) -> None:
        parts = urllib.parse.urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise SettingsError(
                f"LADING_PAYLOAD_LOG=otlp+{shown(address)} is not an address: write otlp+http://HOST:4318"
            )
        self._url = address if parts.path.strip("/") else f"{address.rstrip('/')}/v1/logs"
        self._exporter = OTLPLogExporter(self._url, compression=Compression.Gzip)
        self._last_warning = _LastMessage()
        logger = logging.getLogger(OTLPLogExporter.__module__)
        logger.handlers, logger.propagate = [self._last_warning], False

    def store(
        self, batch: Batch, model: ModelInfo, rows: Sequence[Mapping[str, Any]], pictures: Mapping[str, bytes]
    ) -> None:
        del batch, pictures
        self._send(model.name, rows)

    def store_truths(self, batch: Batch, rows: Sequence[Mapping[str, Any]]) -> None:
        del batch
        self._send("feedback", rows)

    def _send(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Send rows. If a batch fails, the caller sends all again, so a collector may get a row twice."""
        resource = Resource.create({"service.name": name})
        for batch in _batches([_record(row) for row in rows]):
            readable = [ReadableLogRecord(record, resource, _SCOPE) for record in batch]
            if self._exporter.export(readable) is not LogRecordExportResult.SUCCESS:
                raise OSError(f"{shown(self._url)} did not accept {len(batch)} records: {self._last_warning.text}")


class _LastMessage(logging.Handler):
    """Keeps the exporter's last message: ``export`` returns only that it failed, and logs why."""

    text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()


def _batches(records: Sequence[LogRecord]) -> Iterator[list[LogRecord]]:
    batch: list[LogRecord] = []
    size = 0
    for record in records:
        length = len(str(record.body))
        if batch and size + length > LARGEST_BATCH:
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += length
    if batch:
        yield batch


def _record(row: Mapping[str, Any]) -> LogRecord:
    tensors = {
        name: value for name, value in row.items() if name.startswith(("input.", "output.")) and value is not None
    }
    return LogRecord(
        timestamp=row["time"] * 1000,
        severity_number=SeverityNumber.ERROR if row.get("error") else SeverityNumber.INFO,
        body=orjson.dumps(tensors, option=orjson.OPT_SERIALIZE_NUMPY, default=np.ndarray.tolist).decode(),
        attributes={name: row[name] for name in ATTRIBUTES if row.get(name) is not None},
    )
