"""Closed loop: how many requests a second a server answers when there is always another one."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from benchmarks import request_bodies as bodies
from benchmarks.answers import watching
from benchmarks.bench import Bench, add_round, console
from benchmarks.footprint import resident_mb
from benchmarks.grpc_load import run_grpc
from benchmarks.load import Load, run
from benchmarks.peers import ALL, LADING, LADING_BENTO, LADING_V2, Peer
from benchmarks.running_peer import serving, target_of

CONNECTIONS = 8
WARM_UP_S = 1.5
PORT = 17_000


def measure_peers(bench: Bench, peers: Sequence[Peer], number: int, seconds: float) -> None:
    """One round of every peer, with the limit before and after; every other round goes backwards."""
    found: dict[str, Any] = {}
    before = bench.limit.measure(min(seconds, 3.0))
    for peer in order(peers, number):
        try:
            found[peer.name] = _peer(bench, peer, seconds)
        except Exception as error:
            # A peer that cannot run here must not end the round of the others; the report shows that it is missing.
            console.print(f"[red]{peer.name}[/red]: {error}")
            continue
        console.print(f"{peer.name}: {found[peer.name]['load']['rate']:.0f}/s")
    add_round(f"peers-{bench.model}", {"limits": [before, bench.limit.measure(min(seconds, 3.0))], "peers": found})


def _peer(bench: Bench, peer: Peer, seconds: float) -> dict[str, Any]:
    port = PORT + 10 * ALL.index(peer)
    with serving(bench, peer, port) as running:
        run(running.target, seconds=WARM_UP_S, connections=CONNECTIONS)
        with watching(running.target, bench.expected) as seen:
            load = run(running.target, seconds=seconds, connections=CONNECTIONS)
        if not load.rate:
            raise RuntimeError(f"it answered nothing within {seconds:g} s")
        return {
            "load": replace(load, rate=load.rate + seen.right / seconds).as_dict(),  # the watch was answered too
            "checked": seen.right,
            "start_s": running.start_s,
            "resident_mb": resident_mb(running.pid),
        }


def measure_shares(bench: Bench, turns: int = 6, seconds: float = 1.0) -> None:
    """One round of Lading's own protocols and ports, in short turns, each between two of the limit.

    All servers are up meanwhile; those that are not asked sleep. A slow spell of the machine thus hits all alike.
    """
    lean, grpc, bento, beside = range(PORT + 500, PORT + 504)
    with (
        serving(bench, LADING, lean, LADING_GRPC_PORT=str(grpc)) as running,
        serving(bench, LADING_BENTO, bento, LADING_HTTP_PORT=str(beside)) as mounted,
    ):
        photo = running.target
        body = photo.body.with_name("grpc")
        body.write_bytes(bodies.photo_grpc(bench.model))
        asks: dict[str, Callable[[], Load]] = {
            "REST": lambda: run(photo, seconds=seconds, connections=CONNECTIONS),
            "REST, OIP with binary tensors": lambda: run(
                target_of(LADING_V2, bench.model, lean), seconds=seconds, connections=CONNECTIONS
            ),
            "gRPC": lambda: run_grpc(f"127.0.0.1:{grpc}", body, seconds=seconds, connections=CONNECTIONS),
            "port 3000": lambda: run(mounted.target, seconds=seconds, connections=CONNECTIONS),
            "port 8080 beside it": lambda: run(
                replace(photo, url=photo.url.replace(str(lean), str(beside))), seconds=seconds, connections=CONNECTIONS
            ),
        }
        for ask in asks.values():
            ask()
        found: dict[str, list[dict[str, float]]] = {name: [] for name in asks}
        limit = bench.limit.measure(seconds)
        for number in range(turns):
            for name, ask in list(asks.items())[:: 1 if number % 2 == 0 else -1]:
                # Of the server that is under load, so that what it answers counts.
                asked = mounted.target if name.startswith("port") else photo
                with watching(asked, bench.expected) as seen:
                    rate = ask().rate
                rate += seen.right / seconds
                before, limit = limit, bench.limit.measure(seconds)
                found[name].append({"rate": rate, "limit": (before + limit) / 2})
    for name, turns_of in found.items():
        share = statistics.median(turn["rate"] / turn["limit"] for turn in turns_of)
        console.print(f"{name}: {share:.3f} of L_pipe")
    add_round("shares", {"paths": found})


def order(peers: Sequence[Peer], number: int) -> list[Peer]:
    """There and back again, so that a drift of the machine hits all alike."""
    return list(peers) if number % 2 == 0 else list(reversed(peers))
