"""Settings of what a server keeps of the requests it answered: payload log, feedback, drift."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings


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
