"""What must be true of every content type, whatever its files are."""

from __future__ import annotations

import numpy as np

from lading.budget import Budget
from lading.content import check_contents, content_of
from lading.spec import TensorSpec
from lading.tensors.checks import fits


def check_round_trip(spec: TensorSpec) -> None:
    """The type accepts the tensor, decodes what it encodes, and its features and corruptions have the right shapes."""
    content = content_of(spec)
    assert content is not None
    check_contents([spec])
    drawn = content.draw(spec, np.random.default_rng(0))
    assert content.sniff(drawn)
    assert content.accepts(content.media_types[0])
    example = content.decode(drawn, spec, Budget())
    assert example.dtype == spec.numpy_dtype
    assert fits(spec.example_shape, example.shape)
    again = content.decode(content.encode(example), spec, Budget())
    assert np.abs(again.astype(float) - example).mean() < 0.1 * np.ptp(example.astype(float))
    assert content.features(example).shape == (len(content.feature_names),)
    for corrupt in content.corruptions.values():
        corrupted = corrupt(example, 3, np.random.default_rng(0))
        assert (corrupted.dtype, corrupted.shape) == (example.dtype, example.shape)
