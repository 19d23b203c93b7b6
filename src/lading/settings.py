"""Settings of a server, read from ``LADING_*`` environment variables when it starts."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from lading.content import MAX_PIXELS
from lading.errors import SettingsError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class RecordingSettings(BaseSettings):
    """The settings of recording. Only drift detection is on by default."""

    payload_log: str | None = Field(
        default=None,
        description="where to log inputs and outputs: a folder, a bucket (`gs://`, `s3://` or `az://`), "
        "or `otlp+http://HOST:4318`; not set: nowhere",
    )
    payload_share: float = Field(
        default=1.0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="share of requests to log, chosen by a hash of the request id, so that all services choose "
        "the same requests",
    )
    payload_images: Literal["features", "files"] = Field(
        default="features",
        description="how to log an encoded file, such as a picture: its drift features, or also the file",
    )
    payload_buffer_mb: Positive = Field(
        default=64.0, description="maximum megabytes of requests that wait to be written; more are dropped and counted"
    )
    payload_rotate_s: Positive = Field(default=60.0, description="seconds after which a log file is written")
    payload_rotate_mb: Positive = Field(
        default=8.0, description="megabytes after which a log file is written, even before `LADING_PAYLOAD_ROTATE_S`"
    )
    payload_disk_mb: Positive = Field(
        default=1024.0, description="maximum megabytes of the log on a local disk; the oldest files are deleted first"
    )
    payload_keep_h: Positive = Field(
        default=168.0, description="hours to keep a log file on a local disk; for a bucket set a lifecycle rule"
    )
    feedback: int = Field(
        default=0,
        ge=0,
        description="number of answers to remember, so that `POST /feedback` can compare them with the truth; 0: "
        "the endpoint is off",
    )
    drift: bool = Field(default=True, description="compare requests with the training data, and export scores")
    drift_window: int = Field(
        default=500, ge=50, le=100_000, description="number of requests that a drift score is computed over"
    )
    drift_per_second: Positive = Field(
        default=20.0,
        description="maximum requests per second that are examined for drift; limits the cost of drift detection",
    )


PREFIX = "LADING_"
Port = Annotated[int, Field(ge=0, le=65535)] | Literal["off"]
# Kubernetes sets these in every pod for a Service whose name starts with "lading".
_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT)(_\w+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?$")


class Settings(RecordingSettings):
    """All settings of a server. An empty variable counts as not set, because charts write such variables.

    Raises:
        SettingsError: a value is not valid; the message names the variable.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid")

    artifact: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(),
        description="artifact folders to serve, separated by `:`; `/predict` and `/classify` use the first "
        "unless a request names another",
    )
    digest: str | None = Field(
        default=None,
        pattern="^sha256:[0-9a-f]{64}$",
        description="digest that the first artifact must have, as `lading inspect` shows it; with another "
        "artifact the server does not start",
    )
    models: Path | None = Field(default=None, description="folder whose subfolders are more artifacts to serve")
    model_control: bool = Field(
        default=False, description="let clients load and unload models of `LADING_MODELS` over the repository API"
    )
    variant: str | None = Field(
        default=None, description="variant of each artifact to serve; not set: the one that verify chose"
    )
    variants: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="more variants to load, separated by `,`; a request may name one; `*`: all"
    )
    http_host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="address that `lading serve` listens on; by default only this machine, because the server "
        "requires no password; containers set `0.0.0.0`",
    )
    http_port: Port = Field(
        default=8080, description="port of the HTTP server, also with BentoML; `0`: a free port; `off`: none"
    )
    grpc_port: Port = Field(default=9000, description="port of the gRPC server; `0`: a free port; `off`: none")
    grpc_max_message_mb: Positive = Field(
        default=16.0, description="maximum size of a gRPC message, in megabytes (1,000,000 bytes)"
    )
    grpc_connection_s: float = Field(
        default=10.0,
        gt=0,
        le=86400,
        allow_inf_nan=False,
        description="maximum age of a gRPC connection in seconds; then the server sends GOAWAY, finishes calls "
        "in progress, and the client reconnects, possibly to another pod; keep it below "
        "`shutdown.preStopSeconds` of the chart",
    )
    tls_certificate: Path | None = Field(
        default=None, description="PEM file with the certificate chain; the HTTP and gRPC ports then use TLS only"
    )
    tls_key: Path | None = Field(default=None, description="PEM file with the certificate's private key")
    api_keys: Path | None = Field(
        default=None,
        description="file with one key per line, optionally followed by ` expires=2027-01-31`; requests then "
        "need `authorization: Bearer KEY`, except probes, `/metrics` and `/status`; read again when "
        "it changes",
    )
    lanes: int = Field(
        default=0, ge=0, le=1024, description="requests to decode and run at once; 0: one per usable CPU"
    )
    threads: int = Field(
        default=1, ge=1, le=256, description="threads inside one inference; 1 gives the highest throughput per CPU"
    )
    brief_ms: float = Field(
        default=0.5,
        ge=0,
        allow_inf_nan=False,
        description="models whose run of one example took at most this many milliseconds (divided by the number "
        "of lanes) answer small requests on the event loop instead of in a lane; 0: none",
    )
    workers: int = Field(
        default=1,
        ge=1,
        le=256,
        description="processes that share the ports, the CPUs and the queue's limits, each with all models in "
        "memory; more than one helps when Python is the limit, as with models of a tenth of a "
        "millisecond",
    )
    max_queue: int = Field(
        default=256, ge=0, description="maximum requests waiting for a lane; more get 429 with `Retry-After`"
    )
    max_queue_mb: Positive = Field(
        default=256.0, description="maximum megabytes of bodies that accepted requests hold together"
    )
    deadline_ms: Positive = Field(
        default=2000.0,
        description="deadline of a request in milliseconds, unless it sets one (`x-request-timeout-ms`, the gRPC "
        "deadline); a request that cannot be answered in time gets 429 at once",
    )
    wedged_s: float = Field(
        default=60.0, gt=0, description="seconds that one run may take before `/livez` fails and the pod is restarted"
    )
    max_batch: int = Field(default=128, ge=1, description="maximum examples in one request")
    max_body_mb: Positive = Field(
        default=16.0, description="maximum size of a request body, in megabytes (1,000,000 bytes)"
    )
    max_pixels: int = Field(
        default=MAX_PIXELS,
        ge=1,
        description="maximum pixels of a picture (or elements of another file), checked before decoding",
    )
    text_forms: Annotated[dict[str, str], NoDecode] = Field(
        default={},
        description="functions that read a text into inputs, as `NAME=package.module:function` separated by `,`; "
        "each adds `POST /predict/NAME`; no other function is imported",
    )
    keep_alive_s: int = Field(
        default=650,
        ge=1,
        description="seconds that an idle connection stays open; keep it above the load balancer's own timeout "
        "(600 s is common), or the load balancer sends requests into closed connections",
    )
    header_timeout_s: float = Field(
        default=15.0, gt=0, description="seconds that a client has to send a request's headers, from the first byte"
    )
    body_timeout_s: float = Field(default=30.0, gt=0, description="seconds that a client has to send a request's body")
    max_connections: int = Field(
        default=10_000,
        ge=1,
        description="maximum open HTTP connections, within the process's limit of open files; on further ones "
        "only probes and `/metrics` are answered",
    )
    drain_s: int = Field(default=30, ge=1, description="seconds for accepted requests to finish at shutdown")
    tracing: bool = Field(
        default=False,
        description="send OpenTelemetry spans of requests by OTLP/HTTP (extra `otel`) to `OTEL_EXPORTER_OTLP_ENDPOINT`",
    )
    trace_ratio: float = Field(
        default=1.0, ge=0, le=1, description="share of requests to trace, among those whose caller has not decided"
    )
    access_log: bool = Field(default=False, description="log one line per request")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="lowest level to log")
    log_format: Literal["console", "json"] = Field(
        default="console", description="`console` for people, `json` for collectors"
    )

    if not TYPE_CHECKING:  # the type checker keeps pydantic's own signature

        def __init__(self, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise SettingsError(_sentence(error)) from None

    @field_validator("artifact", mode="before")
    @classmethod
    def _paths(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(Path(part) for part in value.split(os.pathsep) if part)
        return (value,) if isinstance(value, Path) else value

    @field_validator("variants", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("text_forms", mode="before")
    @classmethod
    def _functions(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        pairs = [part.strip().partition("=") for part in value.split(",") if part.strip()]
        if any(not re.fullmatch(r"[a-z][a-z0-9-]*", name) or not target for name, _, target in pairs):
            raise ValueError("write NAME=package.module:function, with NAME in lower case")
        return {name: target for name, _, target in pairs}

    @model_validator(mode="after")
    def _whole(self) -> Settings:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("LADING_TLS_CERTIFICATE and LADING_TLS_KEY go together: set both or neither")
        return self

    @property
    def max_body_bytes(self) -> int:
        return int(self.max_body_mb * 1_000_000)

    @property
    def max_queue_bytes(self) -> int:
        return int(self.max_queue_mb * 1_000_000)


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """A warning for each ``LADING_*`` variable that is not a setting, most likely a misspelling."""
    known = [variable_of(name) for name in Settings.model_fields]
    sentences = []
    for name, value in sorted((os.environ if environ is None else environ).items()):
        if not name.upper().startswith(PREFIX) or name.upper() in known:
            continue
        if _SERVICE_LINK.search(name) or value.startswith("tcp://"):
            continue
        near = difflib.get_close_matches(name.upper().removeprefix(PREFIX).lower(), Settings.model_fields, n=1)
        hint = f"; did you mean {variable_of(near[0])}?" if near else ""
        sentences.append(f"the environment variable {name} is not a setting, and has no effect{hint}")
    return sentences


def variable_of(field: str) -> str:
    """The environment variable of a field."""
    return f"{PREFIX}{field.upper()}"


def _sentence(error: ValidationError) -> str:
    parts = []
    for problem in error.errors():
        field = str(problem["loc"][0]) if problem["loc"] else ""
        reason = problem["msg"][0].lower() + problem["msg"][1:]
        parts.append(f"{variable_of(field)}={problem['input']!r}: {reason}")
    return "a setting cannot be used: " + "; ".join(parts)
