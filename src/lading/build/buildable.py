"""What a command line may name to be deployed: a model, an ONNX file or an artifact, and the command that packs it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lading.artifact import MANIFEST, Artifact
from lading.build.own_source import source_files
from lading.import_string import load_spec
from lading.spec import ModelSpec


@dataclass(frozen=True)
class Buildable:
    """The artifact of a model, and how it is made."""

    model: str
    """The model's name."""
    artifact: Path
    """Its folder, which may not be there yet."""
    command: tuple[str, ...] = ()
    """What makes the folder; empty for a folder that was named itself."""
    stale: str | None = None
    """Why the command has to run; ``None``: the folder is up to date."""


def find_buildable(target: str) -> Buildable:
    """Read ``models/cards.py:Cards``, ``model.onnx`` or ``artifacts/cards``.

    An artifact is stale when a file that it was made from is newer, as in make: the model's file, what it imports of
    the user's own files, and its checkpoints.

    Raises:
        ArtifactError: a folder is named that is no artifact.
        SpecError: the model cannot be imported.
    """
    path = Path(target)
    if path.is_dir() or path.name == MANIFEST:
        folder = path if path.is_dir() else path.parent
        return Buildable(Artifact.load(folder).manifest.name, folder)
    if target.lower().endswith(".onnx"):
        out = Path("artifacts") / path.stem
        return Buildable(path.stem, out, ("lading", "pack", target), _stale(out, [path]))
    spec = load_spec(target)
    out = Path("artifacts") / spec.name
    return Buildable(spec.name, out, ("lading", "build", target), _stale(out, _files_of(spec)))


def _files_of(spec: ModelSpec) -> list[Path]:
    checkpoints = [spec.checkpoint(share) for share in {0.0, *(variant.pruning for variant in spec.variants)}]
    return [*source_files(spec).values(), *checkpoints]


def _stale(artifact: Path, made_of: Iterable[Path]) -> str | None:
    manifest = artifact / MANIFEST
    if not manifest.is_file():
        return f"there is no {artifact}"
    made = manifest.stat().st_mtime
    newer = sorted(str(file) for file in made_of if file.is_file() and file.stat().st_mtime > made)
    return f"{newer[0]} is newer than {artifact}" if newer else None
