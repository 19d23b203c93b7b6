"""No request costs more than it should: a server in the chart's pod stays up, small and prompt whatever it is sent.

``make cost`` prints what each request cost, as Markdown.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from lading.artifact import Artifact
from tests.given.costly import SETTINGS, Costly
from tests.given.costly_requests import COSTLY
from tests.given.http_exchange import Answer, exchange, request
from tests.given.live_server import wait_until
from tests.given.pictures import encoded
from tests.given.served_process import ServedProcess
from tests.given.watched_server import Figures, behind_bentoml, memory_limit_mb, watching, within_a_pod

LIVEZ_S = 0.5
CPU_S = 2.5
"""The default deadline of 2 s, and what reading and refusing take."""
WALL_S = 60.0
"""A server that only waits takes no CPU time. This machine may be busy, so the clock is only a last limit."""
SENTENCE, ANSWER = 500, 64_000
GOOD = {
    "table": ("/predict", b'{"features": [[1, 2, 3, 4]]}'),
    "colour": ("/classify", encoded()),
    "smiles": ("/predict/smiles", b"CCO"),
}
TABLE = os.environ.get("LADING_COST_TABLE")
"""File to write the table to."""
TRIES = 3
"""Other work on a machine lengthens times and never shortens them, so the best of a few tries counts."""

Server = Callable[..., ServedProcess]


@pytest.fixture(scope="module")
def server(costly_artifacts: dict[str, Artifact], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for each model and port, started when the first request is for it, and again when it has ended."""
    folder: Path = tmp_path_factory.mktemp("cost")
    running: dict[str, ServedProcess] = {}
    with contextlib.ExitStack() as stack:

        def of(model: str, *, bentoml: bool = False) -> ServedProcess:
            name = f"{model}-{bentoml}"
            if name not in running or running[name].process.poll() is not None:
                begin = behind_bentoml if bentoml else within_a_pod
                settings = SETTINGS[model]
                running[name] = stack.enter_context(
                    begin(costly_artifacts[model].path, folder / f"{name}.log", **settings)
                )
            return running[name]

        yield of


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    rows: list[str] = []
    yield rows
    if TABLE:
        head = [
            "| What was sent | Status | Answered after | Longest `/livez` | CPU | Peak |",
            "|---|---|---|---|---|---|",
        ]
        Path(TABLE).write_text("\n".join([*head, *rows, ""]))


@pytest.mark.parametrize("costly", COSTLY, ids=str)
def test_a_costly_request_leaves_the_server_prompt_and_small(costly: Costly, server: Server, table: list[str]) -> None:
    check(costly, server(costly.model), table)


@pytest.mark.slow
@pytest.mark.parametrize("costly", [one for one in COSTLY if one.model != "smiles" and "gRPC" not in one.name], ids=str)
def test_a_costly_request_to_bentomls_port_does_too(costly: Costly, server: Server) -> None:
    check(costly, server(costly.model, bentoml=True), [])


def check(costly: Costly, served: ServedProcess, table: list[str]) -> None:
    """Send it, measure, and look at the server afterwards."""
    logged = served.log.stat().st_size
    with ending_unless_it_is_well(served):
        for left in reversed(range(TRIES)):
            with watching(served) as figures:
                answers = costly.send(served)
            print(row(costly, answers, figures))
            assert served.process.poll() is None, "the server ended"
            assert list(problems(costly, answers, figures)) == []
            if not (late := list(delays(answers, figures))) or not left:
                break
        table.append(row(costly, answers, figures))
        assert late == []
        assert b'"level": "error"' not in served.log.read_bytes()[logged:]
        path, body = GOOD[costly.model]
        good = request("POST", path, body, connection="close")
        wait_until(lambda: exchange(served.url, good).status == "200")


@contextlib.contextmanager
def ending_unless_it_is_well(served: ServedProcess) -> Iterator[None]:
    """End a server that did not stand a request, so that the next one gets another."""
    try:
        yield
    except BaseException:
        served.process.kill()
        served.process.wait()
        raise


def problems(costly: Costly, answers: Sequence[Answer], figures: Figures) -> Iterator[str]:
    """One sentence for each limit of size that was passed, and for each status that should not be."""
    for status, count in Counter(answer.status for answer in answers).items():
        if status not in costly.accepted:
            yield f"{count} answers have the status {status}"
    longest, largest = max(len(answer.sentence) for answer in answers), max(answer.size for answer in answers)
    if longest > SENTENCE:
        yield f"a sentence has {longest} characters"
    if largest > ANSWER:
        yield f"an answer has {largest} bytes"
    if figures.peak_mb > memory_limit_mb():
        yield f"the server took {figures.peak_mb:.0f} MB; its pod has {memory_limit_mb():.0f} MB"


def delays(answers: Sequence[Answer], figures: Figures) -> Iterator[str]:
    """One sentence for each limit of time that was passed."""
    if figures.livez_cpu_s > LIVEZ_S:
        yield f"/livez waited {figures.livez_cpu_s:.2f} s of the server's CPU time"
    if figures.cpu_s > CPU_S * len(answers):
        yield f"it took {figures.cpu_s:.1f} s of CPU time"
    if figures.wall_s > WALL_S:
        yield f"it took {figures.wall_s:.0f} s"


def row(costly: Costly, answers: Sequence[Answer], figures: Figures) -> str:
    """A line of the table in Markdown."""
    counted = Counter(answer.status for answer in answers)
    statuses = ", ".join(status if count == 1 else f"{count} x {status}" for status, count in counted.items())
    return (
        f"| {costly} | {statuses} | {figures.wall_s * 1e3:.0f} ms | {figures.livez_s * 1e3:.0f} ms "
        f"| {figures.livez_cpu_s * 1e3:.0f} ms | {figures.cpu_s:.2f} s | {figures.peak_mb:.0f} MB |"
    )
