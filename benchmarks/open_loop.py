"""Open loop: requests come when they come. Latency against load, and goodput when more comes than can be answered."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.answers import watching
from benchmarks.bench import Bench, add_round, console
from benchmarks.load import run
from benchmarks.peers import ALL, Peer
from benchmarks.running_peer import serving

DEADLINE_MS = 100.0
CONNECTIONS = 256
SHARES = (0.3, 0.5, 0.7, 0.9, 1.0, 1.5, 2.0, 3.0)
PORT = 17_700


def measure_loads(bench: Bench, peer: Peer, seconds: float, shares: tuple[float, ...] = SHARES) -> None:
    """One server at shares of its own peak in closed loop; each request says its deadline in a header."""
    port = PORT + ALL.index(peer)
    found = []
    with serving(bench, peer, port) as running:
        run(running.target, seconds=1.5, connections=8)
        peak = run(running.target, seconds=seconds, connections=8).rate
        headers = (*running.target.headers, f"x-request-timeout-ms: {DEADLINE_MS:g}")
        target = replace(running.target, headers=headers)
        for share in shares:
            with watching(target, bench.expected):
                load = run(target, seconds=seconds, connections=CONNECTIONS, rate=share * peak)
            found.append({"share": share, "within": load.within(DEADLINE_MS), **load.as_dict()})
            console.print(
                f"{peer.name} at {share:.1f} x {peak:.0f}/s: {load.within(DEADLINE_MS) / peak:.3f} of the peak within "
                f"{DEADLINE_MS:g} ms, p50 {load.p50:.2f} ms, p99 {load.p99:.2f} ms, {load.codes}"
            )
    add_round(f"loads-{bench.model}-{peer.name.replace(' ', '-')}", {"peak": peak, "loads": found})
