"""The loop without a person: a shift, its truths in the log, a training on them, the gates, and the next server.

Real are the servers, the log, the training and the build. tests/deploy/test_promotion.py has the Jobs and the route.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lading.deploy.fetch import fetch
from lading.deploy.promotion import publish
from lading.record.drift_service import DriftService
from lading.record.log_source import log_source
from tests.given.learned import made
from tests.given.live_server import LiveServer, live_server
from tests.given.tiny import COLOURS, SHADES, DimmedImage, WatchedImage

pytestmark = pytest.mark.slow


def right(live: LiveServer, spec: WatchedImage, count: int, seed: int, *, tell: bool = False) -> float:
    """Send pictures, maybe with their truths, and return the share of right shades."""
    hits = 0
    for number, (inputs, truth) in enumerate(spec.pictures(count, seed)):
        buffer = io.BytesIO()
        Image.fromarray(np.asarray(inputs["image"])).save(buffer, "PNG")
        name = f"{seed}-{number}"
        answer = live.client.post("/classify", content=buffer.getvalue(), headers={"x-request-id": name})
        words = {"colour": COLOURS[int(truth["colour"])], "shade": SHADES[int(truth["shade"])]}
        hits += answer.json()["shade"] == words["shade"]
        if tell:
            told = live.client.post("/feedback", json={"request_id": name, "truth": words})
            assert told.status_code == 200
    return hits / count


def test_a_service_learns_what_its_clients_said_about_a_shift(tmp_path: Path) -> None:
    log = tmp_path / "log"
    first = made(tmp_path / "first")
    with live_server(first, payload_log=str(log), payload_images="files", feedback=1000, drift=False) as live:
        before = right(live, WatchedImage(), 60, 1)
        changed = right(live, DimmedImage(), 400, 2, tell=True)
    service = DriftService(log_source(log), first, window=300)
    service.look()
    text = service.registry.get_sample_value(
        "lading_live_accuracy",
        {"model": first.manifest.name, "variant": first.manifest.chosen, "output": "shade", "scope": "service"},
    )
    assert text == pytest.approx(changed)

    candidate = made(tmp_path / "second", LADING_COLLECTED=str(log))
    address = publish(candidate, str(tmp_path / "models"))
    served = fetch(address, candidate.digest, tmp_path / "served")
    with live_server(served, drift=False) as live:
        after = right(live, DimmedImage(), 200, 3)
    print(f"\nshades right: {before:.3f}, with less light {changed:.3f}, by the next model {after:.3f}")
    assert changed < before - 0.2
    assert after > 0.9
