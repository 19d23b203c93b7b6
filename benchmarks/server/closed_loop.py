"""Closed loop: requests per second of a server that always has another request."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.server import request_bodies as bodies
from benchmarks.server.answers import watching
from benchmarks.server.bench import Bench, add_round, console
from benchmarks.server.footprint import resident_mb
from benchmarks.server.grpc_load import run_grpc
from benchmarks.server.load import Load, Target, run
from benchmarks.server.peer_environment import compile_packages, environment_of
from benchmarks.server.peer_list import ALL, LADING, LADING_BENTO, LADING_V2, Peer
from benchmarks.server.running_peer import Running, serving, target_of

CONNECTIONS = 8
WARM_UP_S = 1.5
PORT = 17_000
TURNS = 5
STEADY = 0.05
"""Two limits that differ by less are taken for the same speed of the machine."""


@dataclass(frozen=True)
class Endpoint:
    """One way to a model."""

    ask: Callable[[], Load]
    """A turn in closed loop."""
    watched: Target
    """Asked meanwhile, and its answers compared; of the server that is under load, so that they count."""
    pid: int
    """Of that server's group of processes."""


def measure_peers(bench: Bench, peers: Sequence[Peer], number: int, seconds: float) -> None:
    """One round of every peer, each in turns with Lading and with the limit; every other round goes backwards.

    Two speeds are compared that were measured within three turns: another guest of the machine's cores may change what
    they give by half from one second to the next.
    """
    found: dict[str, Any] = {}
    compile_packages(environment_of(LADING))
    with serving(bench, LADING, PORT) as lading:
        run(lading.target, seconds=WARM_UP_S, connections=CONNECTIONS)
        for peer in order([peer for peer in peers if peer is not LADING], number):
            try:
                compile_packages(environment_of(peer))
                with serving(bench, peer, PORT + 10 * ALL.index(peer) + 10) as running:
                    run(running.target, seconds=WARM_UP_S, connections=CONNECTIONS)
                    found[peer.name] = _in_turns(bench, running, lading, seconds / TURNS)
            except Exception as error:
                # A peer that cannot run here must not end the round of the others; the report shows that it is missing.
                console.print(f"[red]{peer.name}[/red]: {error}")
                continue
            turns = found[peer.name]["turns"]
            ratio = statistics.median(turn["lading"] / turn["rate"] for turn in turns)
            console.print(f"{peer.name}: {found[peer.name]['load']['rate']:.0f}/s, Lading {ratio:.2f} times that")
        found[LADING.name] = _in_turns(bench, lading, None, seconds / TURNS)
    add_round(f"peers-{bench.model}", {"peers": found})


def _in_turns(bench: Bench, running: Running, lading: Running | None, seconds: float) -> dict[str, Any]:
    loads, turns, checked = [], [], 0
    for number in range(TURNS):
        turn: dict[str, float] = {"limit": bench.limit.measure(seconds)}
        # The order of the servers must not matter.
        for server in (running, lading) if number % 2 == 0 else (lading, running):
            if server is None:
                continue
            with watching(server.target, bench.expected) as seen:
                load = run(server.target, seconds=seconds, connections=CONNECTIONS)
            if not load.rate:
                raise RuntimeError(f"it answered nothing within {seconds:g} s")
            rate = load.rate + seen.right / seconds  # the watch was answered too
            turn["rate" if server is running else "lading"] = rate
            if server is running:
                loads.append(replace(load, rate=rate))
                checked += seen.right
        turns.append({"lading": turn["rate"], **turn})
    return {
        "load": middle(loads).as_dict(),
        "turns": turns,
        "checked": checked,
        "start_s": running.start_s,
        "resident_mb": resident_mb(running.pid),
    }


def middle(loads: Sequence[Load]) -> Load:
    """Several turns as one: the median of every number, and all the codes."""
    percentiles = {key: statistics.median(one.percentiles[key] for one in loads) for key in loads[0].percentiles}
    codes: Counter[str] = Counter()
    for one in loads:
        codes.update(one.codes)
    rate = statistics.median(one.rate for one in loads)
    return Load(rate, percentiles, dict(codes), sum(one.failed for one in loads))


def measure_shares(bench: Bench, turns: int = 8, seconds: float = 1.0) -> None:
    """One round of Lading's own protocols and ports, in short turns, each between two of the limit.

    All servers are up meanwhile; those that are not asked sleep. A slow spell of the machine thus hits all alike.
    """
    with endpoints(bench, seconds) as asked:
        for endpoint in asked.values():
            endpoint.ask()
        found: dict[str, list[dict[str, float]]] = {name: [] for name in asked}
        limit = bench.limit.measure(seconds)
        for number in range(turns):
            for name, endpoint in list(asked.items())[:: 1 if number % 2 == 0 else -1]:
                with watching(endpoint.watched, bench.expected) as seen:
                    rate = endpoint.ask().rate
                rate += seen.right / seconds
                before, limit = limit, bench.limit.measure(seconds)
                steady = abs(before - limit) < STEADY * limit
                found[name].append({"rate": rate, "limit": (before + limit) / 2, "steady": float(steady)})
    for name, turns_of in found.items():
        share = statistics.median(turn["rate"] / turn["limit"] for turn in steady_ones(turns_of))
        console.print(f"{name}: {share:.3f} of L_pipe")
    add_round("shares", {"paths": found})


@contextmanager
def endpoints(bench: Bench, seconds: float) -> Iterator[dict[str, Endpoint]]:
    """Every way to Lading's model, with both of its servers up."""
    lean, grpc, bento, beside = range(PORT + 500, PORT + 504)
    with (
        serving(bench, LADING, lean, LADING_GRPC_PORT=str(grpc)) as running,
        serving(bench, LADING_BENTO, bento, LADING_HTTP_PORT=str(beside)) as mounted,
    ):
        body = running.target.body.with_name("grpc")
        body.write_bytes(bodies.grpc_message(bench.model))

        def asking(target: Target) -> Callable[[], Load]:
            return lambda: run(target, seconds=seconds, connections=CONNECTIONS)

        photo, v2 = running.target, target_of(LADING_V2, bench.model, lean)
        lean_beside = replace(photo, url=photo.url.replace(str(lean), str(beside)))
        yield {
            "REST": Endpoint(asking(photo), photo, running.pid),
            "REST, OIP with binary tensors": Endpoint(asking(v2), photo, running.pid),
            "gRPC": Endpoint(
                lambda: run_grpc(f"127.0.0.1:{grpc}", body, seconds=seconds, connections=CONNECTIONS),
                photo,
                running.pid,
            ),
            "port 3000": Endpoint(asking(mounted.target), mounted.target, mounted.pid),
            "port 8080 beside it": Endpoint(asking(lean_beside), mounted.target, mounted.pid),
        }


def steady_ones(turns: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """The turns between two limits that agree, where there are any: the machine's speed did not change meanwhile."""
    return [turn for turn in turns if turn["steady"]] or turns


def order(peers: Sequence[Peer], number: int) -> list[Peer]:
    """There and back again, so that a drift of the machine hits all alike."""
    return list(peers) if number % 2 == 0 else list(reversed(peers))
