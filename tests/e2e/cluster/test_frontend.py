"""The demo in a pod of its own, in front of a server with a certificate: a browser uploads a photo and sees the card.

``LADING_E2E_FRONTEND_IMAGE`` names the image that ``make frontend-image`` built, as the cluster's nodes know it.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster.kube import Release, run, wait_until
from tests.given.browser import browser
from tests.given.self_signed import signed_by_authority

__all__ = ["browser"]
IMAGE = os.environ.get("LADING_E2E_FRONTEND_IMAGE", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not IMAGE, reason="names no image of the demo (LADING_E2E_FRONTEND_IMAGE)"),
]


@pytest.fixture
def demo(release: Release, tmp_path: Path) -> Iterator[Release]:
    """A second release: one server that speaks TLS alone, and the demo."""
    frontend = {"enabled": True, "image": IMAGE, "resources": {"requests": {"cpu": "50m"}}}
    values = release.values | {"replicaCount": 1, "tls": {"existingSecret": "demo-cert"}, "frontend": frontend}
    found = Release("demo", release.namespace, values)
    _, certificate, key = signed_by_authority(tmp_path, f"DNS:{found.name}.{found.namespace}.svc")
    found.kubectl("create", "secret", "tls", "demo-cert", "--cert", str(certificate), "--key", str(key))
    found.upgrade()
    found.kubectl("rollout", "status", f"deployment/{found.name}-frontend", "--timeout=120s")
    yield found
    run("helm", "uninstall", found.name, "--namespace", found.namespace, "--wait")


@contextmanager
def forwarded(release: Release, log: Path) -> Iterator[str]:
    """The demo's address on this machine, as the notes of the chart say to open it."""
    words = ("kubectl", "--namespace", release.namespace, "port-forward", f"service/{release.name}-frontend", ":80")
    with log.open("wb") as stream:
        process = subprocess.Popen(words, stdout=stream, stderr=stream)
    try:
        wait_until("kubectl forwards", lambda: "Forwarding from" in log.read_text(), 30)
        port = re.search(r"127\.0\.0\.1:(\d+)", log.read_text())
        assert port
        yield f"http://127.0.0.1:{port[1]}"
    finally:
        process.terminate()
        process.wait(30)


def test_a_browser_uploads_a_photo_and_sees_the_card(demo: Release, photo: Path, tmp_path: Path, browser: Any) -> None:
    with forwarded(demo, tmp_path / "forward.log") as url:
        page = browser.new_page(viewport={"width": 1100, "height": 1000})
        page.goto(url)
        page.get_by_text("Upload a file").first.wait_for(timeout=60_000)
        page.locator('input[type="file"]').set_input_files(str(photo))
        # The name of the file has the words too.
        page.get_by_text(re.compile(r"^\W*hearts\b")).first.wait_for(timeout=60_000)
        page.get_by_text(re.compile(r"^\W*ace\b(?!-of)")).first.wait_for(timeout=60_000)
        if folder := os.environ.get("LADING_E2E_SCREENSHOTS"):
            page.screenshot(path=str(Path(folder) / "demo.png"), full_page=True)
        page.close()
