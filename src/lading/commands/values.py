"""``lading values``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def values(
    artifact: Annotated[Path, typer.Argument(help="artifact folder, for example artifacts/cards")],
    rate: Annotated[float, typer.Option(min=0.001, help="requests a second to plan for")] = 100.0,
    cpus: Annotated[int, typer.Option(min=1, max=128, help="CPUs of one pod")] = 1,
    variant: Annotated[str | None, typer.Option(help="variant to serve; default: the one that verify chose")] = None,
    overhead_ms: Annotated[
        float | None,
        typer.Option(min=0.0, help="CPU a request takes beside the model; default: 1.5 for pictures, else 0.3"),
    ] = None,
    bento: Annotated[bool, typer.Option(help="BentoML in front, on port 3000")] = True,
    repository: Annotated[str | None, typer.Option(help="image without tag; default: the model's name")] = None,
) -> None:
    """Print the chart's values that follow from an artifact: its digest, resources, and pods for a rate.

    Example: `lading values artifacts/cards --rate 500 > values.yaml`
    """
    from lading.artifact import Artifact
    from lading.capacity import plan
    from lading.chart_values import values_yaml

    loaded = Artifact.load(artifact)
    planned = plan(loaded, rate=rate, cpus=cpus, variant=variant, overhead_ms=overhead_ms, bento=bento)
    sys.stdout.write(values_yaml(loaded, planned, repository=repository))
