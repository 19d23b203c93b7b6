"""What is said about an artifact in signed statements: where it came from (SLSA v1), and what was measured."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from lading import __version__
from lading.artifact.manifest import Baseline, LineageRun, Machine, Manifest, PackedVariant, Provenance, RefusedVariant
from lading.signing import MEASUREMENTS, PROVENANCE
from lading.signing.attestations import attest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from lading.artifact import Artifact

SLSA = "https://slsa.dev/provenance/v1"
REPOSITORY = "https://github.com/lading/lading"
BUILD_TYPE = f"{REPOSITORY}/blob/main/docs/signing.md#statements"
MEASURED = f"{REPOSITORY}/measurements/v1"


class Measurements(BaseModel):
    """The predicate of ``MEASURED``: what verify found, on which machine, and what the gates said."""

    model_config = ConfigDict(frozen=True)

    model: str
    version: str
    manifest: str = Field(pattern="^sha256:[0-9a-f]{64}$")
    """The artifact's digest."""
    score_name: str
    chosen: str
    """The variant that is served by default."""
    machine: Machine | None = None
    variants: tuple[PackedVariant, ...]
    """Those in the artifact: scores by split, intervals, T(b), and whether each passed."""
    refused: tuple[RefusedVariant, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    notes: tuple[str, ...] = ()


class Lineage(BaseModel):
    """The part of a provenance that SLSA leaves to the builder: the runs behind the weights, newest first."""

    model_config = ConfigDict(frozen=True)

    runs: tuple[LineageRun, ...] = ()
    metrics: dict[str, float] = {}


def measurements(artifact: Artifact) -> Measurements:
    """What was measured of an artifact."""
    manifest = artifact.manifest
    return Measurements(
        model=manifest.name,
        version=manifest.version,
        manifest=artifact.digest,
        score_name=manifest.score_name,
        chosen=manifest.chosen,
        machine=manifest.machine,
        variants=manifest.variants,
        refused=manifest.refused,
        baselines=manifest.baselines,
        notes=manifest.notes,
    )


def provenance(manifest: Manifest) -> dict[str, Any]:
    """SLSA's predicate: parameters, everything that went in with its digest, and the builder."""
    source = manifest.provenance
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"spec": source.spec, "checkpoint": source.checkpoint, "config": source.config},
            "internalParameters": Lineage(runs=source.runs, metrics=source.metrics).model_dump(mode="json"),
            "resolvedDependencies": list(_dependencies(source)),
        },
        "runDetails": {
            "builder": {"id": f"{REPOSITORY}/build", "version": {"lading": source.packages.get("lading", __version__)}},
            "metadata": {"invocationId": source.run_id or "", "finishedOn": source.created},
        },
    }


def _dependencies(source: Provenance) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if source.git_commit:
        dirty = {"annotations": {"uncommittedChanges": True}} if source.git_dirty else {}
        found.append({"name": "source", "digest": {"gitCommit": source.git_commit}} | dirty)
    if source.data_fingerprint:
        found.append({"name": "data", "digest": {"ladingFingerprint": source.data_fingerprint}})
    weights = dict.fromkeys(run.weights for run in source.runs if run.weights)
    found += [{"name": "weights", "digest": {"sha256": digest}} for digest in weights]
    packages = sorted(source.packages.items())
    return found + [{"name": name, "uri": f"pkg:pypi/{name}@{version}"} for name, version in packages]


def attest_artifact(artifact: Artifact, key: EllipticCurvePrivateKey) -> None:
    """Write both statements next to the signature of an artifact."""
    attest(artifact.path, PROVENANCE, SLSA, provenance(artifact.manifest), key)
    attest(artifact.path, MEASUREMENTS, MEASURED, measurements(artifact).model_dump(mode="json"), key)


def measurements_json_schema() -> str:
    """The published JSON Schema of the measurements."""
    schema = Measurements.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["$id"] = MEASURED
    schema["title"] = "What Lading measured of a model"
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"
