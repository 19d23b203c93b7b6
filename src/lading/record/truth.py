"""The truth about an answer, compared with what the model predicted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lading.errors import RequestError
from lading.errors.sentences import clipped, meant, shown
from lading.spec import TensorSpec

Value = str | NDArray[np.float64]
"""A label, or the numbers of an output as float64 (n,)."""
NEWEST = 1000
"""Number of answers with a known truth in the live accuracy and the live error."""
LARGEST = 4096
"""Maximum values of an output that is remembered. No one sends the truth about a larger one."""
LARGEST_ERROR = 1e100
"""Maximum of a truth, and of its distance from the prediction. Sums of larger numbers could become infinite."""
MOST_SERIES = 64
"""An output with more numbers has one series with their mean error."""


def predicted_value(spec: TensorSpec, array: Any) -> Value:
    """The label, the string or the numbers that an output predicts for the first example.

    Args:
        spec: the output's declaration.
        array: the output, with its batch dim if it has one.
    """
    first = np.asarray(array)[0] if spec.batched else np.asarray(array)
    if spec.scores_labels and first.size:
        assert spec.labels is not None
        return spec.labels[int(first.reshape(-1, len(spec.labels))[0].argmax())]
    if spec.dtype == "string":  # several strings have no truth
        return str(first.reshape(-1)[0]) if first.size == 1 else np.zeros(0)
    return first.reshape(-1).astype(np.float64)


def checked_truth(spec: TensorSpec, predicted: Value, value: Any) -> Value:
    """The truth that a client sent about one output.

    Raises:
        RequestError: it is no label of the output, has another number of values than the prediction, or a number that
            is not finite or too large.
    """
    if isinstance(predicted, str) and spec.labels is None:
        if not isinstance(value, str) or len(value) > spec.max_bytes:
            raise RequestError(f"the truth of {spec.name!r} is a string of at most {spec.max_bytes} characters")
        return value
    if isinstance(predicted, str):
        assert spec.labels is not None
        if not isinstance(value, str) or value not in spec.labels:
            known = clipped(", ".join(spec.labels), 200)
            near = meant(value, spec.labels)
            raise RequestError(f"{shown(value)} is no label of {spec.name!r}{near} its labels are: {known}")
        return value
    numbers = value if isinstance(value, list) else [value]
    if len(numbers) != len(predicted):
        raise RequestError(f"{spec.name!r} has {len(predicted)} numbers, and its truth {len(numbers)}")
    if not all(type(number) in (int, float) for number in numbers):
        raise RequestError(f"the truth of {spec.name!r} is a number, or a list of them")
    if any(not abs(number) <= LARGEST_ERROR for number in numbers):
        raise RequestError(f"the truth of {spec.name!r} has a number beyond {LARGEST_ERROR:g}")
    truth = np.array(numbers, dtype=np.float64)
    if not (np.abs(predicted - truth) <= LARGEST_ERROR).all():
        raise RequestError(f"the truth of {spec.name!r} is further than {LARGEST_ERROR:g} from the prediction")
    return truth


def errors_by_series(spec: TensorSpec, differences: NDArray[np.float64]) -> Iterator[tuple[str, float]]:
    """The errors of one output by the name of their series."""
    if not len(differences):
        return
    if len(differences) == 1 or len(differences) > MOST_SERIES:
        yield spec.name, float(differences.mean())
        return
    labels = spec.labels if spec.labels and len(spec.labels) == len(differences) else range(len(differences))
    for label, difference in zip(labels, differences.tolist(), strict=True):
        yield f"{spec.name}.{label}", difference
