"""Settings of what a server keeps of the requests it answered: payload log, feedback, drift."""

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


class RecordingSettings(BaseSettings):
    """The part of :class:`lading.settings.Settings` that is about recording. All of it is off by default but drift."""

    payload_log: str | None = Field(
        default=None,
        description="where to log inputs and outputs: a folder, `gs://`, `s3://` or another fsspec address, or "
        "`otlp+http://HOST:4318`; not set: nowhere",
    )
    payload_share: float = Field(
        default=1.0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="share of requests to log, chosen by a hash of the request's id, so that every service chooses "
        "the same ones",
    )
    payload_images: Literal["features", "files"] = Field(
        default="features",
        description="what is logged of a picture: a few numbers (brightness, sharpness ...), or those and a JPEG file",
    )
    payload_buffer_mb: float = Field(
        default=64.0,
        gt=0,
        allow_inf_nan=False,
        description="megabytes of requests that may wait to be written; what comes beyond is dropped and counted",
    )
    payload_rotate_s: float = Field(
        default=60.0, gt=0, allow_inf_nan=False, description="seconds after which a file of the log is written"
    )
    payload_rotate_mb: float = Field(
        default=8.0, gt=0, allow_inf_nan=False, description="megabytes after which a file of the log is written sooner"
    )
    payload_disk_mb: float = Field(
        default=1024.0,
        gt=0,
        allow_inf_nan=False,
        description="megabytes that the log may take on a local disk; the oldest files are removed first",
    )
    payload_keep_h: float = Field(
        default=168.0,
        gt=0,
        allow_inf_nan=False,
        description="hours that a file of the log is kept on a local disk; a bucket has rules of its own for that",
    )
    feedback: int = Field(
        default=0,
        ge=0,
        description="answers to remember, so that `POST /feedback` can compare them with the truth; 0: none, and the "
        "endpoint is off",
    )
    drift: bool = Field(
        default=True, description="compare the requests with the data that the model was trained on, and export scores"
    )
    drift_window: int = Field(
        default=500, ge=50, le=100_000, description="requests that a drift score is computed over"
    )
    drift_per_second: float = Field(
        default=20.0,
        gt=0,
        allow_inf_nan=False,
        description="most requests a second that are looked at for drift; it bounds what drift detection costs",
    )


