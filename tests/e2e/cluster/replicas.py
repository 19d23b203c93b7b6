"""How many pods a Deployment wants and has, as it changes."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Replicas(NamedTuple):
    """At a Unix time."""

    at: float
    wanted: int
    ready: int


@contextlib.contextmanager
def watched(namespace: str, deployment: str) -> Iterator[list[Replicas]]:
    """A list that grows with each change until the block ends; the API server tells, nobody polls."""
    rows: list[Replicas] = []
    path = "{.spec.replicas} {.status.readyReplicas}{'\\n'}"
    words = ["kubectl", "--namespace", namespace, "get", "deployment", deployment, "--watch"]
    process = subprocess.Popen([*words, "--output", f"jsonpath={path}"], stdout=subprocess.PIPE, text=True)

    def read() -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                wanted, _, ready = line.strip().partition(" ")
                if wanted:
                    rows.append(Replicas(time.time(), int(wanted), int(ready or 0)))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield rows
    finally:
        process.terminate()
        process.wait()
        reader.join()


def turns(rows: Sequence[Replicas]) -> int:
    """How often the wanted number changed its direction: 1 for up and then down."""
    steps = [after.wanted - before.wanted for before, after in itertools.pairwise(rows)]
    signs = [step > 0 for step in steps if step]
    return sum(one != other for one, other in itertools.pairwise(signs))
