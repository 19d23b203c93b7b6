"""The artifact: a folder whose files match their checksums.

::

    cards/
      lading.json            the manifest (schema: docs/lading.schema.json)
      variants/<name>.onnx   one self-contained graph per variant
      golden/inputs.npz      a few real requests, batched
      golden/<variant>.npz   the answers of each variant to them
      reference.json         statistics of normal traffic, for drift detection
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from lading.content import check_contents
from lading.errors import ArtifactError, SpecError
from lading.files import replaced_folder
from lading.manifest import SCHEMA_VERSION, Manifest, PackedVariant
from lading.spec import Array

MANIFEST = "lading.json"


@dataclass(frozen=True)
class Artifact:
    """A verified artifact folder. :meth:`load` makes one."""

    path: Path
    manifest: Manifest
    digest: str
    """``sha256:`` and the hash of ``lading.json``, which contains the hash of every other file."""

    @classmethod
    def load(cls, path: Path | str) -> Artifact:
        """Read and verify an artifact folder.

        Raises:
            ArtifactError: the folder is missing, incomplete, edited, or of a newer schema; the message names the file.
        """
        path = Path(path)
        manifest_file = path / MANIFEST
        if not manifest_file.is_file():
            raise ArtifactError(f"{path} is not an artifact: it has no {MANIFEST}; `lading build` makes one")
        content = manifest_file.read_bytes()
        manifest = read_manifest(manifest_file, content)
        _verify_files(path, manifest)
        return cls(path=path, manifest=manifest, digest=f"sha256:{hashlib.sha256(content).hexdigest()}")

    def variant(self, name: str | None = None) -> PackedVariant:
        """Return the variant with this name, or the chosen one.

        Raises:
            ArtifactError: no variant has this name.
        """
        wanted = name or self.manifest.chosen
        for packed in self.manifest.variants:
            if packed.variant.name == wanted:
                return packed
        names = ", ".join(packed.variant.name for packed in self.manifest.variants)
        raise ArtifactError(f"{self.path} has no variant {wanted!r}; it has: {names}")

    def onnx_file(self, variant: str | None = None) -> Path:
        return self.path / self.variant(variant).file

    def golden_inputs(self) -> dict[str, Array]:
        return read_tensors(self.path / "golden" / "inputs.npz")

    def golden_outputs(self, variant: str | None = None) -> dict[str, Array]:
        return read_tensors(self.path / "golden" / f"{self.variant(variant).variant.name}.npz")

    def reference_json(self) -> bytes:
        """The bytes that ``lading.drift.reference.Reference`` reads."""
        return (self.path / "reference.json").read_bytes()


def write_artifact(path: Path, manifest: Manifest, files: Mapping[str, bytes | Path]) -> Artifact:
    """Write all files and the manifest into a temporary folder, then move it to ``path``.

    Args:
        path: the folder to create or replace.
        manifest: the manifest; its ``files`` are filled in here.
        files: the content, or a file to copy, by path inside the artifact.

    Returns:
        The artifact, read back and verified.
    """
    with replaced_folder(path) as staging:
        digests = {}
        for name, content in sorted(files.items()):
            target = staging / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copyfile(content, target)
            else:
                target.write_bytes(content)
            digests[name] = _sha256(target)
        filled = manifest.model_copy(update={"files": digests})
        (staging / MANIFEST).write_text(filled.model_dump_json(indent=2) + "\n")
        Artifact.load(staging)
    return Artifact.load(path)


def tensors_to_bytes(tensors: Mapping[str, Array]) -> bytes:
    """Serialise arrays by name as an uncompressed ``.npz``."""
    buffer = io.BytesIO()
    # Not np.savez: a tensor named "file" or "allow_pickle" would clash with its own arguments.
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in tensors.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)
    return buffer.getvalue()


def read_tensors(file: Path) -> dict[str, Array]:
    """Read arrays by name from an ``.npz``; pickled objects are refused.

    Raises:
        ArtifactError: the file is missing or corrupt.
    """
    try:
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{file} cannot be read: {error}") from error


def read_manifest(file: Path, content: bytes) -> Manifest:
    """Parse a manifest.

    Raises:
        ArtifactError: it is corrupt, of a newer schema, or not valid; the message names the file.
    """
    try:
        raw = json.loads(content)
    except ValueError as error:
        raise ArtifactError(f"{file} is corrupt: {error}; build the artifact again") from None
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if not isinstance(version, int):
        raise ArtifactError(f"{file} has no schema_version: it was not written by lading")
    if version > SCHEMA_VERSION:
        raise ArtifactError(
            f"{file} has schema_version {version}; this version of lading reads up to {SCHEMA_VERSION}: upgrade lading"
        )
    try:
        manifest = Manifest.model_validate(raw)
        check_contents((*manifest.inputs, *manifest.outputs))
    except SpecError as error:
        raise ArtifactError(f"{file}: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ArtifactError(f"{file} is not valid at {place!r}: {first['msg']}") from None
    return manifest


def _verify_files(path: Path, manifest: Manifest) -> None:
    named = {packed.file for packed in manifest.variants}
    unlisted = sorted(named - manifest.files.keys())
    if unlisted:
        raise ArtifactError(f"{path / MANIFEST} lists no checksum for {unlisted[0]}: it was edited")
    root = path.resolve()
    for name, expected in manifest.files.items():
        file = path / name
        if not file.resolve().is_relative_to(root):
            raise ArtifactError(f"{path / MANIFEST} names {name!r}, which is outside the artifact: it was edited")
        if not file.is_file():
            raise ArtifactError(f"{file} is missing: the artifact is incomplete; copy or build it again")
        if _sha256(file) != expected:
            raise ArtifactError(f"{file} does not match its checksum in {MANIFEST}: it was edited or damaged")


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