PREFIX = "LADING_"
Port = Annotated[int, Field(ge=0, le=65535)] | Literal["off"]
# Kubernetes sets these in every pod for a Service whose name starts with "lading".
_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT)(_\w+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?$")


class Settings(RecordingSettings):
    """What can be set about a server. An empty variable counts as not set, as charts write it.

    Raises:
        SettingsError: a value cannot be used; the message names the variable.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid")

    artifact: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(),
        description="artifact folders to serve, separated by `:`; the first is what `/predict` and `/classify` answer "
        "with unless they are told otherwise",
    )
    digest: str | None = Field(
        default=None,
        pattern="^sha256:[0-9a-f]{64}$",
        description="digest that the first artifact must have, as `lading inspect` shows it; a server that finds "
        "another does not start",
    )
    models: Path | None = Field(default=None, description="folder whose subfolders are artifacts to serve as well")
    model_control: bool = Field(
        default=False, description="let clients load and unload models of `LADING_MODELS` over the repository API"
    )
    variant: str | None = Field(
        default=None, description="variant to serve of each artifact; not set: the one that verify chose"
    )
    variants: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="more variants to load, separated by `,`, which a request may ask for by name; `*`: all"
    )
    http_host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="address that `lading serve` listens on; this machine alone by default, because the server asks "
        "nobody for a password; a container sets `0.0.0.0`",
    )
    http_port: Port = Field(
        default=8080, description="port of the lean HTTP server, beside BentoML's too; `0`: a free one; `off`: none"
    )
    grpc_port: Port = Field(default=9000, description="port of the gRPC server; `0`: a free one; `off`: none")
    grpc_max_message_mb: float = Field(
        default=16.0, gt=0, allow_inf_nan=False, description="largest gRPC message, in megabytes (1,000,000 bytes)"
    )
    grpc_connection_s: float = Field(
        default=10.0,
        gt=0,
        le=86400,
        allow_inf_nan=False,
        description="seconds after which a gRPC connection is told to go (GOAWAY): calls under way on it are answered, "
        "and the client opens another, so that new pods are found and ending ones left; less than "
        "`shutdown.preStopSeconds` of the chart",
    )
    tls_certificate: Path | None = Field(
        default=None, description="PEM file with the certificate chain; with it the HTTP and gRPC ports speak TLS only"
    )
    tls_key: Path | None = Field(default=None, description="PEM file with the certificate's private key")
    api_keys: Path | None = Field(
        default=None,
        description="file with one key a line, perhaps with ` expires=2027-01-31` after it; requests then need "
        "`authorization: Bearer KEY`, all but probes, "
        "`/metrics` and `/status`; read again when it changes",
    )
    lanes: int = Field(
        default=0, ge=0, le=1024, description="requests decoded and run at once; 0: as many as there are usable CPUs"
    )
    threads: int = Field(
        default=1, ge=1, le=256, description="threads inside one inference; 1 gives the most throughput per CPU"
    )
    brief_ms: float = Field(
        default=0.5,
        ge=0,
        allow_inf_nan=False,
        description="a model whose run of one example took no more milliseconds when it was measured (with several "
        "lanes: this divided by them) answers small requests on the event loop, without the way to a lane and back; "
        "0: none does",
    )
    workers: int = Field(
        default=1,
        ge=1,
        le=256,
        description="processes that share the ports, the CPUs and the queue's limits, each with all models in memory; "
        "more than one pays where Python is the limit, as for models of a tenth of a millisecond",
    )
    max_queue: int = Field(
        default=256, ge=0, description="requests that may wait for a lane; one more is answered 429 with `Retry-After`"
    )
    max_queue_mb: float = Field(
        default=256.0,
        gt=0,
        allow_inf_nan=False,
        description="megabytes of bodies that accepted requests may hold together",
    )
    deadline_ms: float = Field(
        default=2000.0,
        gt=0,
        allow_inf_nan=False,
        description="milliseconds a request may take unless it says otherwise (`x-request-timeout-ms`, the gRPC "
        "deadline); what cannot be answered in time is refused at once with 429",
    )
    wedged_s: float = Field(
        default=60.0, gt=0, description="seconds that one run may take before `/livez` fails and the pod is restarted"
    )
    max_batch: int = Field(default=128, ge=1, description="most examples that one request may carry")
    max_body_mb: float = Field(
        default=16.0, gt=0, allow_inf_nan=False, description="largest request body, in megabytes (1,000,000 bytes)"
    )
    max_pixels: int = Field(
        default=MAX_PIXELS, ge=1, description="most pixels of a picture, checked before any of them is decoded"
    )
    text_forms: Annotated[dict[str, str], NoDecode] = Field(
        default={},
        description="functions that read a text into inputs, as `NAME=package.module:function` separated by `,`; each "
        "adds `POST /predict/NAME`; nothing that is not named here is imported",
    )
    keep_alive_s: int = Field(
        default=650,
        ge=1,
        description="seconds that an idle connection stays open; longer than a load balancer's own (600 s is common), "
        "or it would meet connections closed under it",
    )
    header_timeout_s: float = Field(
        default=15.0, gt=0, description="seconds that a client has to send a request's headers, from its first byte"
    )
    body_timeout_s: float = Field(default=30.0, gt=0, description="seconds that a client has to send a request's body")
    max_connections: int = Field(
        default=10_000,
        ge=1,
        description="HTTP connections open at once, as far as the process may open files; on one more only "
        "probes and `/metrics` are answered",
    )
    drain_s: int = Field(default=30, ge=1, description="seconds that accepted requests have to finish at shutdown")
    tracing: bool = Field(
        default=False,
        description="send OpenTelemetry spans of requests by OTLP/HTTP (extra `otel`); where to is said by its own "
        "`OTEL_EXPORTER_OTLP_ENDPOINT`",
    )
    trace_ratio: float = Field(
        default=1.0, ge=0, le=1, description="share of requests traced, of those whose caller has not decided it"
    )
    access_log: bool = Field(default=False, description="one log line a request")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="least level to log")
    log_format: Literal["console", "json"] = Field(default="console", description="for a person, or for a collector")

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
            raise ValueError("write NAME=package.module:function, the name in small letters")
        return {name: target for name, _, target in pairs}

    @model_validator(mode="after")
    def _whole(self) -> Settings:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("LADING_TLS_CERTIFICATE and LADING_TLS_KEY go together; one of them is not set")
        return self

    @property
    def max_body_bytes(self) -> int:
        return int(self.max_body_mb * 1_000_000)

    @property
    def max_queue_bytes(self) -> int:
        return int(self.max_queue_mb * 1_000_000)


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """One sentence for each ``LADING_*`` variable that no setting reads: most often a misspelling."""
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
    """The environment variable that sets a field."""
    return f"{PREFIX}{field.upper()}"


def _sentence(error: ValidationError) -> str:
    parts = []
    for problem in error.errors():
        field = str(problem["loc"][0]) if problem["loc"] else ""
        reason = problem["msg"][0].lower() + problem["msg"][1:]
        parts.append(f"{variable_of(field)}={problem['input']!r}: {reason}")
    return "a setting cannot be used: " + "; ".join(parts)
