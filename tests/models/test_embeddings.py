"""The example of embeddings: built as its page says, and compared by the cosine over every port."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from examples.embeddings import DIMS, SHAPES, SIDE, Embeddings, draw
from lading.drift.reference import Reference
from tests.given.built_example import built_example
from tests.given.live_server import live_server
from tests.given.packed_graph import answers_of_all_ports
from tests.given.pictures import encoded


def test_the_shapes_differ_and_lie_inside_of_the_picture() -> None:
    for shape in SHAPES:
        one = draw(shape, np.random.default_rng(0))
        assert (one.dtype.name, one.shape) == ("uint8", (SIDE, SIDE, 3))
        assert one.std() > 20


def test_the_score_counts_the_nearest_other_picture() -> None:
    directions = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]], np.float32)
    targets = {"direction": np.array([0, 0, 1, 2])}
    assert Embeddings().score({"direction": directions}, targets) == 0.5
    assert Embeddings().score({"direction": directions[:1]}, {"direction": np.array([0])}) == 0


@pytest.mark.slow
def test_it_is_built_and_pictures_of_one_shape_are_near_on_every_port(tmp_path: Path) -> None:
    artifact = built_example(tmp_path, "embeddings.py:Embeddings", "embeddings", "trainer.max_epochs=6")
    assert any(name.startswith("direction.direction") for name in Reference.of(artifact).features)
    rng = np.random.default_rng(99)
    pictures = {shape: [encoded("PNG", Image.fromarray(draw(shape, rng))) for _ in range(2)] for shape in SHAPES}
    with live_server(artifact) as live:
        answered = {
            shape: [answers_of_all_ports(live, {"picture": picture}) for picture in pair]
            for shape, pair in pictures.items()
        }
    for port in answered[SHAPES[0]][0]:
        firsts, seconds = (
            np.concatenate([answered[shape][place][port]["direction"] for shape in SHAPES]) for place in (0, 1)
        )
        assert firsts.shape == (len(SHAPES), DIMS)
        np.testing.assert_allclose(np.linalg.norm(firsts, axis=1), 1, atol=1e-3)
        nearest = (firsts @ seconds.T).argmax(1)
        assert (nearest == np.arange(len(SHAPES))).mean() >= 0.75, port
