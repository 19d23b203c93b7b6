"""The example of two pictures and a number: built as its page says, and asked over every port."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from examples.two_pictures import ANSWERS, MOST, SIDE, dot, pair
from lading.spec import Array
from tests.given.built_example import built_example
from tests.given.live_server import live_server
from tests.given.packed_graph import answers_of_all_ports
from tests.given.pictures import encoded


def place(picture: Array) -> float:
    """The column of the brightest pixels."""
    grey = picture.astype(float).sum(axis=2)
    return float(np.average(np.arange(SIDE), weights=np.clip(grey - 0.7 * grey.max(), 0, None).sum(axis=0)))


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_number_and_the_pictures_make_the_answer(answer: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        given = pair(answer, rng)
        (moved,) = given["moved"].tolist()
        assert abs(moved) <= MOST
        off = abs(place(given["after"]) - place(given["before"]) - moved)
        assert off < 1.5 if answer == "same" else off > 2, off


@pytest.mark.slow
def test_it_is_built_and_every_port_tells_them_apart(tmp_path: Path) -> None:
    artifact = built_example(tmp_path, "two_pictures.py:TwoPictures", "two-pictures", "trainer.max_epochs=4")
    rng = np.random.default_rng(99)
    before, after = (encoded("PNG", Image.fromarray(dot(x, 16, rng))) for x in (14, 19))
    with live_server(artifact) as live:
        # The same two pictures: the number alone decides.
        for moved, answer in ((5.0, "same"), (-2.0, "different")):
            inputs: dict[str, Array | bytes] = {
                "before": before,
                "after": after,
                "moved": np.array([[moved]], np.float32),
            }
            for port, answered in answers_of_all_ports(live, inputs).items():
                assert ANSWERS[int(answered["answer"][0].argmax())] == answer, port
        form: list[tuple[str, Any]] = [("before", ("a", before)), ("after", ("b", after)), ("moved", (None, "[5]"))]
        assert live.client.post("/predict", files=form).json()["labels"] == {"answer": ["same"]}
