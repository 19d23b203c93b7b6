"""Verify with few and short rounds, for tests that need its record and not its figures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lading.measure import Plan
from lading.verify import EFFORTS, Scale


@contextmanager
def quick_verify() -> Iterator[None]:
    """Shorten the ``quick`` effort while the block runs."""
    with pytest.MonkeyPatch.context() as patch:
        short = Scale((200, 200), (1, 2), Plan(3, 2.0), Plan(1, 2.0), (1,))
        patch.setattr("lading.verify.EFFORTS", {**EFFORTS, "quick": short})
        yield
