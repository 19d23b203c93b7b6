"""``lading vertex``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def vertex(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="file.py:Class, as it lies in the image")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="training configuration")
    ] = None,
    *,
    image: Annotated[str, typer.Option(help="of docker/trainer.Containerfile, in a registry")],
    bucket: Annotated[str, typer.Option(help="gs://BUCKET/FOLDER for the run folder and the data")],
    machine_type: Annotated[str, typer.Option(help="of Compute Engine")] = "n2-standard-8",
    accelerator: Annotated[str | None, typer.Option(help="for example NVIDIA_L4; default: none")] = None,
    accelerators: Annotated[int, typer.Option(min=1, help="on each machine")] = 1,
    service_account: Annotated[str | None, typer.Option(help="that the job runs as; default: the project's")] = None,
    out: Annotated[Path, typer.Option(help="JSON file to write")] = Path("vertex.json"),
) -> None:
    """Write a training run as a Vertex AI custom job; trainer.num_nodes machines take part.

    Example: `lading vertex models/cards.py:Cards trainer.num_nodes=2 --image REGISTRY/lading-trainer:1 --bucket gs://BUCKET/cards`

    Start it with a POST of the file to `projects/PROJECT/locations/REGION/customJobs`, or its `jobSpec` with
    `gcloud ai custom-jobs create --config`.
    """
    from lading.config import compose
    from lading.vertex import Machines, custom_job

    machines = Machines(
        machine_type=machine_type, accelerator=accelerator, accelerators=accelerators, service_account=service_account
    )
    words = overrides or []
    job = custom_job(compose(model, words), words, image=image, bucket=bucket, machines=machines)
    out.write_text(json.dumps(job, indent=2) + "\n")
    typer.echo(f"custom job: {out}, {len(job['jobSpec']['workerPoolSpecs'])} worker pools")
