"""Queries of the runbooks, as they are written, are answered by a Prometheus."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.given.documented import ROOT, Documented, Way, run_by
from tests.given.live_server import wait_until
from tools.stack import free_port


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An empty one: what is asked is whether it takes the query."""
    if not (shutil.which("prometheus") and shutil.which("promtool")):
        assert "TESTS_NEED_TOOLS" not in os.environ, "prometheus is not here"
        pytest.skip("prometheus is not here")
    folder: Path = tmp_path_factory.mktemp("prometheus")
    (folder / "prometheus.yml").write_text("scrape_configs: []\n")
    port, log = free_port(), folder / "log"
    words = ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    with log.open("wb") as stream:
        process = subprocess.Popen([*words, f"--web.listen-address=127.0.0.1:{port}"], stdout=stream, stderr=stream)
    try:
        wait_until(lambda: "Server is ready" in log.read_text() or process.poll() is not None, 60)
        assert process.poll() is None, log.read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize("one", run_by(Way.PROMETHEUS), ids=str)
def test_a_query_is_taken(one: Documented, address: str) -> None:
    environment = {**os.environ, "PROMETHEUS": address, "NAMESPACE": "serve"}
    words = ["bash", "-eu", "-c", one.text]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
