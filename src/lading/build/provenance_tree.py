"""The signed statements of an artifact as a tree for a terminal, from the artifact back to the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from rich.text import Text
from rich.tree import Tree

from lading.artifact import MANIFEST, Artifact
from lading.artifact.manifest import Provenance
from lading.artifact.statements import MEASURED, SLSA, Lineage, Measurements
from lading.build.verify.tables import DIGEST_LENGTH, machine_line, run_line
from lading.signing import SIGNATURE
from lading.signing.attestations import Attestation, read_attestations
from lading.signing.sign import signature_line
from lading.signing.trusted_keys import TrustedKeys, trusted_paths


def provenance_tree(artifact: Artifact) -> Tree:
    """Who signed the artifact, and every statement about it with its signer, or with why it is not to be believed."""
    manifest = artifact.manifest
    tree = Tree(Text(f"{manifest.name} {manifest.version}, {artifact.digest}"))
    tree.add(Text(f"signed by {signature_line(artifact.path, MANIFEST)}"))
    if not (artifact.path / SIGNATURE).is_file():
        tree.add(Text("no statement is signed: `lading sign` writes them"))
        return tree
    places = trusted_paths()
    found = read_attestations(artifact.path, TrustedKeys(places) if places else None)
    for one in found:
        _add(tree, one)
    if not found:
        tree.add(Text("it has no further statement: `lading sign` writes them"))
    return tree


def _add(tree: Tree, one: Attestation) -> None:
    titles = {SLSA: "provenance (SLSA v1)", MEASURED: "measurements"}
    said = one.doubt or f"key {one.key}, which is trusted"
    branch = tree.add(Text(f"{titles.get(one.kind, one.kind or one.file)}: {said}"))
    show = {SLSA: _provenance, MEASURED: _measurements}.get(one.kind)
    if show is None:
        return
    try:
        show(branch, one.predicate)
    except (ValidationError, LookupError, TypeError, AttributeError, RecursionError):
        branch.add(Text("its content is not what Lading writes"))


def _provenance(branch: Tree, predicate: dict[str, Any]) -> None:
    definition, details = predicate["buildDefinition"], predicate["runDetails"]
    lineage = Lineage.model_validate(definition["internalParameters"])
    finished = str(details["metadata"]["finishedOn"])
    versions = ", ".join(f"{name} {version}" for name, version in details["builder"]["version"].items())
    branch.add(Text(f"built by {details['builder']['id']} ({versions}), finished {finished}"))
    given = definition["externalParameters"]
    branch.add(Text(f"from the spec {given['spec'] or 'of a bare graph'}"))
    if given["checkpoint"]:
        branch.add(Text(f"from the checkpoint {given['checkpoint']}"))
    packages = []
    for one in definition["resolvedDependencies"]:
        digest = "".join(str(value)[:DIGEST_LENGTH] for value in one.get("digest", {}).values())
        if not digest:
            packages.append(str(one["uri"]).removeprefix("pkg:pypi/"))
            continue
        dirty = " with uncommitted changes" if one.get("annotations", {}).get("uncommittedChanges") else ""
        branch.add(Text(f"{one['name']} {digest}{dirty}"))
    if lineage.runs:
        source = Provenance(created=finished, runs=lineage.runs)
        _runs(branch.add("runs behind the weights"), source, [0], set())
    if packages:
        branch.add(Text(f"packages {', '.join(packages)}"))


def _runs(branch: Tree, source: Provenance, places: Sequence[int], shown: set[int]) -> None:
    """Add runs and, below each, those that it began with. A run that several began with is shown in full once."""
    for place in places:
        if not 0 <= place < len(source.runs):
            branch.add(Text(f"run {place}, which is not in the statement"))
        elif place in shown:
            branch.add(Text(f"run {place}, as above"))
        else:
            shown.add(place)
            own = branch.add(Text(f"run {place}: {run_line(source, place)}"))
            _runs(own, source, source.runs[place].parents, shown)


def _measurements(branch: Tree, predicate: dict[str, Any]) -> None:
    found = Measurements.model_validate(predicate)
    if found.machine is not None:
        branch.add(Text(f"on {machine_line(found.machine)}"))
    for packed in found.variants:
        verdict = "passed" if packed.passed else f"refused: {'; '.join(packed.reasons)}"
        own = branch.add(
            Text(f"{packed.variant.name}{', served' if packed.variant.name == found.chosen else ''}: {verdict}")
        )
        if packed.measurement is None:
            continue
        scores = ", ".join(f"{split} {score:.4g}" for split, score in packed.measurement.scores.items())
        if scores:
            own.add(Text(f"{found.score_name}: {scores}"))
        if (drop := packed.measurement.score_drop) is not None:
            own.add(Text(f"drop {drop.value:.4g}, from {drop.low:.4g} to {drop.high:.4g} with 95 %"))
        times = [f"T({one.batch}) {one.p50_ms:.3g} ms" for one in packed.measurement.timings if one.threads == 1]
        if times:
            own.add(Text(", ".join(times)))
    for refused in found.refused:
        branch.add(Text(f"{refused.variant.name}: refused: {'; '.join(refused.reasons)}"))
