"""Open loop: requests come when they come. Latency against load, and goodput when more comes than can be answered."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.server.answers import watching
from benchmarks.server.bench import Bench, add_round, console
from benchmarks.server.load import run
from benchmarks.server.peer_list import ALL, Peer
from benchmarks.server.running_peer import serving

DEADLINE_MS = 100.0
CONNECTIONS = 256
PEAK_S = 1.5
STEADY = 0.08
"""Two peaks that differ by less are taken for the same speed of the machine."""
SHARES = (0.3, 0.5, 0.7, 0.9, 1.0, 1.5, 2.0, 3.0)
OFTEN = (0.7, 3.0)
"""Shares that a goal is about, measured :data:`TURNS` times a round: one stall of the machine decides a p99."""
TURNS = 5
PORT = 17_700


def measure_loads(bench: Bench, peer: Peer, seconds: float, shares: tuple[float, ...] = SHARES) -> None:
    """One server at shares of its peak in closed loop. The peak is measured before and after each of them.

    Each request says its deadline in a header.
    """
    port = PORT + ALL.index(peer)
    found = []
    with serving(bench, peer, port) as running:
        headers = (*running.target.headers, f"x-request-timeout-ms: {DEADLINE_MS:g}")
        target = replace(running.target, headers=headers)

        def peak() -> float:
            return run(running.target, seconds=PEAK_S, connections=8).rate

        peak()
        for share in (*shares, *(TURNS - 1) * [share for share in shares if share in OFTEN]):
            before = peak()
            with watching(target, bench.expected):
                load = run(target, seconds=seconds, connections=CONNECTIONS, rate=share * before)
            after = peak()
            steady = abs(before - after) < STEADY * after
            known = {"share": share, "peak": before, "steady": steady, "within": load.within(DEADLINE_MS)}
            found.append(known | load.as_dict())
            console.print(
                f"{peer.name} at {share:.1f} x {before:.0f}/s (then {after:.0f}): "
                f"{load.within(DEADLINE_MS) / before:.3f} of it within {DEADLINE_MS:g} ms, "
                f"p50 {load.p50:.2f} ms, p99 {load.p99:.2f} ms, {load.codes}"
            )
    add_round(f"loads-{bench.model}-{peer.name.replace(' ', '-')}", {"loads": found})
