"""Commands that make an artifact of a model: every stage after training, and all of them at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from lading.build.collected import load_spec
from lading.cli.sign import SigningKey, sign_artifact, signing_key
from lading.cli.terminal import console
from lading.cli.train import Overrides, Target
from lading.errors import SpecError
from lading.spec import ModelSpec

Effort = Annotated[
    Literal["quick", "full"], typer.Option(help="quick: about a minute; full: longer, for figures to publish")
]


Weights = Annotated[
    Path | None,
    typer.Option(help="weights: safetensors, .pth, .pt or .ckpt, as `lading import` takes; default: next to the model"),
]


def import_(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="CKPT", help="weights: safetensors, .pth, .pt, .ckpt or .bin, or the .index.json of their shards"
        ),
    ],
    model: Target,
    out: Annotated[
        Path | None, typer.Option(help=".safetensors file to write; default: next to the model, where builds look")
    ] = None,
    part: Annotated[
        str | None, typer.Option(help="name of the weights in the file, where several fit, such as ema")
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option(help="name inside the network that the model need not have; may be repeated")
    ] = None,
) -> None:
    """Take trained weights from a file of any trainer, whole or not at all, and say what was renamed.

    Reads safetensors and what torch.save wrote, by Lightning, DDP, FSDP, torch.compile or EMA, without running code.

    Example: `lading import last.ckpt models/cards.py:Cards --out cards.safetensors`

    Example: `lading import model.safetensors.index.json reviews.py:Reviews --out reviews.safetensors`
    """
    from lading.build.weights.imported import import_weights

    if out is not None and out.suffix != ".safetensors":
        raise typer.BadParameter(f"{out} must end in .safetensors", param_hint="--out")
    spec = load_spec(model)
    target = out or spec.checkpoint()
    for line in import_weights(spec, file, target, part=part, drop=drop or ()):
        console().print(line, markup=False, highlight=False, soft_wrap=True)
    console().print(f"checkpoint: {target}", soft_wrap=True)


def prune(
    model: Target,
    overrides: Overrides = None,
    share: Annotated[float, typer.Option(min=0.01, max=0.95, help="share of multiply-accumulates to remove")] = 0.5,
    checkpoint: Weights = None,
    out: Annotated[Path | None, typer.Option(help="folder to write to; default build/NAME/prune")] = None,
) -> None:
    """Remove channels from a trained network, then fine-tune it.

    Example: `lading prune models/cards.py:Cards --share 0.3`
    """
    from lading.build.checkpoints import ONLY_PRUNED, existing_base, no_effect_on_pruning
    from lading.build.prune import prune as run
    from lading.build.train.config import compose
    from lading.build.train.without_effect import refuse_without_effect

    spec, words = load_spec(model), overrides or []
    refuse_without_effect(model, words, no_effect_on_pruning, f"{ONLY_PRUNED}. Leave it out")
    given = _taken(spec, checkpoint)
    weights = existing_base(spec, model, work=_work(spec), checkpoint=given, console=console())
    path = run(spec, share, weights, compose(model, words), out or _work(spec) / "prune")
    console().print(f"checkpoint: {path}")


def export(
    model: Target,
    checkpoint: Weights = None,
    out: Annotated[Path | None, typer.Option(help="folder to write to; default build/NAME/export")] = None,
) -> None:
    """Export to ONNX. Fails unless ONNX Runtime reproduces torch. Trains nothing.

    Example: `lading export models/cards.py:Cards`
    """
    from lading.build.checkpoints import existing_checkpoints
    from lading.build.export.export import export as run
    from lading.build.fingerprint import Fingerprints
    from lading.build.stages import export_stage

    spec = load_spec(model)
    folder = out or _work(spec) / "export"
    given = _taken(spec, checkpoint)
    checkpoints = existing_checkpoints(spec, model, work=_work(spec), checkpoint=given, console=console())
    stage = export_stage(spec, folder, checkpoints, Fingerprints(spec))
    console().print(f"graphs: {stage.make(lambda: run(spec, folder, checkpoints=checkpoints))}")


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
    from lading.build.fingerprint import Fingerprints
    from lading.build.quantize.quantize import quantize as run
    from lading.build.stages import quantize_stage

    spec = load_spec(model)
    graphs, folder = exported or _work(spec) / "export", out or _work(spec) / "variants"
    stage = quantize_stage(spec, folder, graphs, Fingerprints(spec))
    console().print(f"variants: {stage.make(lambda: run(spec, graphs, folder))}")


def verify(
    model: Target,
    variants: Annotated[
        Path | None, typer.Option(help="folder of the variants' graphs; default build/NAME/variants")
    ] = None,
    checkpoint: Weights = None,
    out: Annotated[Path | None, typer.Option(help="folder to write to; default build/NAME/verify")] = None,
    effort: Effort = "quick",
    shift: Annotated[bool, typer.Option("--shift", help="also score the winner on corrupted inputs")] = False,
) -> None:
    """Measure accuracy and speed of every variant, and pass or refuse each by its budget.

    Example: `lading verify models/cards.py:Cards --effort full --shift`
    """
    from lading.build.fingerprint import Fingerprints
    from lading.build.records import Verification, require_passed
    from lading.build.stages import REPORT, verify_stage
    from lading.build.verify.report import write_report
    from lading.build.verify.tables import verification_table
    from lading.build.verify.torch_baseline import TorchBaselines
    from lading.build.verify.verify import verify as run

    spec = load_spec(model)
    folder, graphs = out or _work(spec) / "verify", variants or _work(spec) / "variants"
    weights = _weights(spec, checkpoint)
    stage = verify_stage(spec, folder, graphs, effort=effort, weights=weights, data=Fingerprints(spec))

    def measure() -> Verification:
        torch = TorchBaselines(spec, weights) if weights else None
        found = run(spec, graphs, folder, effort=effort, torch=torch)
        write_report(found, folder / REPORT)
        return found

    verification = stage.make(measure)
    console().print(verification_table(verification))
    console().print(f"report: {folder / REPORT}")
    require_passed(verification)
    if shift and not verification.chosen:
        console().print("--shift scores the variant that is served, and none passed: nothing was scored")
    elif shift:
        from lading.build.verify.shift import score_shift

        chosen = str(verification.chosen)
        console().print(score_shift(spec, graphs / f"{chosen}.onnx", chosen, folder).table())
        console().print(f"plot: {folder / 'shift.svg'}")


def pack(
    source: Annotated[str, typer.Argument(metavar="MODEL|FILE", help="file.py:Class, or a bare .onnx or .pt2")],
    name: Annotated[str | None, typer.Option(help="bare file: name of the model; default: the file's")] = None,
    labels: Annotated[Path | None, typer.Option(help="bare file: text file with one label per line")] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="bare file: .npz with real examples by input, or texts as .txt (one a line), .csv or .jsonl; they "
            "decide what runs, and add int8"
        ),
    ] = None,
    batch_axis: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=AXIS", help="bare file: axis of the batch of a tensor that has it elsewhere"),
    ] = None,
    image: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]WORDS",
            help="bare file: an input takes pictures; how they become its numbers: imagenet, clip, inception, yolo, "
            "or words such as crop,resize=256,scale=1/255,mean=imagenet",
        ),
    ] = None,
    audio: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]RATE[,WORDS]",
            help="bare file: an input takes recordings of this many samples a second, such as 16000 or 16000,middle",
        ),
    ] = None,
    tokenizer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]FILE[,WORDS]",
            help="bare file: an input takes texts; the tokenizer.json of the network, and words such as "
            "max_length=128,truncate=yes,pad=0. The server fills in mask and token types",
        ),
    ] = None,
    answer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]KIND",
            help="bare file: what the numbers of an output stand for: embedding, boxes or mask; the classes of boxes "
            "and masks come from --labels",
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="bare file: how far int8 may be from float32; a larger one takes fewer rows"),
    ] = None,
    checkpoint: Weights = None,
    out: Annotated[Path | None, typer.Option(help="artifact folder; default artifacts/NAME")] = None,
    sign_key: SigningKey = None,
) -> None:
    """Pack the variants that passed verify into an artifact, or pack a bare file.

    A bare file has graph and weights: ONNX, or a program of torch.export. --image, --audio, --tokenizer and --answer
    say what the numbers of its tensors stand for. Each is [NAME=]WHAT[,WORDS] and may be repeated; NAME is left out
    where one tensor alone fits.

    Example: `lading pack models/cards.py:Cards`

    Example: `lading pack model.onnx --name wine --labels labels.txt`

    Example: `lading pack resnet18.onnx --labels labels.txt --image imagenet`

    Example: `lading pack bert.onnx --tokenizer tokenizer.json --calibration texts.txt`

    Example: `lading pack encoder.onnx --audio 16000 --answer embedding`
    """
    key = signing_key(sign_key)
    bare = source.lower().endswith((".onnx", ".pt2"))
    of_bare = {
        "--name": name,
        "--labels": labels,
        "--calibration": calibration,
        "--batch-axis": batch_axis or None,
        "--image": image or None,
        "--audio": audio or None,
        "--tokenizer": tokenizer or None,
        "--answer": answer or None,
        "--tolerance": tolerance,
    }
    _refuse_unused(
        {"--checkpoint": checkpoint} if bare else of_bare,
        "a bare file has its weights" if bare else f"the model {source} says it itself",
    )
    if bare and calibration is None:
        _refuse_unused({"--tolerance": tolerance}, "int8 takes --calibration")
    if bare:
        from lading.build.onnx_declared import Declared, read_given
        from lading.build.onnx_file import pack_onnx
        from lading.build.onnx_pictures import read_words
        from lading.build.onnx_tensors import clean_name
        from lading.build.torch_program import pack_program

        file = Path(source)
        stem = name or clean_name(file.stem)
        artifact = (pack_program if file.suffix.lower() == ".pt2" else pack_onnx)(
            file,
            out or Path("artifacts") / stem,
            name=stem,
            labels=labels,
            calibration=calibration,
            axes=_axes(batch_axis) or None,
            declared=Declared(
                pictures=tuple(map(read_words, image or ())),
                recordings=tuple(map(read_given, audio or ())),
                texts=tuple(map(read_given, tokenizer or ())),
                answers=tuple(map(read_given, answer or ())),
            ),
            tolerance=tolerance,
            tell=console().print,
        )
    else:
        from lading.build.pack import pack as run
        from lading.build.stages import require_measured

        spec = load_spec(source)
        work = _work(spec)
        require_measured(work / "variants", work / "verify")
        artifact = run(
            spec,
            work / "variants",
            work / "verify",
            out or Path("artifacts") / spec.name,
            checkpoint=_weights(spec, checkpoint),
            target=source,
        )
    console().print(f"artifact: {artifact.path} ({artifact.digest[:19]}), serving {artifact.manifest.chosen}")
    sign_artifact(artifact.path, key)


def _axes(given: list[str] | None) -> dict[str, int]:
    axes = {}
    for one in given or []:
        name, equals, axis = one.rpartition("=")
        if not (equals and name and axis.isdecimal()):
            raise SpecError(f"--batch-axis is NAME=AXIS, such as state=1, and not {one!r}")
        axes[name] = int(axis)
    return axes


def build(
    model: Target,
    overrides: Overrides = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            help="weights: a file, wandb:ENTITY/PROJECT/NAME:ALIAS or mlflow:models:/NAME@ALIAS, which gets the "
            "verdict; default: next to the model"
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="artifact folder; default artifacts/NAME")] = None,
    work: Annotated[Path | None, typer.Option(help="folder for the stages' files; default build/NAME")] = None,
    effort: Effort = "quick",
    bento: Annotated[bool, typer.Option("--bento", help="also build a Bento named after the model")] = False,
    sign_key: SigningKey = None,
) -> None:
    """Run all stages in order: train if needed, prune, export, quantize, verify, pack.

    Example: `lading build models/cards.py:Cards --bento`

    Example: `lading build models/cards.py:Cards --checkpoint wandb:ENTITY/PROJECT/cards:production`
    """
    from lading.build.bento import build_bento, require_bentoml

    if bento:
        require_bentoml()  # before the stages, which take minutes
    key = signing_key(sign_key)
    from lading.build.build import build as run
    from lading.build.registry import fetch_version, is_address

    spec = load_spec(model)
    out = out or Path("artifacts") / spec.name
    work = work or _work(spec)
    registered = checkpoint is not None and is_address(checkpoint)
    run(
        spec,
        model,
        out=out,
        work=work,
        checkpoint=Path(checkpoint) if checkpoint and not registered else None,
        version=fetch_version(checkpoint, work / "registry") if checkpoint and registered else None,
        overrides=overrides or [],
        effort=effort,
        console=console(),
    )
    sign_artifact(out, key)
    if bento:
        console().print(f"bento: {build_bento(out)}; serve it with `bentoml serve {spec.name}:latest`")


def _work(spec: ModelSpec) -> Path:
    return Path("build") / spec.name


def _weights(spec: ModelSpec, checkpoint: Path | None) -> Path | None:
    """The weights behind the graphs: those named, next to the model, or trained by a build; ``None`` without any."""
    if checkpoint is not None and not checkpoint.exists():
        raise SpecError(f"there is no checkpoint {checkpoint}: give another --checkpoint, or leave it out")
    own = spec.checkpoint()
    places = (_taken(spec, checkpoint), own, _work(spec) / "train" / own.name)
    return next((place for place in places if place is not None and place.is_file()), None)


def _taken(spec: ModelSpec, checkpoint: Path | None) -> Path | None:
    """The file of ``--checkpoint``, or what was imported from it."""
    from lading.build.weights.imported import taken_aloud

    return taken_aloud(spec, checkpoint, _work(spec) / "import", console())


def _refuse_unused(options: Mapping[str, object], why: str) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise SpecError(f"{', '.join(given)} would have no effect: {why}. Leave it out")


def init(file: Annotated[Path, typer.Argument(help="file to write, for example my_model.py")]) -> None:
    """Write a model file to start from. It builds as it is.

    Example: `lading init my_model.py`
    """
    from lading.build.starter import write_starter

    target = write_starter(file)
    typer.echo(f"{file} is written; build it with\n\n  lading build {target} data.workers=0 trainer.threads=1")
