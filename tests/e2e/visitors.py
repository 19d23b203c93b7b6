"""People who send pictures to a route with two releases, and say later what the pictures show."""

from __future__ import annotations

import io
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
from PIL import Image

from tests.given.tiny import COLOURS, SHADES, WatchedImage


class Visitors:
    """They send twenty pictures a second to whichever release the weights give them to, and the truth about each.

    Args:
        urls: address of each release.
        weights: reads the weights of the releases.
    """

    def __init__(self, urls: dict[str, str], weights: Callable[[], dict[str, int]]) -> None:
        self.spec: WatchedImage = WatchedImage()
        """Set it to change the light."""
        self._urls, self._read = urls, weights
        self._weights = weights()
        self._right = {name: [0, 0] for name in urls}
        self._over = threading.Event()
        self._failed: list[Exception] = []
        self._threads = [threading.Thread(target=work) for work in (self._send, self._look)]

    def __enter__(self) -> Visitors:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self.check()

    def check(self) -> None:
        """Fail where a visitor got no answer."""
        assert not self._failed, repr(self._failed[0])

    def asked(self, release: str) -> int:
        """How many pictures a release was asked about since its accuracy was read last."""
        self.check()
        return self._right[release][1]

    def accuracy(self, release: str) -> float:
        """How often a release told the shade since it was asked for last."""
        right, asked = self._right[release]
        self._right[release] = [0, 0]
        return right / max(asked, 1)

    def _look(self) -> None:
        while not self._over.wait(2):
            self._weights = self._read()

    def _send(self) -> None:
        rng = np.random.default_rng(7)
        try:
            with httpx.Client(timeout=30) as client:
                while not self._over.is_set():
                    started = time.monotonic()
                    self._one(client, rng)
                    self._over.wait(max(0.0, started + 0.05 - time.monotonic()))
        except Exception as error:  # the test's own thread says it
            self._failed.append(error)

    def _one(self, client: httpx.Client, rng: np.random.Generator) -> None:
        ((inputs, truth),) = self.spec.pictures(1, int(rng.integers(1 << 31)))
        buffer = io.BytesIO()
        Image.fromarray(np.asarray(inputs["image"])).save(buffer, "PNG")
        name, number = self._chosen(rng), uuid.uuid4().hex
        answer = client.post(
            f"{self._urls[name]}/classify", content=buffer.getvalue(), headers={"x-request-id": number}
        )
        assert answer.status_code == 200, answer.text
        words = {"colour": COLOURS[int(truth["colour"])], "shade": SHADES[int(truth["shade"])]}
        count = self._right[name]
        count[0] += answer.json()["shade"] == words["shade"]
        count[1] += 1
        # The truth goes to whichever pod the route chooses; 202: another one gave the answer.
        told = client.post(f"{self._urls[self._chosen(rng)]}/feedback", json={"request_id": number, "truth": words})
        assert told.status_code in (200, 202), told.text

    def _chosen(self, rng: np.random.Generator) -> str:
        names, shares = zip(*self._weights.items(), strict=True)
        return str(rng.choice(names, p=np.array(shares) / sum(shares)))


def weights_of(route: dict[str, Any]) -> dict[str, int]:
    """The weights of a route's backends, by name."""
    return {one["name"]: one["weight"] for one in route["spec"]["rules"][0]["backendRefs"]}
