"""The demo app, run by Streamlit's own test driver against a real server, and once in a real browser."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import sync_playwright
from streamlit.testing.v1 import AppTest

from frontend.client import Client, DemoError
from frontend.molecule import draw_smiles
from frontend.probabilities import label_rows, number_rows
from lading import content
from tests.given.browser import CHROMIUM, FLAGS
from tests.given.live_server import LiveServer, live_server, wait_until
from tests.given.small_artifacts import colour_artifact, sound_artifact, table_artifact
from tests.given.wav import WAV

ROOT = Path(__file__).parents[2]
APP = ROOT / "frontend" / "app.py"


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(colour_artifact(tmp_path_factory.mktemp("frontend") / "colour"), feedback=10) as live:
        yield live


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(table_artifact(tmp_path_factory.mktemp("frontend") / "table")) as live:
        yield live


def opened(monkeypatch: pytest.MonkeyPatch, url: str) -> AppTest:
    monkeypatch.setenv("LADING_URL", url)
    return AppTest.from_file(str(APP), default_timeout=60).run()


def test_the_likeliest_labels_come_first() -> None:
    rows = label_rows({"probabilities": {"suit": {"clubs": 0.1, "hearts": 0.9}}})
    assert [row["label"] for row in rows["suit"]] == ["hearts", "clubs"]


def test_numbers_are_shown_with_their_units() -> None:
    outputs: list[dict[str, Any]] = [{"name": "logp", "unit": "1"}, {"name": "size", "labels": ["width", "height"]}]
    rows = number_rows({"outputs": {"logp": [[1.5]], "size": [[2, 3]]}}, outputs)
    assert rows == [
        {"property": "logp", "value": 1.5, "unit": "1"},
        {"property": "size: width", "value": 2.0, "unit": ""},
        {"property": "size: height", "value": 3.0, "unit": ""},
    ]


def test_a_molecule_is_drawn_and_nonsense_is_not() -> None:
    assert "<svg" in str(draw_smiles("CCO"))
    assert draw_smiles("this is no molecule") is None
    assert draw_smiles("") is None


def test_a_refusal_is_the_servers_own_sentence(colours: LiveServer) -> None:
    with pytest.raises(DemoError, match="this is not a picture"):
        Client(colours.url).classify(b"no picture")


def test_what_is_no_server_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        page = opened(monkeypatch, f"http://127.0.0.1:{free.getsockname()[1]}")
    assert "no server answers" in page.error[0].value


def test_any_model_can_be_asked_with_json(monkeypatch: pytest.MonkeyPatch, table: LiveServer) -> None:
    page = opened(monkeypatch, table.url)
    assert page.title[0].value == "small-table"
    page.text_area[0].set_value('{"features": [[1, 2, 3, 4]]}')
    page.button[0].click().run()
    assert page.dataframe[0].value.to_dict("records") == [{"property": "total", "value": 10.0, "unit": "m"}]
    page.text_area[0].set_value("{")
    page.button[0].click().run()
    assert "this is not JSON" in page.error[0].value


def test_it_asks_for_the_kind_of_file_that_the_model_reads(
    monkeypatch: pytest.MonkeyPatch, colours: LiveServer, tmp_path: Path
) -> None:
    monkeypatch.setitem(content._TYPES, "wav", WAV)
    with live_server(sound_artifact(tmp_path / "sound")) as sounds:
        page = opened(monkeypatch, sounds.url)
        assert [tab.label for tab in page.tabs] == ["Upload a file"]
        assert not page.exception
    page = opened(monkeypatch, colours.url)
    assert [tab.label for tab in page.tabs] == ["Upload a file", "Take a photo"]


@pytest.mark.slow
def test_a_photo_is_uploaded_answered_and_judged_in_a_browser(colours: LiveServer, tmp_path: Path) -> None:
    from PIL import Image

    photo = tmp_path / "red.png"
    Image.new("RGB", (64, 48), (230, 20, 20)).save(photo)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", str(APP), "--server.headless=true", f"--server.port={port}"]
    app = subprocess.Popen(
        [*command, "--server.address=127.0.0.1", "--browser.gatherUsageStats=false"],
        env=os.environ | {"LADING_URL": colours.url},
    )
    try:
        wait_until(lambda: _healthy(port))
        with sync_playwright() as started:
            chromium = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = chromium.new_page()
            page.goto(f"http://127.0.0.1:{port}")
            page.locator("input[type=file]").set_input_files(photo)
            page.get_by_text("What is the right answer?").wait_for(timeout=60_000)
            page.get_by_role("button", name="Send feedback").click()
            page.get_by_text("Thank you").wait_for(timeout=60_000)
            page.screenshot(path=str(tmp_path / "frontend.png"), full_page=True)
            chromium.close()
    finally:
        app.terminate()
        app.wait(30)
    text = httpx.get(f"{colours.url}/metrics").text
    assert 'lading_feedback_total{model="small-colour",output="colour",result="right",variant="fp32"} 1.0' in text


def _healthy(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/_stcore/health").status_code == 200
    except httpx.TransportError:
        return False
