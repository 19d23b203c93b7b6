"""Settings of what a server keeps of its answers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings

from lading.settings.values import Positive


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
        default=64.0,
        description="maximum megabytes of requests and truths that wait to be written; more are dropped and counted",
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
    feedback_mb: Positive = Field(
        default=64.0, description="maximum megabytes of remembered answers; the oldest are forgotten first"
    )
    drift: bool = Field(default=True, description="compare requests with the training data, and export scores")
    drift_window: int = Field(
        default=500, ge=50, le=100_000, description="number of requests that a drift score is computed over"
    )
    drift_per_second: Positive = Field(
        default=20.0,
        description="maximum examples per second that are examined for drift, on average; limits the cost of drift "
        "detection",
    )
