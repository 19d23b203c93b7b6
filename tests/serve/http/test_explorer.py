"""The API explorer: Swagger UI from an installed package, without another host, in a real headless browser."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lading.artifact import Artifact
from lading.serve.http import explorer
from tests.given.bento_in_process import bento_in_process
from tests.given.browser import browser
from tests.given.live_server import LiveServer, live_server
from tests.given.pictures import encoded

__all__ = ["browser"]


class Watched:
    """A page, what it says on its console, and which hosts it asks."""

    def __init__(self, browser: Any, **context: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1100, "height": 800}, **context})
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def answer(self, operation: str) -> str:
        """Send the example of an operation, and return what is shown of its answer."""
        block = f"#operations-Inference-{operation}"
        self.page.click(f"{block} .opblock-summary-control")
        self.page.click(f"{block} .execute")
        self.page.wait_for_selector(f"{block} .live-responses-table .response-col_status")
        return str(self.page.inner_text(f"{block} .live-responses-table"))


@pytest.fixture
def watched(browser: Any) -> Iterator[Watched]:
    made = Watched(browser)
    yield made
    made.context.close()


@pytest.fixture(scope="module")
def several(small: dict[str, Artifact]) -> Iterator[LiveServer]:
    with live_server(small["table"], small["colour"]) as live:
        yield live


def test_its_files_are_allowed_by_the_policy_and_no_others(several: LiveServer) -> None:
    page = several.client.get("/docs")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self' 'sha256-" in policy
    assert "unsafe" not in policy
    assert "://" not in page.text
    for name, kind in explorer.FILES.items():
        file = several.client.get(f"/docs/{name}")
        assert file.headers["content-type"].startswith(kind)
        assert (file.headers["x-content-type-options"], len(file.content) > 100_000) == ("nosniff", True)
    assert several.client.get("/docs/swagger-ui.js").status_code == 404


def test_without_the_package_it_says_what_to_install(several: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explorer, "PACKAGE", "not_installed_here")
    explorer._folder.cache_clear()
    for path in ("/docs", "/docs/swagger-ui.css"):
        answered = several.client.get(path)
        assert answered.status_code == 404
        assert "pip install flask-swagger-ui" in answered.json()["error"]
    explorer._folder.cache_clear()


def test_flask_is_not_imported_for_its_files() -> None:
    code = "import sys; from lading.serve.http.explorer import _folder; print(_folder(), 'flask' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split()[-1] == "False"
    assert importlib.util.find_spec(explorer.PACKAGE) is not None


def test_a_description_of_a_server_with_keys_says_so(
    small: dict[str, Artifact], tmp_path: Path, several: LiveServer
) -> None:
    (tmp_path / "keys").write_text("alpha\n")
    with live_server(small["table"], api_keys=tmp_path / "keys") as live:
        assert live.client.get("/docs").status_code == live.client.get("/docs/swagger-ui.css").status_code == 200
        assert live.client.get("/docs.json").status_code == 401
        document = live.client.get("/docs.json", headers={"authorization": "Bearer alpha"}).json()
        assert document["security"] == [{"key": []}]
        assert document["components"]["securitySchemes"]["key"] == {"type": "http", "scheme": "bearer"}
        assert document["paths"]["/livez"]["get"]["security"] == []
        assert "security" not in document["paths"]["/predict"]["post"]
    assert "security" not in several.client.get("/docs.json").json()


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/docs", "/docs/"])
def test_it_opens_without_another_host_and_sends_a_request(watched: Watched, several: LiveServer, path: str) -> None:
    watched.page.goto(several.url + path)
    watched.page.wait_for_selector(".opblock")
    assert watched.answer("predict").split()[2] == "200"
    assert watched.answer("infer").split()[2] == "200"
    assert not watched.said
    assert [url for url in watched.asked if not url.startswith((several.url, "data:"))] == []


@pytest.mark.slow
def test_it_describes_the_model_that_the_address_names(watched: Watched, several: LiveServer) -> None:
    watched.page.goto(f"{several.url}/docs?model=small-colour")
    watched.page.wait_for_selector("#operations-Inference-classify")
    shown = watched.answer("predict")
    assert shown.split()[2] == "200"
    assert '"model": "small-colour"' in shown
    watched.page.click("#page-link")
    watched.page.wait_for_selector("#drop:not([hidden])")
    watched.page.goto(f"{several.url}/docs?model=nobody")
    watched.page.wait_for_selector("#error:not([hidden])")
    assert "'nobody'" in watched.page.inner_text("#error")


@pytest.mark.slow
def test_it_uploads_a_file_in_every_form_that_the_description_has(watched: Watched, several: LiveServer) -> None:
    watched.page.goto(f"{several.url}/docs?model=small-colour")
    watched.page.wait_for_selector(".opblock")
    block = "#operations-Inference-classify"
    watched.page.click(f"{block} .opblock-summary-control")
    kinds = f"{block} .opblock-section-request-body select"
    watched.page.wait_for_selector(kinds)
    offered = watched.page.eval_on_selector_all(f"{kinds} option", "options => options.map(option => option.value)")
    assert "multipart/form-data" in offered
    file = {"name": "red.jpg", "mimeType": "image/jpeg", "buffer": encoded("JPEG")}
    for kind in offered:
        watched.page.select_option(kinds, kind)
        watched.page.wait_for_function("kind => document.querySelector('.curl-command') === null", arg=kind)
        watched.page.set_input_files(f"{block} input[type=file]", file)
        watched.page.click(f"{block} .execute")
        watched.page.wait_for_selector(f"{block} .live-responses-table .response-col_status")
        assert '"model": "small-colour"' in watched.page.inner_text(f"{block} .live-responses-table")
        watched.page.click(f"{block} .btn-clear")


@pytest.mark.slow
def test_bentomls_port_has_it_too(watched: Watched, small: dict[str, Artifact]) -> None:
    with bento_in_process(small["table"]) as (live, _):
        watched.page.goto(f"{live.url}/docs")
        watched.page.wait_for_selector(".opblock")
        assert watched.answer("predict").split()[2] == "200"


@pytest.mark.slow
def test_it_asks_for_a_key_and_sends_it(watched: Watched, small: dict[str, Artifact], tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("alpha\nbeta\n")
    with live_server(small["table"], api_keys=tmp_path / "keys") as live:
        watched.page.goto(f"{live.url}/docs")
        watched.page.wait_for_selector("#key-card:not([hidden])")
        assert watched.page.locator(".opblock").count() == 0
        watched.page.fill("#key", "gamma")
        watched.page.keyboard.press("Enter")
        watched.page.wait_for_selector("#error:not([hidden])")
        for key in ("alpha", "beta"):
            watched.page.fill("#key", key)
            watched.page.keyboard.press("Enter")
            watched.page.wait_for_selector(".opblock")
            assert watched.answer("predict").split()[2] == "200"
            assert f"Bearer {key}" in watched.page.inner_text(".curl-command")
            watched.page.click("#key-change")
            watched.page.click("#operations-Inference-predict .execute")
            watched.page.wait_for_selector(".live-responses-table .response-col_status:has-text('401')")
        assert watched.page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(browser: Any, several: LiveServer, scheme: str) -> None:
    watched = Watched(browser, color_scheme=scheme, viewport={"width": 360, "height": 740})
    watched.page.goto(f"{several.url}/docs")
    watched.page.wait_for_selector(".opblock")
    watched.answer("predict")
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= 360
    lightness = watched.page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (sum(lightness) > 384) == (scheme == "light")
    watched.context.close()
