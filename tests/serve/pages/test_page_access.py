"""The page of a server that wants keys, and the page of several models, in a real headless browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lading.artifact import Artifact
from tests.given.browser import browser
from tests.given.changed_artifacts import with_costs
from tests.given.live_server import LiveServer, live_server
from tests.given.recorded import send, with_reference

__all__ = ["browser"]


@pytest.fixture
def keyed(small: dict[str, Artifact], tmp_path: Path) -> Iterator[LiveServer]:
    file = tmp_path / "keys"
    file.write_text("alpha\nbeta may=infer\n")
    with live_server(with_reference(small["table"], tmp_path / "table"), api_keys=file) as live:
        yield live


@pytest.fixture
def several(small: dict[str, Artifact], tmp_path: Path) -> Iterator[LiveServer]:
    newer = with_costs(small["table"], tmp_path / "newer", {1: 0.1}, version="2")
    with live_server(small["table"], newer, small["colour"]) as live:
        yield live


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1100, "height": 800})
    yield context.new_page()
    context.close()


def use(page: Any, key: str) -> None:
    page.fill("#key", key)
    page.keyboard.press("Enter")


@pytest.mark.slow
def test_a_key_is_typed_into_the_page_used_for_every_request_and_kept_nowhere(page: Any, keyed: LiveServer) -> None:
    page.goto(keyed.url)
    page.wait_for_selector("#key-card:not([hidden])")
    assert page.locator("#error").is_hidden()
    assert page.get_by_label("This server needs a key").get_attribute("type") == "password"
    use(page, "gamma")
    page.wait_for_selector("#error:not([hidden])")
    assert "is not one of this server's" in page.inner_text("#error")
    use(page, "no key")
    assert "no spaces" in page.inner_text("#error")
    use(page, "Bearer alpha")
    page.wait_for_selector("#form:not([hidden])")
    assert page.locator("#key-card").is_hidden()
    page.click("#send")
    page.wait_for_selector("#result .values")
    assert "authorization: Bearer $KEY" in page.inner_text("#curl")
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
    assert "alpha" not in page.url + page.content()
    page.reload()
    page.wait_for_selector("#key-card:not([hidden])")


@pytest.mark.slow
def test_a_key_that_is_no_longer_valid_is_asked_for_again(page: Any, keyed: LiveServer) -> None:
    page.goto(keyed.url)
    use(page, "alpha")
    page.wait_for_selector("#form:not([hidden])")
    page.click("#key-change")
    page.click("#send")
    page.wait_for_selector("#error:not([hidden])")
    assert "asks for a key" in page.inner_text("#error")
    use(page, "alpha")
    page.click("#send")
    page.wait_for_selector("#result .values")


@pytest.mark.slow
def test_links_open_with_the_key_and_say_what_a_key_may_not_do(page: Any, keyed: LiveServer) -> None:
    page.goto(keyed.url)
    use(page, "alpha")
    page.wait_for_selector("#report:not([hidden])")
    with page.context.expect_page() as opened:
        page.click("#report-link")
    opened.value.wait_for_selector("h1")
    assert "drift" in opened.value.title()
    assert opened.value.evaluate("getComputedStyle(document.querySelector('.scroll, .dim')).display")
    assert opened.value.evaluate("getComputedStyle(document.body).maxWidth") != "none", "its style was refused"
    page.click("#key-change")
    use(page, "beta")
    page.click("#report-link")
    page.wait_for_selector("#error:not([hidden])")
    assert "limited to infer" in page.inner_text("#error")


@pytest.mark.slow
def test_several_models_are_listed_and_each_has_its_page(page: Any, several: LiveServer) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(several.url)
    page.wait_for_selector("#models:not([hidden])")
    names = page.locator("#model-list li a").all_inner_texts()
    assert names == ["small-colour", "small-table", "small-table"]
    assert page.locator("#columns").is_hidden()
    links = page.eval_on_selector_all("footer a:not([hidden])", "links => links.map(link => link.getAttribute('href'))")
    assert {"status", "docs", "docs.json", "metrics"} <= set(links)
    page.click("text=small-colour")
    page.wait_for_selector("#drop:not([hidden])")
    assert page.url == f"{several.url}/?model=small-colour"
    assert f"'{several.url}/classify?model=small-colour'" in page.inner_text("#curl")
    page.go_back()
    page.wait_for_selector("#models:not([hidden])")
    page.locator("#model-list li", has_text="version 2").locator("a").click()
    page.wait_for_selector("#form:not([hidden])")
    assert "version=2" in page.url
    assert "2" in page.inner_text("#facts")
    page.click("#send")
    page.wait_for_selector("#result .values")
    page.click("#back-link")
    page.wait_for_selector("#models:not([hidden])")
    page.goto(f"{several.url}/?model=nobody")
    page.wait_for_selector("#error:not([hidden])")
    assert "'nobody'" in page.inner_text("#error")
    assert page.locator("#back-link").is_visible()
    assert not [line for line in said if "404" not in line]


@pytest.mark.slow
def test_the_list_keeps_the_key_on_the_way_to_a_model(page: Any, small: dict[str, Artifact], tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("alpha\n")
    with live_server(small["table"], small["colour"], api_keys=file) as live:
        page.goto(live.url)
        use(page, "alpha")
        page.click("text=small-table")
        page.click("#send")
        page.wait_for_selector("#result .values")


@pytest.mark.slow
def test_the_report_has_its_style_under_a_policy_without_unsafe_parts(
    page: Any, small: dict[str, Artifact], tmp_path: Path
) -> None:
    with live_server(with_reference(small["table"], tmp_path / "table")) as live:
        send(live, np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32))
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        answered = page.goto(f"{live.url}/report")
        assert "unsafe" not in answered.headers["content-security-policy"]
        page.wait_for_selector("figure svg")
        assert page.evaluate("getComputedStyle(document.body).maxWidth") != "none"
        assert said == []
