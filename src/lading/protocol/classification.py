"""Triton's classification extension: the best classes of an output, each a string ``score:index`` or with a label.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_classification.md
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

import numpy as np
import orjson

from lading.budget import Budget
from lading.errors import RequestError
from lading.protocol.json_values import refuse_not_finite
from lading.spec import Array, TensorSpec


def check_scores(spec: TensorSpec) -> None:
    """Refuse an output that has no classes.

    Raises:
        RequestError: it is not one vector of numbers per row.
    """
    if len(spec.shape) != 2 or spec.dtype in ("bool", "string") or not isinstance(spec.shape[0], str):
        raise RequestError(
            f"output {spec.name!r} is {spec.dtype} of shape [{', '.join(map(str, spec.shape))}]; classification takes "
            "an output with one vector of scores per example: leave the parameter out"
        )


def best_classes(spec: TensorSpec, scores: Array, count: int, budget: Budget) -> tuple[list[int], list[str]]:
    """The classes with the highest scores, best first; the lower index first among equal ones.

    Args:
        spec: the output, with or without labels.
        scores: (rows, classes).
        count: classes per row; all of them where it has fewer.
        budget: as many strings are written as JSON values may be read.

    Returns:
        The shape (rows, classes), and ``score:index:label`` for each, row by row; without the label where the output
        has none. A score has as many digits as identify it, and no exponent.

    Raises:
        RequestError: too many classes.
        UnanswerableError: a score is not finite.
    """
    count = min(count, scores.shape[1])
    if count * len(scores) > budget.json_values:
        raise RequestError(
            f"{count} classes of {len(scores)} rows of output {spec.name!r} are {count * len(scores)} strings; at most "
            f"{budget.json_values} are written: ask for fewer classes"
        )
    refuse_not_finite({spec.name: scores})
    # Ascending and stable on the reversed row, so that the last ones are the best, and equal ones keep their order.
    order = scores.shape[1] - 1 - np.argsort(scores[:, ::-1], axis=1, kind="stable")[:, ::-1][:, :count]
    found = np.take_along_axis(scores, order, axis=1)
    if found.dtype == np.float16:  # orjson has no half floats
        found = found.astype(np.float32)
    texts = [text for row, places in zip(found, order, strict=True) for text in _written(spec.labels, row, places)]
    return [len(scores), count], texts


def _written(labels: Sequence[str] | None, scores: Array, places: Array) -> Iterator[str]:
    texts = orjson.dumps(np.ascontiguousarray(scores), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].decode()
    for text, place in zip(texts.split(","), places.tolist(), strict=True):
        score = f"{Decimal(text):f}" if "e" in text else text
        yield f"{score}:{place}" if labels is None else f"{score}:{place}:{labels[place]}"
