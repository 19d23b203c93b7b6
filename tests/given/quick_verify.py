"""Verify with few and short rounds, for tests that need its record and not its figures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lading.build.verify.timing import Plan
from lading.build.verify.verify import EFFORTS, Scale


@contextmanager
def quick_verify() -> Iterator[None]:
    """Shorten the ``quick`` effort while the block runs."""
    with pytest.MonkeyPatch.context() as patch:
        short = Scale((1000, 200), (1, 2), Plan(3, 2.0), Plan(1, 2.0), (1,))
        patch.setattr("lading.build.verify.verify.EFFORTS", {**EFFORTS, "quick": short})
        yield
