"""No request holds up the others: what it costs the event loop and the interpreter lock at once is bounded.

The bounds are CPU times, but other work on the machine lengthens these too: it takes the caches, and a virtual machine
counts what its host took. So `make cost`, which runs alone, applies them as they are. In `make test` they are six times
as wide, and a request that holds up others by its size is still far beyond them.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lading.artifact import Artifact
from tests.given.costly import SETTINGS, Costly
from tests.given.costly_requests import COSTLY
from tests.given.largest_requests import LARGEST, ROWS
from tests.given.ticking_server import TickingServer, ticking

SHARED = 1 if "LADING_COST_TABLE" in os.environ else 6
"""How much wider the bounds are where tests run side by side."""
TURN_S = 0.005 * SHARED
HOLD_S = 0.05 * SHARED
COPY_S = 0.015 * SHARED
"""gRPC itself copies a message on the event loop, before the server gets it. For 16 MB that takes 4 to 12 ms."""
LARGE_MESSAGE = re.compile(r"(15 MB|0,000 |raw numbers|100 pictures).*gRPC")
TRIES = 5
PATIENT = {"LADING_DEADLINE_MS": "30000"}
LIMITS = {"table": {"LADING_MAX_BATCH": str(ROWS)}, "colour": {}}

Server = Callable[..., TickingServer]


@pytest.fixture(scope="module")
def server(costly_artifacts: dict[str, Artifact], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for each model and its settings, started when it is needed, and again when it has ended."""
    folder: Path = tmp_path_factory.mktemp("turns")
    running: dict[str, TickingServer] = {}
    with contextlib.ExitStack() as stack:

        def of(model: str, **settings: str) -> TickingServer:
            name = "-".join((model, *settings))
            if name not in running or running[name].served.process.poll() is not None:
                log = folder / f"{name}.log"
                running[name] = stack.enter_context(ticking(costly_artifacts[model].path, log, **settings))
            return running[name]

        yield of


@pytest.mark.parametrize("costly", COSTLY, ids=str)
def test_a_costly_request_leaves_the_loop_and_the_lock_to_others(costly: Costly, server: Server) -> None:
    check(costly, server(costly.model, **SETTINGS[costly.model]))


@pytest.mark.parametrize("largest", LARGEST, ids=str)
def test_the_largest_accepted_requests_do_too(largest: Costly, server: Server) -> None:
    check(largest, server(largest.model, **LIMITS[largest.model], **PATIENT))


def check(costly: Costly, server: TickingServer) -> None:
    """The smallest of several tries, of each: what else the machine does lengthens some of them."""
    turn_s = TURN_S + COPY_S * bool(LARGE_MESSAGE.search(str(costly)))
    turns, holds = [], []
    for _ in range(TRIES):
        with server.measuring() as longest:
            answers = costly.send(server.served)
        assert {answer.status for answer in answers} <= costly.accepted
        print(f"{costly}: turn {longest.turn_s * 1e3:.1f} ms, hold {longest.hold_s * 1e3:.1f} ms")
        turns.append(longest.turn_s)
        holds.append(longest.hold_s)
        if min(turns) <= turn_s and min(holds) <= HOLD_S:
            break
    assert min(turns) <= turn_s
    assert min(holds) <= HOLD_S
