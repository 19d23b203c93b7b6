"""The demo app, run by Streamlit's own test driver against a real server, and once in a real browser."""

from __future__ import annotations

import os
import re
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

from frontend.client import MAX_ANSWER, Client, DemoError, checked_address
from frontend.molecule import LONGEST, draw_smiles
from frontend.probabilities import label_rows, markdown_table, number_rows
from lading import content
from tests.given.browser import CHROMIUM, FLAGS
from tests.given.live_server import LiveServer, live_server, wait_until
from tests.given.recording_server import recording_server
from tests.given.self_signed import self_signed
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
    # The page's script becomes the main module, which processes that are started later would run.
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
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


def test_a_table_shows_texts_as_they_are() -> None:
    assert markdown_table([{"asked": "a|b*c_d<i>`$", "ms": -1.5}]).splitlines()[2] == r"| a\|b\*c_d\<i\>\`\$ | \-1\.5 |"
    assert markdown_table([]) == ""


def test_the_page_needs_no_library_for_tables_that_its_image_leaves_out(table: LiveServer) -> None:
    containerfile = (ROOT / "docker" / "frontend.Containerfile").read_text()
    left_out = re.findall(r"slim.py /app/lib (.+)", containerfile)[0].split()
    assert "pandas" in left_out
    script = f"""
import sys
sys.modules.update(dict.fromkeys({left_out}))
sys.path.insert(0, {str(ROOT)!r})
from streamlit.testing.v1 import AppTest
page = AppTest.from_file({str(APP)!r}, default_timeout=60).run()
page.text_area[0].set_value('{{"features": [[1, 2, 3, 4]]}}')
page.button[0].click().run()
assert not page.exception, page.exception
print(page.markdown[0].value)
"""
    ran = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"LADING_URL": table.url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "| total |" in ran.stdout, ran.stderr[-2000:]


def test_a_configured_server_is_trusted_by_its_certificate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    with live_server(table_artifact(tmp_path / "table"), tls_certificate=str(certificate), tls_key=str(key)) as live:
        url = live.url.replace("http://", "https://")
        with pytest.raises(DemoError, match="CERTIFICATE_VERIFY_FAILED"):
            Client.of_visitor(url, url, "").model()
        monkeypatch.setenv("LADING_CA", str(certificate))
        assert Client.of_visitor(url, url, "").model()["name"] == "small-table"


def test_a_molecule_is_drawn_and_nonsense_is_not() -> None:
    assert "<svg" in str(draw_smiles("CCO"))
    assert draw_smiles("this is no molecule") is None
    assert draw_smiles("") is None
    assert draw_smiles("C" * LONGEST)
    assert draw_smiles("C" * (LONGEST + 1)) is None
    assert draw_smiles("c12cc(c1)" + "c1cc(c1)" * 14 + "c1cc2c1") is None  # 17 rings would take half a minute


def test_a_refusal_is_the_servers_own_sentence(colours: LiveServer) -> None:
    with pytest.raises(DemoError, match="this is not a picture"):
        Client(colours.url).classify(b"no picture")


def test_what_is_no_server_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        page = opened(monkeypatch, f"http://127.0.0.1:{free.getsockname()[1]}")
    assert "no server answers" in page.error[0].value


def test_the_operators_key_goes_to_the_configured_address_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LADING_KEY", "operators-key")
    with recording_server() as ours, recording_server() as theirs:
        page = opened(monkeypatch, ours.url)
        assert ours.headers[-1]["authorization"] == "Bearer operators-key"
        elsewhere = theirs.url.rpartition(":")[2]
        typed = [
            *(theirs.url, f"{theirs.url}/", f"http://localhost:{elsewhere}"),
            *(f"{ours.url}@127.0.0.1:{elsewhere}", f"http://{ours.url.partition('//')[2]}@localhost:{elsewhere}"),
            *(
                f"{ours.url}/",
                ours.url.replace("http", "HTTP"),
                f"{ours.url}?",
                f"http://[::ffff:127.0.0.1]:{elsewhere}",
            ),
        ]
        seen = len(ours.headers)
        for url in typed:
            page.sidebar.text_input[0].set_value(url).run()
            assert not page.exception, url
        sent = [*theirs.headers, *ours.headers[seen:]]
        assert len(theirs.headers) >= 3
        assert not [headers for headers in sent if "operators-key" in str(headers)]
        page.sidebar.text_input[0].set_value(ours.url).run()
        assert ours.headers[-1]["authorization"] == "Bearer operators-key"


@pytest.mark.parametrize(
    "typed",
    [
        *("http://169.254.169.254/", "http://169.254.169.254.:80", "http://[fe80::1%25lo]", "http://[fd00:ec2::254]"),
        *("http://[::ffff:169.254.169.254]", "http://2852039166", "http://0xa9fea9fe", "http://0251.0376.0251.0376"),
        *("http://[2002:a9fe:a9fe::1]", "http://100.100.100.200", "http://0.0.0.0:8080", "http://[::]:8080"),
        *(
            "http://224.0.0.1",
            "http://240.0.0.1",
            "file:///etc/passwd",
            "ftp://127.0.0.1",
            "",
            "http://",
            "http://[::1",
        ),
        *("gopher://127.0.0.1", "http://a b", "http://x:99999", "http://x:y", "//169.254.169.254", "http://ÿ.."),
    ],
)
def test_a_visitor_cannot_reach_what_only_the_machine_can(typed: str) -> None:
    with pytest.raises(DemoError):
        Client.of_visitor(typed, "http://127.0.0.1:1", "key").model()


def test_a_name_that_leads_to_a_metadata_server_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(DemoError, match="not an address that this page may ask"):
        checked_address(httpx.URL("http://metadata.google.internal"))


def test_an_answer_without_end_is_not_kept() -> None:
    with recording_server() as endless:
        endless.answer = b" " * (MAX_ANSWER + 1)
        with pytest.raises(DemoError, match="not a Lading server"):
            Client(endless.url).model()


def test_it_listens_on_the_loopback_address_and_its_image_on_all() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", str(APP), "--server.headless=true", f"--server.port={port}"]
    app = subprocess.Popen(command)
    try:
        wait_until(lambda: _healthy(port))
        listening = {line.split()[1] for file in ("tcp", "tcp6") for line in _sockets(file, port)}
        assert listening == {f"0100007F:{port:04X}"}
    finally:
        app.terminate()
        app.wait(30)
    assert '"--server.address", "0.0.0.0"' in (ROOT / "docker" / "frontend.Containerfile").read_text()


def _sockets(file: str, port: int) -> list[str]:
    """The kernel's lines of what listens on a port."""
    lines = Path(f"/proc/net/{file}").read_text().splitlines()[1:]
    return [line for line in lines if line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A"]


def test_any_model_can_be_asked_with_json(monkeypatch: pytest.MonkeyPatch, table: LiveServer) -> None:
    page = opened(monkeypatch, table.url)
    assert page.title[0].value == "small-table"
    page.text_area[0].set_value('{"features": [[1, 2, 3, 4]]}')
    page.button[0].click().run()
    assert "| total | 10\\.0 | m |" in page.markdown[0].value
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
    app = subprocess.Popen(command, env=os.environ | {"LADING_URL": colours.url})
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
