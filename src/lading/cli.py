"""The command line: each command reads its arguments and calls one stage.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a gate refused.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from lading import __version__
from lading.commands.canary import canary
from lading.commands.check import check
from lading.commands.compare import compare
from lading.commands.doctor import doctor
from lading.commands.drift import drift
from lading.commands.fetch import fetch
from lading.commands.init import init
from lading.commands.inspect import inspect
from lading.commands.load import load
from lading.commands.monitor import monitor
from lading.commands.prepare import prepare
from lading.commands.report import report
from lading.commands.retrain import retrain
from lading.commands.score import score
from lading.commands.serve import serve
from lading.commands.sweep import sweep
from lading.commands.values import values
from lading.commands.vertex import vertex
from lading.errors import LadingError, SpecError
from lading.import_string import load_spec
from lading.spec import ModelSpec
from lading.terminal import console, errors

app = typer.Typer(
    name="lading",
    help="From a trained PyTorch model to a measured, monitored service.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Target = Annotated[str, typer.Argument(metavar="MODEL", help="file.py:Class, for example models/cards.py:Cards")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="training configuration, as Hydra writes it")
]
Effort = Annotated[Literal["quick", "full"], typer.Option(help="quick: about a minute; full: for figures to publish")]


@app.command()
def train(
    model: Target,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="run folder; default runs/NAME/TIME")] = None,
    resume: Annotated[Path | None, typer.Option(help="run folder to go on with")] = None,
    restartable: Annotated[
        bool, typer.Option("--restartable", help="go on with the run in --out if there is one")
    ] = False,
    profile: Annotated[bool, typer.Option("--profile", help="also write where the time of some steps goes")] = False,
) -> None:
    """Train a model and write its checkpoint with the run that made it; under torchrun, in several processes.

    Example: `lading train models/cards.py:Cards trainer.max_epochs=5 model.backbone=resnet18`

    Example: `lading train models/cards.py:Cards trainer.devices=2 --out runs/cards/two --restartable`
    """
    from lading.train import train_command

    path = train_command(model, overrides or [], out=out, resume=resume, restartable=restartable, profile=profile)
    if os.environ.get("RANK", "0") == "0":
        console().print(f"checkpoint: {path}")


@app.command()
def prune(
    model: Target,
    overrides: Overrides = None,
    share: Annotated[float, typer.Option(min=0.01, max=0.95, help="share of multiply-accumulates to remove")] = 0.5,
    checkpoint: Annotated[Path | None, typer.Option(help="weights to prune; default: the reference beside it")] = None,
    out: Annotated[Path | None, typer.Option(help="folder to write to; default build/NAME/prune")] = None,
) -> None:
    """Remove channels for real, then fine-tune.

    Example: `lading prune models/cards.py:Cards --share 0.3`
    """
    from lading.config import compose
    from lading.prune import prune as run

    config = compose(model, overrides or [])
    spec = load_spec(model)
    path = run(spec, share, checkpoint or _checkpoint(spec), config, out or _work(spec) / "prune")
    console().print(f"checkpoint: {path}")


@app.command()
def export(
    model: Target,
    checkpoint: Annotated[Path | None, typer.Option(help="weights; default: the reference beside the model")] = None,
    out: Annotated[Path | None, typer.Option(help="folder to write to; default build/NAME/export")] = None,
) -> None:
    """Export to ONNX, and refuse unless ONNX Runtime reproduces torch.

    Example: `lading export models/cards.py:Cards`
    """
    from lading.build import find_checkpoints
    from lading.export import export as run

    spec = load_spec(model)
    checkpoints = find_checkpoints(
        spec, model, work=_work(spec), checkpoint=checkpoint, overrides=(), console=console()
    )
    console().print(f"graphs: {run(spec, out or _work(spec) / 'export', checkpoints=checkpoints)}")


@app.command()
def quantize(
    model: Target,
    exported: Annotated[Path | None, typer.Option(help="folder of the export; default build/NAME/export")] = None,
    out: Annotated[Path | None, typer.Option(help="folder to write to; default build/NAME/variants")] = None,
) -> None:
    """Make every variant's graph: int8 static and dynamic, fp16, pruned and int8.

    Example: `lading quantize models/cards.py:Cards`
    """
    from lading.quantize import quantize as run

    spec = load_spec(model)
    console().print(f"variants: {run(spec, exported or _work(spec) / 'export', out or _work(spec) / 'variants')}")


@app.command()
def verify(
    model: Target,
    variants: Annotated[Path | None, typer.Option(help="folder of the variants; default build/NAME/variants")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="weights for the torch baselines")] = None,
    out: Annotated[Path | None, typer.Option(help="folder to write to; default build/NAME/verify")] = None,
    effort: Effort = "quick",
    shift: Annotated[bool, typer.Option("--shift", help="also score the winner on corrupted inputs")] = False,
) -> None:
    """Measure accuracy and speed of every variant, and judge them by the budget.

    Example: `lading verify models/cards.py:Cards --effort full --shift`
    """
    from lading.report import write_report
    from lading.verification_table import verification_table
    from lading.verify import require_passed
    from lading.verify import verify as run

    spec = load_spec(model)
    out = out or _work(spec) / "verify"
    weights = checkpoint or spec.checkpoint()
    verification = run(
        spec,
        variants or _work(spec) / "variants",
        out,
        effort=effort,
        checkpoint=weights if weights.is_file() else None,
    )
    console().print(verification_table(verification))
    write_report(verification, out / "report.html")
    console().print(f"report: {out / 'report.html'}")
    require_passed(verification)
    if shift and verification.chosen:
        from lading.shift import score_shift

        graph = (variants or _work(spec) / "variants") / f"{verification.chosen}.onnx"
        console().print(score_shift(spec, graph, verification.chosen, out).table())
        console().print(f"plot: {out / 'shift.svg'}")


@app.command()
def pack(
    source: Annotated[str, typer.Argument(metavar="MODEL|FILE.onnx", help="file.py:Class, or a bare ONNX file")],
    name: Annotated[str | None, typer.Option(help="name of a bare ONNX file's model; default: the file's")] = None,
    labels: Annotated[Path | None, typer.Option(help="bare ONNX: text file, one label a line")] = None,
    calibration: Annotated[Path | None, typer.Option(help="bare ONNX: .npz of inputs by name; adds int8")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="weights whose run is recorded")] = None,
    out: Annotated[Path | None, typer.Option(help="artifact folder; default artifacts/NAME")] = None,
) -> None:
    """Pack what verify passed into an artifact; or wrap a bare ONNX file from elsewhere.

    Example: `lading pack models/cards.py:Cards`

    Example: `lading pack model.onnx --name wine --labels labels.txt`
    """
    if source.endswith(".onnx"):
        from lading.wrap_onnx import pack_onnx

        file = Path(source)
        stem = name or file.stem
        artifact = pack_onnx(file, out or Path("artifacts") / stem, name=stem, labels=labels, calibration=calibration)
    else:
        from lading.pack import pack as run

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


@app.command()
def build(
    model: Target,
    overrides: Overrides = None,
    checkpoint: Annotated[Path | None, typer.Option(help="weights; default: the reference beside the model")] = None,
    out: Annotated[Path | None, typer.Option(help="artifact folder; default artifacts/NAME")] = None,
    work: Annotated[Path | None, typer.Option(help="folder of what the stages leave; default build/NAME")] = None,
    effort: Effort = "quick",
    bento: Annotated[bool, typer.Option("--bento", help="also build a Bento named after the model")] = False,
) -> None:
    """All stages in order: train if needed, prune, export, quantize, verify, pack.

    Example: `lading build models/cards.py:Cards --bento`
    """
    from lading.build import build as run

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
        from lading.bento import build_bento

        console().print(f"bento: {build_bento(out)}; serve it with `bentoml serve {spec.name}:latest`")


for command in (
    *(inspect, report, serve, prepare, retrain, sweep, vertex, score, doctor, compare),
    *(init, monitor, load, canary, values, fetch, check),
):
    app.command()(command)
app.add_typer(drift)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="show the version")] = False) -> None:
    if version:
        console().print(__version__)
        raise typer.Exit


def main() -> None:
    """Entry point of the ``lading`` command."""
    logging.basicConfig(level=logging.WARNING)
    try:
        app()
    except LadingError as error:
        errors().print(f"[bold red]{type(error).__name__.removesuffix('Error')}[/bold red]: ", end="")
        errors().print(str(error), markup=False, highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)


def _work(spec: ModelSpec) -> Path:
    return Path("build") / spec.name


def _checkpoint(spec: ModelSpec) -> Path:
    path = spec.checkpoint()
    if not path.is_file():
        raise SpecError(f"{spec.name} has no reference checkpoint at {path}: name one with --checkpoint")
    return path


if __name__ == "__main__":
    main()
