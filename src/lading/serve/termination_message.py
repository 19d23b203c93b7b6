"""What a pod's status says once its container has ended; Kubernetes reads it from a file.

https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

FILE = Path("/dev/termination-log")
LARGEST = 4096
"""Bytes; Kubernetes cuts what is longer."""


def leave_message(sentence: str, file: Path = FILE, environ: Mapping[str, str] | None = None) -> None:
    """Say why this server will never be ready, in a pod; a probe that gives up on it ends it without an error."""
    if "KUBERNETES_SERVICE_HOST" in (os.environ if environ is None else environ):
        with contextlib.suppress(OSError):
            file.write_bytes(f"{sentence}\n".encode()[:LARGEST])
