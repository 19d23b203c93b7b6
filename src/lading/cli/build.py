"""Commands that build a model: every stage, sweeps, and jobs in the cloud."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from lading.cli.terminal import console
from lading.errors import SpecError
from lading.import_string import load_spec
from lading.spec import ModelSpec

Target = Annotated[str, typer.Argument(metavar="MODEL", help="file.py:Class, for example models/cards.py:Cards")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="training configuration in Hydra's syntax")
]
Effort = Annotated[
    Literal["quick", "full"], typer.Option(help="quick: about a minute; full: longer, for figures to publish")
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


def prune(
    model: Target,
    overrides: Overrides = None,
    share: Annotated[float, typer.Option(min=0.01, max=0.95, help="share of multiply-accumulates to remove")] = 0.5,
    checkpoint: Annotated[Path | None, typer.Option(help="weights to prune; default: the model's own")] = None,
    out: Annotated[Path | None, typer.Option(help="folder to write to; default build/NAME/prune")] = None,
) -> None:
    """Remove channels from a trained network, then fine-tune it.

    Example: `lading prune models/cards.py:Cards --share 0.3`
    """
    from lading.build.prune import prune as run
    from lading.build.train.config import compose

    config = compose(model, overrides or [])
    spec = load_spec(model)
    path = run(spec, share, checkpoint or _checkpoint(spec), config, out or _work(spec) / "prune")
    console().print(f"checkpoint: {path}")


def export(
    model: Target,
    checkpoint: Annotated[Path | None, typer.Option(help="weights; default: next to the model")] = None,
    out: Annotated[Path | None, typer.Option(help="folder to write to; default build/NAME/export")] = None,
) -> None:
    """Export to ONNX. Fails unless ONNX Runtime reproduces torch.

    Example: `lading export models/cards.py:Cards`
    """
    from lading.build.build import find_checkpoints
    from lading.build.export.export import export as run

    spec = load_spec(model)
    checkpoints = find_checkpoints(
        spec, model, work=_work(spec), checkpoint=checkpoint, overrides=(), console=console()
    )
    console().print(f"graphs: {run(spec, out or _work(spec) / 'export', checkpoints=checkpoints)}")


def quantize(
    model: Target,
    exported: Annotated[
        Path | None, typer.Option(help="folder of the exported graphs; default build/NAME/export")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="folder to write to; default build/NAME/variants")] = None,
) -> None:
    """Make the ONNX graph of every variant: int8 static and dynamic, int4, fp16, pruned.

    Example: `lading quantize models/cards.py:Cards`
    """
    from lading.build.quantize.quantize import quantize as run

    spec = load_spec(model)
    console().print(f"variants: {run(spec, exported or _work(spec) / 'export', out or _work(spec) / 'variants')}")


def verify(
    model: Target,
    variants: Annotated[
        Path | None, typer.Option(help="folder of the variants' graphs; default build/NAME/variants")
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="weights for the torch baselines")] = None,
    out: Annotated[Path | None, typer.Option(help="folder to write to; default build/NAME/verify")] = None,
    effort: Effort = "quick",
    shift: Annotated[bool, typer.Option("--shift", help="also score the winner on corrupted inputs")] = False,
) -> None:
    """Measure accuracy and speed of every variant, and pass or refuse each by its budget.

    Example: `lading verify models/cards.py:Cards --effort full --shift`
    """
    from lading.build.records import require_passed
    from lading.build.verify.report import write_report
    from lading.build.verify.tables import verification_table
    from lading.build.verify.torch_baseline import TorchBaselines
    from lading.build.verify.verify import verify as run

    spec = load_spec(model)
    out = out or _work(spec) / "verify"
    weights = checkpoint or spec.checkpoint()
    verification = run(
        spec,
        variants or _work(spec) / "variants",
        out,
        effort=effort,
        torch=TorchBaselines(spec, weights) if weights.is_file() else None,
    )
    console().print(verification_table(verification))
    write_report(verification, out / "report.html")
    console().print(f"report: {out / 'report.html'}")
    require_passed(verification)
    if shift and verification.chosen:
        from lading.build.verify.shift import score_shift

        graph = (variants or _work(spec) / "variants") / f"{verification.chosen}.onnx"
        console().print(score_shift(spec, graph, verification.chosen, out).table())
        console().print(f"plot: {out / 'shift.svg'}")


def pack(
    source: Annotated[str, typer.Argument(metavar="MODEL|FILE.onnx", help="file.py:Class, or a bare ONNX file")],
    name: Annotated[str | None, typer.Option(help="bare ONNX: name of the model; default: the file's")] = None,
    labels: Annotated[Path | None, typer.Option(help="bare ONNX: text file with one label per line")] = None,
    calibration: Annotated[Path | None, typer.Option(help="bare ONNX: .npz with inputs by name; adds int8")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="trained weights; the artifact records their run")] = None,
    out: Annotated[Path | None, typer.Option(help="artifact folder; default artifacts/NAME")] = None,
) -> None:
    """Pack the variants that passed verify into an artifact, or pack a bare ONNX file.

    Example: `lading pack models/cards.py:Cards`

    Example: `lading pack model.onnx --name wine --labels labels.txt`
    """
    if source.endswith(".onnx"):
        from lading.build.onnx_file import pack_onnx

        file = Path(source)
        stem = name or file.stem
        artifact = pack_onnx(file, out or Path("artifacts") / stem, name=stem, labels=labels, calibration=calibration)
    else:
        from lading.build.pack import pack as run

        spec = load_spec(source)
        work = _work(spec)
        artifact = run(
            spec,
            work / "variants",
            work / "verify",
            out or Path("artifacts") / spec.name,
            checkpoint=checkpoint or spec.checkpoint(),
            target=source,
        )
    console().print(f"artifact: {artifact.path} ({artifact.digest[:19]}), serving {artifact.manifest.chosen}")


def build(
    model: Target,
    overrides: Overrides = None,
    checkpoint: Annotated[Path | None, typer.Option(help="weights; default: next to the model")] = None,
    out: Annotated[Path | None, typer.Option(help="artifact folder; default artifacts/NAME")] = None,
    work: Annotated[Path | None, typer.Option(help="folder for the stages' files; default build/NAME")] = None,
    effort: Effort = "quick",
    bento: Annotated[bool, typer.Option("--bento", help="also build a Bento named after the model")] = False,
) -> None:
    """Run all stages in order: train if needed, prune, export, quantize, verify, pack.

    Example: `lading build models/cards.py:Cards --bento`
    """
    from lading.build.bento import build_bento, require_bentoml

    if bento:
        require_bentoml()  # before the stages, which take minutes
    from lading.build.build import build as run

    spec = load_spec(model)
    out = out or Path("artifacts") / spec.name
    run(
        spec,
        model,
        out=out,
        work=work or _work(spec),
        checkpoint=checkpoint,
        overrides=overrides or [],
        effort=effort,
        console=console(),
    )
    if bento:
        console().print(f"bento: {build_bento(out)}; serve it with `bentoml serve {spec.name}:latest`")


def _work(spec: ModelSpec) -> Path:
    return Path("build") / spec.name


def _checkpoint(spec: ModelSpec) -> Path:
    path = spec.checkpoint()
    if not path.is_file():
        raise SpecError(f"{spec.name} has no reference checkpoint at {path}: name one with --checkpoint")
    return path


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
    from lading.import_string import load_spec

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

    Example: `lading vertex models/cards.py:Cards trainer.num_nodes=2 --image REGISTRY/lading-trainer:1 --bucket gs://BUCKET/cards`

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


def init(file: Annotated[Path, typer.Argument(help="file to write, for example my_model.py")]) -> None:
    """Write a model file to start from. It builds as it is.

    Example: `lading init my_model.py`
    """
    from lading.build.starter import write_starter

    target = write_starter(file)
    typer.echo(f"{file} is written; build it with\n\n  lading build {target} data.workers=0 trainer.threads=1")
