"""The memory limit that `lading values` writes is enough for a server that gets the most expensive requests at once."""

from __future__ import annotations

import base64
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from lading.deploy.values import BASE_MIB, plan, values_yaml
from lading.settings import variable_of
from tests.given.changed_artifacts import with_costs
from tests.given.hostile_pictures import flat_png, png_with_chunk
from tests.given.http_exchange import exchange, request
from tests.given.small_artifacts import colour_artifact
from tests.given.watched_server import resident_mb, watching, within_a_pod

DECODED = flat_png(3700, 3900, "RGBA")
"""14.4 million pixels of four bytes: the most that the default budget lets in."""
LARGE = png_with_chunk(DECODED, b"tEXt", os.urandom(10_000_000))
MANY = b'{"image": [' + b"1.25," * 590_000 + b"1]}"
COSTLY = [
    request("POST", "/classify", DECODED, content_type="image/png"),
    request("POST", "/classify", LARGE, content_type="image/png"),
    request("POST", "/predict", b'{"image": ["' + base64.b64encode(LARGE) + b'"]}', content_type="application/json"),
    request("POST", "/predict", MANY, content_type="application/json"),
]


def test_the_written_memory_limit_holds_for_the_most_expensive_requests_at_once(tmp_path: Path) -> None:
    pictures = with_costs(colour_artifact(tmp_path / "bare"), tmp_path / "pictures", {1: 1.0})
    planned = plan(pictures, rate=1, bento=False)
    written = yaml.safe_load(values_yaml(pictures, planned))["settings"]
    settings = {variable_of(name): str(value) for name, value in written.items()}
    settings["LADING_DEADLINE_MS"] = "20000"  # the machine may be busy
    served = within_a_pod(pictures.path, tmp_path / "log", **settings)
    with served as server:
        idle_mib = resident_mb(server.process.pid) / 1.048576
        with watching(server) as figures, ThreadPoolExecutor(12) as clients:
            answers = list(clients.map(lambda content: exchange(server.url, content), COSTLY * 6))
    assert 0.6 * BASE_MIB[False] < idle_mib < BASE_MIB[False]
    statuses = {answer.status for answer in answers}
    assert statuses <= {"200", "400", "413", "429", "504"}, answers
    assert "200" in statuses
    # These requests leave out what gRPC messages and connections may take.
    assert 0.35 * planned.memory_mib < figures.peak_mb / 1.048576 < planned.memory_mib
