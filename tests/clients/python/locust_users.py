"""Locust's two kinds of HTTP users; ``locust -f`` reads this file. PHOTO is the path of a picture."""

from __future__ import annotations

import os
from pathlib import Path

from locust import FastHttpUser, HttpUser, constant, task

PHOTO = Path(os.environ["PHOTO"]).read_bytes()
JPEG = {"content-type": "image/jpeg"}


class Requests(HttpUser):
    wait_time = constant(0.05)

    @task
    def classify(self) -> None:
        self.client.post("/classify", data=PHOTO, headers=JPEG)


class Fast(FastHttpUser):
    wait_time = constant(0.05)

    @task
    def classify(self) -> None:
        self.client.post("/classify", data=PHOTO, headers=JPEG)  # type: ignore[arg-type] # bytes are sent as they are
