"""Variants that nobody requires: what fails on the way to one refuses it, in a sentence, and the build goes on."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager

from lading.errors import CheckpointError, ExportError, PruneError
from lading.spec import Evaluated

REFUSING = (PruneError, CheckpointError, ExportError)
"""Errors that say that a pruned network cannot be made. Wrong usage, such as an occupied folder, stops a build."""


@contextmanager
def unless_required(spec: Evaluated, share: float, problems: MutableMapping[float, str]) -> Iterator[None]:
    """Make a pruned network, or keep the reason why there is none.

    Args:
        spec: says which variants are required.
        share: of the multiply-accumulates that is removed. Without any, it is the network that all variants come from.
        problems: gets the sentence, by share.

    Raises:
        LadingError: the block's own, if a required variant needs the network.
    """
    try:
        yield
    except REFUSING as error:
        if share == 0 or any(variant.required for variant in spec.variants if variant.pruning == share):
            raise
        problems[share] = str(error)
