"""The page of a model of text, in a real headless browser: a line is typed and classified."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.given.browser import browser
from tests.given.live_server import LiveServer, live_server
from tests.given.small_text import TEXTS, text_artifact

__all__ = ["browser"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(text_artifact(tmp_path_factory.mktemp("page"))) as live:
        yield live


@pytest.fixture
def page(browser: Any, texts: LiveServer) -> Iterator[Any]:
    """The page; a line on the console, such as a refused script, fails the test."""
    opened = browser.new_page()
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.goto(texts.url)
    opened.wait_for_selector("#text-form:not([hidden])")
    yield opened
    opened.close()
    assert not [line for line in said if "400" not in line], said


def test_the_field_holds_an_example_and_the_page_shows_how_to_send_it(page: Any) -> None:
    assert page.input_value("#text") == TEXTS[0]
    assert page.is_hidden("#drop")
    assert f"-d '{TEXTS[0]}'" in page.inner_text("#curl")
    assert page.inner_text("#curl").endswith("/classify")


def test_a_line_is_classified_and_one_that_is_too_long_refused_by_a_sentence(page: Any, tmp_path: Path) -> None:
    page.fill("#text", "the dog sat on a cat")
    page.keyboard.press("Enter")
    page.wait_for_selector(".answer")
    assert page.inner_text(".answer") in ("animal", "thing")
    page.screenshot(path=tmp_path / "text.png")
    page.fill("#text", "cat " * 20)
    page.keyboard.press("Enter")
    page.wait_for_selector("text=at most 8 are accepted")
