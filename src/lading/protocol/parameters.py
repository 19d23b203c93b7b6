"""Parameters of the Open Inference Protocol and of its extensions: what is used, and what is refused by name.

The others change no answer of this server, and are ignored: docs/serving.md has the table.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from lading.budget import Budget
from lading.errors import ExpiredError, RequestError
from lading.errors.sentences import shown
from lading.protocol.classification import check_scores
from lading.spec import TensorSpec

CLASSIFICATION = "classification"
_MICROSECONDS = 1e6


def check_parameters(sent: Mapping[str, Any], holder: str, *, output: bool = False) -> None:
    """Refuse parameters that ask for another answer than this server gives.

    Args:
        sent: by name.
        holder: what they belong to, for the error: the request, or an input or output with its name.
        output: it is an output.

    Raises:
        RequestError: one asks for shared memory, or for classes of something that is not an output.
    """
    for name in sent:
        if name.startswith("shared_memory_"):
            raise RequestError(
                f"{holder} has the parameter {shown(name)}: this server has no shared memory; send tensors in the "
                "request, and read them from the answer"
            )
        if name == CLASSIFICATION and not output:
            raise RequestError(f"{holder} has the parameter {name!r}, which belongs to an entry of 'outputs'")


def flag(sent: Mapping[str, Any], name: str, holder: str, *, default: bool = False) -> bool:
    """A parameter that is true or false.

    Raises:
        RequestError: it is something else.
    """
    value = sent.get(name, default)
    if type(value) is not bool:
        raise RequestError(f"the parameter {name!r} of {holder} is {shown(value)}; send true or false")
    return value


def count_of_classes(sent: Mapping[str, Any], spec: TensorSpec) -> int:
    """How many classes of an output are requested; 0 for the tensor itself.

    Raises:
        RequestError: the number is not a whole one or below 1, or the output has no classes.
    """
    if CLASSIFICATION not in sent:
        return 0
    holder, count = f"output {spec.name!r}", sent[CLASSIFICATION]
    if type(count) is not int or count < 1:
        raise RequestError(
            f"the parameter {CLASSIFICATION!r} of {holder} is {shown(count)}; send the number of classes, an integer "
            "of at least 1"
        )
    check_scores(spec)
    return count


def limit_time(sent: Mapping[str, Any], begin: float, budget: Budget) -> None:
    """Apply a request's ``timeout``, in microseconds: a request that waited longer is not run. 0 is no timeout.

    Args:
        sent: parameters of the request.
        begin: when it arrived, on ``time.perf_counter``, in seconds.
        budget: its deadline becomes the earlier one.

    Raises:
        RequestError: the timeout is not a whole number, or negative.
        ExpiredError: it has passed.
    """
    timeout = sent.get("timeout", 0)
    if type(timeout) is not int or timeout < 0:
        raise RequestError(
            f"the parameter 'timeout' of the request is {shown(timeout)}; send whole microseconds, such as 500000"
        )
    if timeout == 0:
        return
    end = begin + timeout / _MICROSECONDS
    if time.perf_counter() > end:
        raise ExpiredError(f"the request waited longer than its timeout of {shown(timeout)} microseconds")
    budget.deadline = min(budget.deadline, end)
