"""The page, in a real headless browser."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lading import content
from lading.serve.pages.page import PAGE, content_security_policy
from tests.given.browser import browser
from tests.given.live_server import LiveServer, live_server
from tests.given.small_artifacts import colour_artifact, sound_artifact, table_artifact
from tests.given.wav import WAV

__all__ = ["browser"]


def test_the_page_loads_nothing_from_anywhere_else() -> None:
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!docs\.json|docs"|status|report|metrics|data:,|\?")""", PAGE)
    assert "http://" not in PAGE
    assert "https://" not in PAGE


def test_the_policy_allows_the_pages_own_script_and_style_and_nothing_else() -> None:
    policy = content_security_policy()
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/=]+'; style-src( 'sha256-[A-Za-z0-9+/=]+'){2};", policy)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert content_security_policy(PAGE.replace("use strict", "use nothing")) != policy


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(colour_artifact(tmp_path_factory.mktemp("page") / "colour")) as live:
        yield live


@pytest.fixture
def page(browser: Any, colours: LiveServer) -> Iterator[Any]:
    """The page of the picture model; a line on the console, such as a refused script, fails the test."""
    context = browser.new_context(viewport={"width": 1100, "height": 800})
    opened = context.new_page()
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.goto(colours.url)
    opened.wait_for_selector("#drop:not([hidden])")
    yield opened
    context.close()
    assert not [line for line in said if "400" not in line], said


def picture(colour: tuple[int, int, int]) -> dict[str, Any]:
    buffer = io.BytesIO()
    Image.new("RGB", (320, 240), colour).save(buffer, "JPEG")
    return {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": buffer.getvalue()}


@pytest.mark.slow
def test_a_picked_photo_gets_its_labels_and_a_bar_for_each_probability(page: Any) -> None:
    page.set_input_files("#file", picture((230, 20, 20)))
    page.wait_for_selector(".answer")
    assert page.inner_text(".answer") == "red · bright"
    assert "sure" in page.inner_text(".timing")
    assert page.locator(".bars li").count() == 5
    assert page.locator(".bars li.top .name").all_inner_texts() == ["red", "bright"]
    widths = page.eval_on_selector_all(".fill", "bars => bars.map(bar => bar.getBoundingClientRect().width)")
    assert widths[0] > 10 * widths[1]
    assert page.locator("#preview").is_visible()
    assert page.locator("#preview").evaluate("image => image.naturalWidth") == 320


@pytest.mark.slow
def test_a_dropped_photo_is_classified(page: Any) -> None:
    data = list(picture((20, 20, 230))["buffer"])
    transfer = page.evaluate_handle(
        """data => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(data)], "photo.jpg", { type: "image/jpeg" }));
            return transfer;
        }""",
        data,
    )
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})
    page.wait_for_selector(".answer")
    assert page.inner_text(".answer").startswith("blue")


@pytest.mark.slow
def test_a_pasted_photo_is_classified(page: Any) -> None:
    page.evaluate(
        """data => {
            const clipboardData = new DataTransfer();
            clipboardData.items.add(new File([new Uint8Array(data)], "photo.jpg", { type: "image/jpeg" }));
            document.dispatchEvent(new ClipboardEvent("paste", { clipboardData }));
        }""",
        list(picture((20, 230, 20))["buffer"]),
    )
    page.wait_for_selector(".answer")
    assert page.inner_text(".answer").startswith("green")


@pytest.mark.slow
def test_an_error_is_shown_in_the_servers_words_and_the_next_photo_clears_it(page: Any) -> None:
    page.set_input_files("#file", {"name": "notes.jpg", "mimeType": "image/jpeg", "buffer": b"not a picture"})
    page.wait_for_selector("#error:not([hidden])")
    assert "this is not a picture that can be read" in page.inner_text("[role=alert]")
    page.set_input_files("#file", picture((230, 20, 20)))
    page.wait_for_selector(".answer")
    assert page.locator("#error").is_hidden()


@pytest.mark.slow
def test_it_says_what_is_served(page: Any, colours: LiveServer) -> None:
    facts = page.inner_text("#facts")
    assert "fp32" in facts
    assert colours.artifact.digest[:19] in facts
    assert page.inner_text("h1") == page.title() == "small-colour"
    assert f"curl --data-binary @photo.jpg {colours.url}/classify" in page.inner_text("footer")


@pytest.mark.slow
def test_a_keyboard_reaches_the_file_picker_by_its_label(page: Any) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    assert page.get_by_label("Choose a picture").count() == 1
    assert page.locator("#camera-button").is_hidden()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_follows_the_visitors_colour_scheme_and_fits_a_phone(browser: Any, colours: LiveServer, scheme: str) -> None:
    context = browser.new_context(color_scheme=scheme, viewport={"width": 360, "height": 740}, has_touch=True)
    opened = context.new_page()
    opened.goto(colours.url)
    opened.set_input_files("#file", picture((230, 20, 20)))
    opened.wait_for_selector(".answer")
    assert opened.locator("#camera-button").is_visible()
    lightness = opened.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (sum(lightness) > 384) == (scheme == "light")
    assert opened.evaluate("document.documentElement.scrollWidth") <= 360
    context.close()


@pytest.mark.slow
def test_a_model_without_pictures_has_a_form_with_an_example_that_works(browser: Any, tmp_path: Path) -> None:
    with live_server(table_artifact(tmp_path / "table")) as live:
        opened = browser.new_page()
        opened.goto(live.url)
        opened.wait_for_selector("#form:not([hidden])")
        assert opened.locator("#drop").is_hidden()
        opened.click("#send")
        opened.wait_for_selector("#result .values")
        expected = live.artifact.golden_outputs()["total"][0, 0]
        assert opened.inner_text("#result .values dd") == f"{float(f'{expected:.4g}'):g} m"
        opened.fill("#body", '{"features": [[1, 2]]}')
        opened.click("#send")
        opened.wait_for_selector("#error:not([hidden])")
        assert "has shape [1, 2]" in opened.inner_text("#error")
        opened.close()


@pytest.mark.slow
def test_a_model_of_another_content_type_asks_for_its_files(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(content._TYPES, "wav", WAV)
    with live_server(sound_artifact(tmp_path / "sound")) as live:
        opened = browser.new_page()
        opened.goto(live.url)
        opened.wait_for_selector("#drop:not([hidden])")
        assert opened.inner_text("#formats") == "Drop a recording here, or paste one.\nWAV."
        assert opened.get_by_label("Choose a recording").get_attribute("accept") == "audio/wav,audio/x-wav,.wav"
        loud = WAV.encode(np.full(400, 0.9, np.float32))
        opened.set_input_files("#file", {"name": "loud.wav", "mimeType": "audio/wav", "buffer": loud})
        opened.wait_for_selector(".answer")
        assert opened.inner_text(".answer") == "loud"
        assert opened.locator("#preview").is_hidden()
        opened.close()
