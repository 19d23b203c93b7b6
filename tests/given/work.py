"""What a call costs, in lines of Python and bytes of memory: the same on any machine."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable
from types import FrameType
from typing import Any

from lading.errors import RequestError
from lading.errors.sentences import LONGEST_SENTENCE


def lines_run(call: Callable[[], object]) -> int:
    """How many lines of Python a call runs, until it returns or refuses its request in a short sentence."""
    count = 0

    def line(_frame: FrameType, event: str, _given: Any) -> Any:
        nonlocal count
        count += event == "line"
        return line

    before = sys.gettrace()
    sys.settrace(line)
    try:
        _answer_or_refusal(call)
    finally:
        sys.settrace(before)
    return count


def bytes_taken(call: Callable[[], object]) -> int:
    """The most bytes that a call holds at once in addition to its arguments.

    The smallest of five runs: the first may fill caches, and threads of earlier tests allocate too. Without coverage,
    which keeps a frame object for each level of a recursion, and without the collector, because what earlier tests left
    behind allocates when it is finalized.
    """
    before = sys.gettrace()
    sys.settrace(None)
    try:
        return min(_peak(call) for _ in range(5))
    finally:
        sys.settrace(before)


def _peak(call: Callable[[], object]) -> int:
    collects = gc.isenabled()
    gc.disable()
    tracemalloc.start()
    try:
        _answer_or_refusal(call)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        if collects:
            gc.enable()


def _answer_or_refusal(call: Callable[[], object]) -> None:
    sentence = ""
    try:
        call()
    except RequestError as error:
        sentence = str(error)
    assert len(sentence) <= LONGEST_SENTENCE
