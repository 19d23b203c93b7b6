"""``lading canary``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def canary(
    stable: Annotated[str, typer.Argument(metavar="STABLE", help="Service of the release that has the requests")],
    new: Annotated[str, typer.Argument(metavar="CANARY", help="Service of the release that is to have them")],
    route: Annotated[
        list[str] | None,
        typer.Option(help="httproutes/NAME or grpcroutes/NAME; repeatable; default: httproutes/cards"),
    ] = None,
    prometheus: Annotated[
        str, typer.Option(help="address of Prometheus")
    ] = "http://prometheus-operated.monitoring.svc:9090",
    steps: Annotated[str, typer.Option(help="percent of the requests, step by step; then all")] = "5,25,50",
    minutes: Annotated[float, typer.Option(min=0.01, help="between a step and a look, and the time looked at")] = 5.0,
    patience: Annotated[int, typer.Option(min=1, help="looks that may show too little before it is rolled back")] = 3,
    shadow: Annotated[bool, typer.Option("--shadow", help="mirror requests to it instead, and move none")] = False,
    min_requests: Annotated[int, typer.Option(min=1, help="requests that the new release has to have had")] = 200,
    errors: Annotated[float, typer.Option(min=0, max=100, help="percent of errors more than before")] = 0.1,
    p99_ratio: Annotated[float, typer.Option(min=1, help="largest p99, as a multiple of that before")] = 1.25,
    min_agreement: Annotated[
        float, typer.Option(min=0, max=1, help="least share of inputs answered alike; 0: not asked")
    ] = 0.9,
    artifact: Annotated[Path | None, typer.Option(help="folder whose recorded requests both are asked")] = None,
    namespace: Annotated[str | None, typer.Option(help="of the routes and Services; default: the pod's")] = None,
    stable_url: Annotated[str | None, typer.Option(help="default: the Service's address in the cluster")] = None,
    new_url: Annotated[str | None, typer.Option("--canary-url", help="likewise")] = None,
    stable_selector: Annotated[str | None, typer.Option(help="labels of its series; default: its pods' names")] = None,
    new_selector: Annotated[str | None, typer.Option("--canary-selector", help="likewise")] = None,
    api: Annotated[str | None, typer.Option(help="address of `kubectl proxy`; default: the pod's own cluster")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the patches, send none")] = False,
) -> None:
    """Move requests from one release to another step by step; promote it, or roll back when it is worse (exit code 3).

    Compared are the share of errors, the p99 and the answers to the same inputs.

    Example: `lading canary cards-a cards-b --route httproutes/cards --steps 5,25,50 --minutes 5`

    Example: `lading canary cards-a cards-b --route httproutes/cards --api http://127.0.0.1:8001 --dry-run`
    """
    import signal
    import sys

    from rich.console import Console

    from lading.canary.decide import Limits, Window
    from lading.canary.rollout import Canary
    from lading.canary.route import Routes, api_client, own_namespace
    from lading.canary.steps import read_steps
    from lading.canary.windows import Prometheus, agreement, pods_of

    # A pod that is told to end gives the requests back first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    where = namespace or own_namespace()
    console = Console(highlight=False, soft_wrap=True)
    urls = (stable_url or f"http://{stable}.{where}.svc:8080", new_url or f"http://{new}.{where}.svc:8080")
    selectors = (stable_selector or pods_of(where, stable), new_selector or pods_of(where, new))
    counted = Prometheus(prometheus.rstrip("/"))
    seconds = max(1, round(minutes * 60))

    def look() -> tuple[Window, Window, float | None]:
        before, after = (counted.window(selector, seconds) for selector in selectors)
        return before, after, agreement(*urls, artifact) if min_agreement > 0 else None

    def say(line: str) -> None:
        console.print(line, markup=False)

    with api_client(api) as client:
        routes = Routes(client, where, tuple(route or ["httproutes/cards"]), dry_run, say)
        limits = Limits(min_requests, errors / 100, p99_ratio, agreement=min_agreement)
        rollout = Canary(stable, new, routes, look, limits, read_steps(steps), minutes * 60, patience, say)
        rollout.shadow() if shadow else rollout.run()
