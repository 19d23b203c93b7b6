"""Commands that train a model: its data, a run, a sweep, and a job in the cloud."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from lading.build.collected import load_spec
from lading.cli.terminal import console

Target = Annotated[str, typer.Argument(metavar="MODEL", help="file.py:Class, for example models/cards.py:Cards")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="training configuration in Hydra's syntax")
]


def train(
    model: Target,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="run folder; default runs/NAME/TIME")] = None,
    resume: Annotated[Path | None, typer.Option(help="run folder to continue")] = None,
    restartable: Annotated[
        bool, typer.Option("--restartable", help="continue the run in --out if there is one")
    ] = False,
    profile: Annotated[bool, typer.Option("--profile", help="also profile some steps, into the run folder")] = False,
) -> None:
    """Train a model, and write its checkpoint with a record of the run. Works under torchrun with several processes.

    Example: `lading train models/cards.py:Cards trainer.max_epochs=5 model.backbone=resnet18`

    Example: `lading train models/cards.py:Cards trainer.devices=2 --out runs/cards/two --restartable`
    """
    from lading.build.train.train import train_command

    path = train_command(model, overrides or [], out=out, resume=resume, restartable=restartable, profile=profile)
    if os.environ.get("RANK", "0") == "0":
        console().print(f"checkpoint: {path}")


def prepare(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="file.py:Class, for example models/cards.py:Cards")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="training configuration; only model.* is used")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file for sizes and fingerprints")] = None,
) -> None:
    """Prepare every split of a model's data: download, draw or pack what is missing.

    Example: `lading prepare models/cards.py:Cards model.train_examples=2120 --out data/cards.json`
    """
    from lading.build.train.checkpoint import spec_of
    from lading.build.train.config import compose, plain
    from lading.build.train.train import prepared
    from lading.build.train.without_effect import refuse_without_effect

    why = "data depends on model.* only. Leave it out"
    refuse_without_effect(model, overrides or [], lambda key: not key.startswith("model."), why)
    spec = spec_of(load_spec(model), plain(compose(model, overrides or []).model))
    ready = {}
    for split in ("train", "valid", *spec.test_splits):
        dataset = prepared(spec, split)
        ready[split] = {"examples": len(dataset), "fingerprint": getattr(dataset, "fingerprint", None)}
        typer.echo(f"{split}: {len(dataset)} examples")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(ready, indent=2) + "\n")


def sweep(
    file: Annotated[Path, typer.Argument(help="W&B sweep file, for example configs/sweeps/cards.yaml")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="training configuration of every trial")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="maximum number of trials")] = 8,
    seed: Annotated[int, typer.Option(help="seed of the sampler")] = 0,
    out: Annotated[Path | None, typer.Option(help="folder of the trials; default runs/sweeps/TIME")] = None,
) -> None:
    """Run a sweep on this machine without W&B's server: Hydra's multirun, with trials chosen by Optuna.

    Example: `lading sweep configs/sweeps/cards.yaml --count 8`

    With W&B the same file runs on many machines: `wandb sweep FILE`, then `wandb agent ID` on each.
    """
    from lading.build.train.sweep import read_sweep, run_sweep, sweep_table

    folder = out or Path("runs") / "sweeps" / datetime.now().strftime("%Y%m%d-%H%M%S")
    trials = run_sweep(file, overrides or [], folder, count=count, seed=seed)
    console().print(sweep_table(read_sweep(file), trials))
    console().print(f"best: {trials[0].folder}, {trials[0].value:.4f}")


def vertex(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="file.py:Class, as in the image")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="training configuration")
    ] = None,
    *,
    image: Annotated[str, typer.Option(help="trainer image in a registry (docker/trainer.Containerfile)")],
    bucket: Annotated[str, typer.Option(help="gs://BUCKET/FOLDER for the run folder and the data")],
    machine_type: Annotated[str, typer.Option(help="Compute Engine machine type")] = "n2-standard-8",
    accelerator: Annotated[
        str | None, typer.Option(help="accelerator type, for example NVIDIA_L4; default: none")
    ] = None,
    accelerators: Annotated[int, typer.Option(min=1, help="accelerators per machine")] = 1,
    service_account: Annotated[str | None, typer.Option(help="account of the job; default: the project's")] = None,
    out: Annotated[Path, typer.Option(help="JSON file to write")] = Path("vertex.json"),
) -> None:
    """Write a training run as a Vertex AI custom job on trainer.num_nodes machines.

    Example: `lading vertex models/cards.py:Cards trainer.num_nodes=2 --image REGISTRY/lading-trainer:1 --bucket gs://my-models-runs/cards`

    To start it, POST the file to `projects/PROJECT/locations/REGION/customJobs`, or pass its `jobSpec` to
    `gcloud ai custom-jobs create --config`.
    """
    from lading.build.train.config import compose
    from lading.build.train.vertex import Machines, custom_job

    machines = Machines(
        machine_type=machine_type, accelerator=accelerator, accelerators=accelerators, service_account=service_account
    )
    words = overrides or []
    job = custom_job(compose(model, words), words, image=image, bucket=bucket, machines=machines)
    out.write_text(json.dumps(job, indent=2) + "\n")
    typer.echo(f"custom job: {out}, {len(job['jobSpec']['workerPoolSpecs'])} worker pools")
