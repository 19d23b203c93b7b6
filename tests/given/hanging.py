"""A request that hangs: a text form that takes as long as the text says, and cannot be interrupted."""

from __future__ import annotations

import time

import numpy as np

from lading.spec import Array

FORMS = "slow=tests.given.hanging:slow_text"
"""The value of ``LADING_TEXT_FORMS``. It needs the artifact ``small-table``."""


def slow_text(text: str) -> dict[str, Array]:
    """Four features, after as many seconds as the text says."""
    time.sleep(float(text))
    return {"features": np.ones(4, np.float32)}


slow_text.example = "0"  # type: ignore[attr-defined]
