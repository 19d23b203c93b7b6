"""A file in memory that Pillow reads in small blocks, so that decoding stops once the deadline has passed."""

from __future__ import annotations

import io

from lading.budget import Budget

BLOCK = 2**13
"""Bytes that Pillow decodes at once. As a PNG of one colour they are 8 million samples, some 30 ms."""


class Stream(io.BytesIO):
    """Bytes that are not copied, and a deadline.

    Raises:
        ExpiredError: by ``read``, after the budget's deadline.
    """

    def __init__(self, data: bytes, budget: Budget) -> None:
        super().__init__(data)
        self._budget = budget

    def read(self, size: int | None = -1) -> bytes:
        self._budget.check_time()
        return super().read(size)
