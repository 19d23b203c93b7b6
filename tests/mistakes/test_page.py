"""The page of mistakes shows what users read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.given.mistakes_page import page

PAGE = Path(__file__).parents[2] / "docs" / "mistakes.md"


@pytest.mark.slow
def test_the_page_shows_the_sentences_that_are_answered() -> None:
    assert page() == PAGE.read_text(), "run `make mistakes`"
