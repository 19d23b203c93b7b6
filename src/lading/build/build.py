"""The whole pipeline in order: from a model's file to its artifact."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from lading.artifact import Artifact, check_place
from lading.build.checkpoints import find_checkpoints, with_options
from lading.build.fingerprint import Fingerprints
from lading.errors import GateRefusedError
from lading.spec import ModelSpec

if TYPE_CHECKING:
    from lading.build.records import Effort
    from lading.build.registry import Version


def build(
    spec: ModelSpec,
    target: str,
    *,
    out: Path,
    work: Path,
    checkpoint: Path | None = None,
    version: Version | None = None,
    overrides: Sequence[str] = (),
    effort: Effort = "quick",
    console: Console,
) -> Artifact:
    """Run every stage and return the packed artifact.

    Args:
        spec: the model.
        target: its import string, recorded as provenance.
        out: the artifact directory to write.
        work: where the stages leave their files, one folder each. A stage whose files are there, and are made of what
            it would read now, is not run again.
        checkpoint: trained weights; default: the reference checkpoint next to the model, or weights trained here.
        version: of the weights in a model registry, instead of ``checkpoint``. It gets the verdict, passed or refused.
        overrides: training configuration, for networks that are trained here.
        effort: how long to measure.
        console: prints each step.

    Raises:
        SpecError: an override would have no effect.
        GateRefusedError: a required variant is outside its budget; nothing was packed.
        CheckpointError: the registry does not accept the verdict. The artifact was packed.
    """
    from lading.build.export.export import export
    from lading.build.pack import pack
    from lading.build.quantize.quantize import quantize
    from lading.build.quantize.recipes import check_methods
    from lading.build.records import Verification, require_passed
    from lading.build.registry import facts_of
    from lading.build.stages import REPORT, export_stage, quantize_stage, verify_stage
    from lading.build.verify.report import write_report
    from lading.build.verify.tables import verification_table
    from lading.build.verify.torch_baseline import TorchBaselines
    from lading.build.verify.verify import verify
    from lading.build.weights.imported import taken_aloud

    check_methods(spec)
    check_place(out)  # hours before it is written
    console.rule(f"[bold]{spec.name}[/bold]: checkpoints")
    checkpoint = taken_aloud(spec, version.checkpoint if version else checkpoint, work / "import", console)
    spec = with_options(spec, target, overrides, checkpoint)
    problems: dict[float, str] = {}
    checkpoints = find_checkpoints(
        spec, target, work=work, checkpoint=checkpoint, overrides=overrides, problems=problems, console=console
    )
    base, data = checkpoints[0.0], Fingerprints(spec)
    console.rule("export to ONNX")
    exported = work / "export"
    stage = export_stage(spec, exported, checkpoints, data)
    stage.run(lambda: export(spec, exported, checkpoints=checkpoints, problems=problems), lambda: exported, console)
    console.rule("quantize")
    variants = work / "variants"
    quantize_stage(spec, variants, exported, data).run(
        lambda: quantize(spec, exported, variants), lambda: variants, console
    )
    console.rule("verify")
    verified = work / "verify"

    def measure() -> Verification:
        found = verify(spec, variants, verified, effort=effort, torch=TorchBaselines(spec, base))
        write_report(found, verified / REPORT)
        return found

    stage = verify_stage(spec, verified, variants, effort=effort, weights=base, data=data)
    verification = stage.run(measure, lambda: Verification.load(verified), console)
    console.print(verification_table(verification))
    console.print(f"report: {verified / REPORT}")
    try:
        require_passed(verification)
        console.rule("pack")
        artifact = pack(
            spec,
            variants,
            verification,
            out,
            checkpoint=base,
            target=target,
            address=version.address if version else None,
        )
    except GateRefusedError:
        if version:
            version.report(facts_of(verification, None), passed=False)
            console.print(f"verdict: refused, written onto {version.address}")
        raise
    console.print(f"artifact: {out} ({artifact.digest[:19]}), serving {artifact.manifest.chosen}")
    if version:
        version.report(facts_of(verification, artifact.digest), passed=True)
        console.print(f"verdict: passed, written onto {version.address}")
    return artifact
