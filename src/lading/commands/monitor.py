"""``lading monitor``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lading.terminal import console


def monitor(
    source: Annotated[
        list[Path],
        typer.Argument(metavar="ARTIFACT|SLO...", help="artifact folders, whose SLO is derived, or SLO files"),
    ],
    out: Annotated[Path, typer.Option(help="folder to write")] = Path("monitoring"),
) -> None:
    """Write rules, alerts and dashboards for models: for Prometheus, Grafana, the chart and GKE.

    An artifact's SLO is derived from what verify measured, and written beside the rest to be edited and given next
    time.

    Example: `lading monitor artifacts/cards --out watching`
    """

    from lading.artifact import Artifact
    from lading.monitoring.generate import chart_files, gke_files, write_files
    from lading.monitoring.slo import read_slo, slo_for, slo_yaml

    slos = []
    for path in source:
        if path.is_dir():
            artifact = Artifact.load(path)
            slo = slo_for(artifact)
            file = out / "slos" / f"{slo.id}.yaml"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(slo_yaml(slo, f"From what verify measured of {artifact.digest[:19]}."))
        else:
            slo = read_slo(path)
        slos.append(slo)
    write_files(out, chart_files(slos))
    write_files(out / "gke", gke_files(slos))
    for slo in slos:
        console().print(
            f"{slo.model}: {slo.availability.objective:.2%} answered, {slo.latency.objective:.0%} within "
            f"{slo.latency.threshold_ms:g} ms, over {slo.window_days} days"
        )
    console().print(f"wrote {out}")
