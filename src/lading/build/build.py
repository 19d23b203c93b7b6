"""The whole pipeline in order: from a model's file to its artifact."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from lading.artifact import Artifact
from lading.spec import ModelSpec

if TYPE_CHECKING:
    from lading.build.records import Effort


def build(
    spec: ModelSpec,
    target: str,
    *,
    out: Path,
    work: Path,
    checkpoint: Path | None = None,
    overrides: Sequence[str] = (),
    effort: Effort = "quick",
    console: Console,
) -> Artifact:
    """Run every stage and return the packed artifact.

    Args:
        spec: the model.
        target: its import string, recorded as provenance.
        out: the artifact directory to write.
        work: where the stages leave their files, one folder each.
        checkpoint: trained weights; default: the reference checkpoint next to the model, or a new training.
        overrides: training configuration, for networks that are trained here.
        effort: how long to measure.
        console: prints each step.

    Raises:
        GateRefusedError: a required variant is outside its budget; nothing was packed.
    """
    from lading.build.export.export import export
    from lading.build.pack import pack
    from lading.build.quantize.quantize import quantize
    from lading.build.quantize.recipes import check_methods
    from lading.build.records import require_passed
    from lading.build.verify.report import write_report
    from lading.build.verify.tables import verification_table
    from lading.build.verify.torch_baseline import TorchBaselines
    from lading.build.verify.verify import verify

    check_methods(spec)
    console.rule(f"[bold]{spec.name}[/bold]: checkpoints")
    checkpoints = find_checkpoints(spec, target, work=work, checkpoint=checkpoint, overrides=overrides, console=console)
    console.rule("export to ONNX")
    exported = export(spec, work / "export", checkpoints=checkpoints)
    console.rule("quantize")
    variants = quantize(spec, exported, work / "variants")
    console.rule("verify")
    torch = TorchBaselines(spec, checkpoints[0.0])
    verification = verify(spec, variants, work / "verify", effort=effort, torch=torch)
    console.print(verification_table(verification))
    write_report(verification, work / "verify" / "report.html")
    console.print(f"report: {work / 'verify' / 'report.html'}")
    require_passed(verification)
    console.rule("pack")
    artifact = pack(spec, variants, verification, out, checkpoint=checkpoints[0.0], target=target)
    console.print(f"artifact: {out} ({artifact.digest[:19]}), serving {artifact.manifest.chosen}")
    return artifact


def find_checkpoints(
    spec: ModelSpec,
    target: str,
    *,
    work: Path,
    checkpoint: Path | None,
    overrides: Sequence[str],
    console: Console,
) -> dict[float, Path]:
    """Return a checkpoint for every pruning share that the spec's variants need, training what is missing."""
    from lading.build.prune import prune
    from lading.build.train.config import compose
    from lading.build.train.train import train

    base = checkpoint or _existing(spec.checkpoint(), work / "train" / spec.checkpoint().name)
    if base is None:
        console.print(f"no checkpoint next to the model: training one into {work / 'train'}")
        base = train(spec, compose(target, list(overrides)), work / "train")
    found = {0.0: base}
    console.print(f"weights: {base}")
    for share in sorted({variant.pruning for variant in spec.variants} - {0.0}):
        name = spec.checkpoint(share).name
        # Pruned reference checkpoints belong to the reference checkpoint. Other weights are pruned here.
        shipped = None if checkpoint else _existing(spec.checkpoint(share))
        pruned = shipped or _made_of(base, work / "prune" / name)
        if pruned is None:
            console.print(f"pruning {share:.0%} of the multiply-accumulates and fine-tuning")
            pruned = prune(spec, share, base, compose(target, list(overrides)), work / "prune")
        found[share] = pruned
        console.print(f"pruned {share:.0%}: {pruned}")
    return found


def _made_of(base: Path, pruned: Path) -> Path | None:
    """A pruned checkpoint from an earlier build, if it was pruned from these weights."""
    from lading.build.train.checkpoint import read_card

    card, own = read_card(pruned), read_card(base)
    if card is None or not pruned.is_file():
        return None
    # Weights without a recorded run are compared by age, as in make.
    same = card.parent == own if own else pruned.stat().st_mtime >= base.stat().st_mtime
    return pruned if same else None


def _existing(*candidates: Path) -> Path | None:
    return next((path for path in candidates if path.is_file()), None)
