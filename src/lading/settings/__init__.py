"""Settings of a server, read from ``LADING_*`` environment variables when it starts."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from lading.budget import MAX_DECODE_BYTES, MAX_JSON_VALUES, MAX_PIXELS
from lading.errors import SettingsError
from lading.errors.sentences import clipped, shown
from lading.settings.recording import RecordingSettings
from lading.settings.values import Functions, Names, Origins, Paths, Port, Positive

PREFIX = "LADING_"
# Kubernetes sets these in every pod for a Service whose name starts with "lading".
_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT)(_\w+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?$")


class Settings(RecordingSettings):
    """All settings of a server. An empty variable counts as not set, because charts write such variables.

    Raises:
        SettingsError: a value is not valid; the message names the variable.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid")

    artifact: Paths = Field(
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
    trusted_keys: Paths = Field(
        default=(),
        description="public keys (files, or folders of `.pub` and `.pem` files), separated by `:`; an artifact "
        "that none of them signed as it is, or only one that has expired, is not served; read again at every load; not "
        "set: signatures are not checked",
    )
    models: Path | None = Field(default=None, description="folder whose subfolders are more artifacts to serve")
    model_control: bool = Field(
        default=False, description="let clients load and unload models of `LADING_MODELS` over the repository API"
    )
    variant: str | None = Field(
        default=None, description="variant of each artifact to serve; not set: the one that verify chose"
    )
    variants: Names = Field(
        default=(), description="more variants to load, separated by `,`; a request may name one; `*`: all"
    )
    http_host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="address that `lading serve` listens on; by default only this machine, because the server "
        "requires no password; containers set `0.0.0.0`",
    )
    http_port: Port = Field(
        default=8080,
        description="port of the HTTP server, also with BentoML; `0`: a free port; `off`: none; without it `PORT` is "
        "read, which Cloud Run and other platforms set",
    )
    grpc_port: Port = Field(default=9000, description="port of the gRPC server; `0`: a free port; `off`: none")
    grpc_max_message_mb: Positive = Field(
        default=16.0,
        description="maximum size of a gRPC message, in megabytes (1,000,000 bytes); not set: as `LADING_MAX_BODY_MB`",
    )
    grpc_max_streams: int = Field(
        default=16,
        ge=1,
        description="maximum open gRPC streams (`ModelStreamInfer`, reflection); each may hold a message of "
        "`LADING_GRPC_MAX_MESSAGE_MB` while it arrives",
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
        default=None,
        description="PEM file with the certificate chain; the HTTP and gRPC ports then use TLS only; "
        "read again when it changes",
    )
    tls_key: Path | None = Field(default=None, description="PEM file with the certificate's private key")
    api_keys: Path | None = Field(
        default=None,
        description="file with one key per line, optionally followed by ` expires=2027-01-31`, and by ` may=infer` "
        "or ` may=feedback`; requests then need `authorization: Bearer KEY`, except probes, `/metrics`, "
        "`/status`, and the pages `/` and `/docs`, which ask for the key; read again when it changes",
    )
    cors_origins: Origins = Field(
        default=(),
        description="origins whose web pages may call this server from a browser (CORS), such as "
        "`https://app.example.com`, separated by `,`; `*`: all; not set: none; cookies are never allowed, keys are",
    )
    lanes: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="requests to decode and run at once; 0: one per CPU that is usable now",
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
    max_deadline_ms: Positive = Field(
        default=60_000.0,
        description="maximum deadline in milliseconds that a request may set; a longer one is shortened to this",
    )
    wedged_s: float = Field(
        default=5.0,
        gt=0,
        description="seconds that decoding or a run may continue past the request's deadline before it is stopped, or "
        "its lane replaced; `/livez` fails when too many threads hang to replace another",
    )
    idempotency_mb: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="maximum megabytes of answers that are kept for a minute: a retry with the same `Idempotency-Key` "
        "or `x-request-id` gets the kept answer and does not run again; needs `LADING_WORKERS=1`; 0: off",
    )
    max_batch: int = Field(default=128, ge=1, description="maximum examples in one request")
    max_body_mb: Positive = Field(
        default=16.0,
        description="maximum size of a request, in megabytes (1,000,000 bytes): of a body over HTTP and, unless "
        "`LADING_GRPC_MAX_MESSAGE_MB` is set, of a message over gRPC; `/v2` shows it",
    )
    max_pixels: int = Field(
        default=MAX_PIXELS,
        ge=1,
        description="maximum pixels of all pictures (or elements of other files) of a request, checked before decoding",
    )
    max_decode_mb: Positive = Field(
        default=MAX_DECODE_BYTES / 1_000_000,
        description="maximum megabytes that decoding one picture (or other file) takes, checked before decoding",
    )
    max_json_values: int = Field(
        default=MAX_JSON_VALUES,
        ge=1,
        description="maximum values of a JSON body, where a list and a key count as two, or of typed contents over "
        "gRPC; send larger tensors as raw bytes over the Open Inference Protocol",
    )
    text_forms: Functions = Field(
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
        default=15.0,
        gt=0,
        description="seconds that a client has to send a request's headers, from the first byte, and for the TLS "
        "handshake",
    )
    body_timeout_s: float = Field(
        default=30.0,
        gt=0,
        description="seconds that a client has to send a request's body, within its deadline, and to read an answer",
    )
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
    otlp_metrics: bool = Field(
        default=False,
        description="send `http.server.request.duration` and `rpc.server.call.duration` by OTLP/HTTP (extra `otel`) to "
        "`OTEL_EXPORTER_OTLP_ENDPOINT`, in addition to `/metrics`",
    )
    access_log: bool = Field(default=False, description="log one line per request")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="lowest level to log")
    log_format: Literal["console", "json"] = Field(
        default="console", description="`console` for people, `json` for collectors"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[Any, ...]:
        """Arguments, then ``LADING_*`` variables, then ``PORT``."""
        return init_settings, env_settings, _platform_port

    if not TYPE_CHECKING:  # the type checker keeps pydantic's own signature

        def __init__(self, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise SettingsError(_sentence(error)) from None

    @model_validator(mode="after")
    def _whole(self) -> Settings:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("LADING_TLS_CERTIFICATE and LADING_TLS_KEY go together: set both or neither")
        if "grpc_max_message_mb" not in self.model_fields_set:
            object.__setattr__(self, "grpc_max_message_mb", self.max_body_mb)  # the model is frozen for its users
        if self.idempotency_mb and self.workers > 1:
            raise ValueError(
                "LADING_IDEMPOTENCY_MB needs LADING_WORKERS=1, because a retry may reach another worker, which does "
                "not have the answer: set LADING_IDEMPOTENCY_MB=0, or one worker"
            )
        return self

    @property
    def max_body_bytes(self) -> int:
        return int(self.max_body_mb * 1_000_000)

    @property
    def grpc_max_message_bytes(self) -> int:
        return int(self.grpc_max_message_mb * 1_000_000)

    @property
    def max_decode_bytes(self) -> int:
        return int(self.max_decode_mb * 1_000_000)

    @property
    def max_queue_bytes(self) -> int:
        return int(self.max_queue_mb * 1_000_000)


def _platform_port() -> dict[str, int]:
    """The HTTP port that the platform wants, by ``PORT``.

    Raises:
        SettingsError: it is no port.
    """
    port = os.environ.get("PORT", "")
    if not port or os.environ.get("LADING_HTTP_PORT"):
        return {}
    if not re.fullmatch(r"[1-9][0-9]{0,4}", port) or int(port) > 65535:
        raise SettingsError(f"a setting cannot be used: PORT={shown(port)}: a port is a number from 1 to 65535")
    return {"http_port": int(port)}


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


_LONGEST_REASON = 200  # characters: a value may be in it


def _sentence(error: ValidationError) -> str:
    """One clause for each setting that cannot be used, whatever number of problems it has."""
    parts: dict[str, list[str]] = {}
    for problem in error.errors():
        reason = str(problem["ctx"]["error"]) if problem["type"] == "value_error" else problem["msg"]
        reason = reason[0].lower() + reason[1:] if reason[1:2].islower() else reason
        name = f"{variable_of(str(problem['loc'][0]))}={shown(problem['input'])}: " if problem["loc"] else ""
        short = clipped(reason.removesuffix(", unable to parse string as an integer"), _LONGEST_REASON)
        parts.setdefault(name, []).append(short)
    return "a setting cannot be used: " + "; ".join(name + ", or ".join(reasons) for name, reasons in parts.items())
