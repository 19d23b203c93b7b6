"""The artifact: a folder whose files match their checksums.

::

    cards/
      lading.json            the manifest (schema: docs/lading.schema.json)
      variants/<name>.onnx   one self-contained graph per variant
      golden/inputs.npz      a few real requests, batched
      golden/<variant>.npz   the answers of each variant to them
      reference.json         statistics of normal traffic, for drift detection
      tokenizer.json         of a model that takes text
      model.sig              who signed all of it, if anyone did (lading.signing)
      attestations/          signed statements about it: where it came from, and what was measured
"""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from lading.artifact.external_data import external_files
from lading.artifact.manifest import SCHEMA_VERSION, Manifest, PackedVariant
from lading.content import check_contents, content_type
from lading.errors import ArtifactError, SpecError, UntrustedError
from lading.errors.sentences import shown
from lading.files import check_own, read_bounded, replaced_folder
from lading.signing import MEASUREMENTS, PROVENANCE, SIGNATURE
from lading.signing.folder import file_digest
from lading.signing.sign import check_folder
from lading.signing.trusted_keys import TrustedKeys, trusted_paths
from lading.spec import Array

MANIFEST = "lading.json"
LARGEST_MANIFEST = 16 * 1024 * 1024


@dataclass(frozen=True)
class Artifact:
    """A verified artifact folder. :meth:`load` makes one."""

    path: Path
    manifest: Manifest
    digest: str
    """``sha256:`` and the hash of ``lading.json``, which contains the hash of every other file."""
    signed_by: str = ""
    """Id of the trusted key that signed it; empty where no keys are set to trust, so that nobody looked."""
    refused: UntrustedError | None = None
    """Why no file of it may be used; its manifest is what it says of itself."""

    @classmethod
    def load(cls, path: Path | str, trusted: Sequence[Path] | None = None) -> Artifact:
        """Read and verify an artifact folder. Whatever uses an artifact opens it with this.

        Args:
            path: the folder.
            trusted: files and folders of keys, one of which must have signed it; empty: it need not be signed; not
                given: those of ``LADING_TRUSTED_KEYS``.

        Raises:
            ArtifactError: the folder is missing, incomplete, edited, or of a newer schema; the message names the file.
            UntrustedError: no trusted key signed it as it is.
            SettingsError: the keys cannot be used.
        """
        path = Path(path)
        places = trusted_paths() if trusted is None else trusted
        keys = TrustedKeys(places) if places else None
        content = _manifest_bytes(path)
        verified = check_folder(path, keys, MANIFEST) if keys is not None else None
        digest = hashlib.sha256(content).hexdigest()
        if verified is not None and verified.files[MANIFEST] != digest:
            raise UntrustedError(f"{path / MANIFEST} was changed while it was read: load it again", "altered")
        manifest = read_manifest(path / MANIFEST, content)
        _verify_files(path, manifest, verified.files if verified else {})
        _open_files(path, manifest)
        return cls(path, manifest, f"sha256:{digest}", signed_by=verified.key if verified else "")

    @classmethod
    def untrusted(cls, path: Path, refused: UntrustedError) -> Artifact:
        """What an artifact that was refused says of itself, for showing that it is not served. No file of it opens.

        Raises:
            ArtifactError: its manifest cannot be read.
        """
        content = _manifest_bytes(path)
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        return cls(path, read_manifest(path / MANIFEST, content), digest, refused=refused)

    def file(self, name: str) -> Path:
        """The path of one of its files.

        Raises:
            UntrustedError: the artifact was refused.
        """
        if self.refused is not None:
            raise self.refused
        return self.path / name

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
        return self.file(self.variant(variant).file)

    def golden_inputs(self) -> dict[str, Array]:
        return read_tensors(self.file("golden/inputs.npz"))

    def golden_outputs(self, variant: str | None = None) -> dict[str, Array]:
        return read_tensors(self.file(f"golden/{self.variant(variant).variant.name}.npz"))

    def reference_json(self) -> bytes:
        """The bytes that ``lading.drift.reference.Reference`` reads."""
        return self.file("reference.json").read_bytes()


_CHECKPOINTS = (".pt", ".pth", ".ckpt", ".safetensors", ".bin", ".pkl", ".pickle", ".joblib", ".npz")
_OTHER_GRAPHS = (".h5", ".hdf5", ".keras", ".tflite", ".pb", ".mlmodel", ".engine", ".plan", ".torchscript")
_OTHER_FOLDERS = ("saved_model.pb", "config.json", "config.pbtxt", "MLmodel")
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.zst")


def made_from(file: str) -> str | None:
    """How to make an artifact from a file that other tools write: a clause; ``None`` for an unknown suffix."""
    name = file.lower()
    whole = {".onnx": "an ONNX file", ".pt2": "a program of torch.export"}.get(Path(name).suffix)
    if whole:
        return f"it is {whole}; `lading pack {file}` makes an artifact from it"
    if name.endswith(_CHECKPOINTS):
        return (
            "it holds weights and no graph; write a model file (`lading init`), then "
            f"`lading build model.py:Class --checkpoint {file}`"
        )
    if name.endswith(_OTHER_GRAPHS):
        return "it is a model of another format; export it to ONNX, then `lading pack FILE.onnx`"
    if name.endswith(_ARCHIVES):
        return "it is an archive; unpack it, and give the folder with its lading.json"
    if name.endswith(".py") or ".py:" in name:
        return f"it is a model's source; `lading build {file if ':' in file else f'{file}:Class'}` makes an artifact"
    return None


def instead_of_artifact(path: Path) -> str:
    """What a path without a manifest is, and what to do: a clause."""
    scheme, separator, rest = str(path).partition(":/")
    if separator and scheme.isalnum():  # pathlib makes one slash of two
        return f"it is an address; `lading fetch {scheme}://{rest.lstrip('/')}` copies an artifact to this machine"
    if path.name == MANIFEST:
        return f"give its folder, {path.parent}" if path.is_file() else "there is no such file"
    if not path.is_dir():
        return (
            made_from(str(path))
            or ("it is a file, and an artifact is a folder" if path.exists() else "there is no such folder")
            + "; `lading build` makes an artifact"
        )
    nested = sorted(file.parent.name for file in path.glob(f"*/{MANIFEST}"))
    graphs = sorted([*path.glob("*.onnx"), *path.glob("*/*.onnx")])
    others = [name for name in _OTHER_FOLDERS if (path / name).is_file()]
    advice = (
        *(f"its subfolder {name!r} has one; give {path / name}" for name in nested),
        *(f"`lading pack {graph}` makes an artifact from its ONNX file" for graph in graphs),
        *(f"{name} is of another tool; export the model to ONNX, then `lading pack FILE.onnx`" for name in others),
        "`lading build` makes an artifact",
    )
    return f"it has no {MANIFEST}; {advice[0]}"


@contextmanager
def replaced_artifact(path: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; it takes the place of ``path`` when the block ends without an error.

    Raises:
        OccupiedError: see :func:`check_place`.
        OSError: ``path`` is a file, or the folder cannot be made or moved. Errors in the block pass through.
    """
    check_place(path)
    with replaced_folder(path) as staging:
        yield staging


def check_place(path: Path) -> None:
    """Refuse a place for an artifact where another artifact is not all that would be lost.

    Raises:
        OccupiedError: the folder holds files that its ``lading.json`` does not list, or it has none.
    """
    try:
        listed = json.loads(read_bounded(path / MANIFEST, LARGEST_MANIFEST))["files"]
        own = {MANIFEST, SIGNATURE, PROVENANCE, MEASUREMENTS, *listed}  # of any version of the schema
    except (OSError, ValueError, TypeError, KeyError):
        own = set()
    check_own(path, own)


def write_artifact(path: Path, manifest: Manifest, files: Mapping[str, bytes | Path]) -> Artifact:
    """Write all files and the manifest into a temporary folder, then move it to ``path``.

    Args:
        path: the folder to create or replace.
        manifest: the manifest; its ``files`` are filled in here.
        files: the content, or a file to copy, by path inside the artifact.

    Returns:
        The artifact, read back and verified.

    Raises:
        OccupiedError: see :func:`check_place`.
    """
    with replaced_artifact(path) as staging:
        digests = {}
        for name, content in sorted(files.items()):
            target = staging / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copyfile(content, target)
            else:
                target.write_bytes(content)
            digests[name] = file_digest(target)
        filled = manifest.model_copy(update={"files": digests})
        (staging / MANIFEST).write_text(filled.model_dump_json(indent=2) + "\n")
        Artifact.load(staging, trusted=())
    return Artifact.load(path, trusted=())


def tensors_to_bytes(tensors: Mapping[str, Array]) -> bytes:
    """Serialise arrays by name as an uncompressed ``.npz``.

    Raises:
        ArtifactError: a string ends with U+0000, which numpy's strings lose.
    """
    buffer = io.BytesIO()
    # Not np.savez: a tensor named "file" or "allow_pickle" would clash with its own arguments.
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in tensors.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                written = np.asanyarray(array)
                written = _strings(name, written) if written.dtype.kind == "O" else written
                np.lib.format.write_array(entry, written, allow_pickle=False)
    return buffer.getvalue()


def _strings(name: str, array: Array) -> Array:
    written = array.astype(np.str_)
    if (written.astype(object) != array).any():
        raise ArtifactError(
            f"a string of {name!r} ends with the character U+0000, which is lost in a file: leave it out"
        )
    return written


def read_tensors(file: Path) -> dict[str, Array]:
    """Read arrays by name from an ``.npz``; pickled objects are refused. Strings become arrays of objects.

    Raises:
        ArtifactError: the file is missing or corrupt.
    """
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
            return {name: array.astype(object) if array.dtype.kind == "U" else array for name, array in arrays.items()}
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ArtifactError(f"{file} cannot be read: {error}") from error


def _manifest_bytes(path: Path) -> bytes:
    file = path / MANIFEST
    if not file.is_file():
        raise ArtifactError(f"{path} is not an artifact: {instead_of_artifact(path)}")
    return file.read_bytes()


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
        check_contents(manifest.inputs, manifest.outputs)
    except SpecError as error:
        raise ArtifactError(f"{file}: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ArtifactError(f"{file} is not valid at {place!r}: {first['msg']}") from None
    return manifest


def _verify_files(path: Path, manifest: Manifest, hashed: Mapping[str, str]) -> None:
    """Compare every file with its checksum; those that were ``hashed`` for the signature are not read again."""
    named = {packed.file for packed in manifest.variants}
    named |= {f"golden/{packed.variant.name}.npz" for packed in manifest.variants}
    named |= {"golden/inputs.npz", "reference.json"}
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
        if (hashed.get(name) or file_digest(file)) != expected:
            raise ArtifactError(f"{file} does not match its checksum in {MANIFEST}: it was edited or damaged")
    for packed in manifest.variants:
        _verify_external_files(path, packed.file, manifest)


def _open_files(path: Path, manifest: Manifest) -> None:
    """Let the contents of inputs find their files, such as a tokenizer."""
    files = {f"sha256:{digest}": path / name for name, digest in manifest.files.items()}
    for spec in manifest.inputs:
        if spec.content is not None:
            try:
                content_type(spec.content).open_file(spec, files)
            except SpecError as error:
                raise ArtifactError(f"{path / MANIFEST}: input {spec.name!r}: {error}") from None


def _verify_external_files(path: Path, graph: str, manifest: Manifest) -> None:
    """Refuse a graph that reads weights from a file whose checksum was not verified."""
    folder = posixpath.dirname(graph)
    for location in external_files(path / graph):
        name = posixpath.normpath(posixpath.join(folder, location))
        if posixpath.isabs(location) or posixpath.relpath(name, folder or ".").startswith(".."):
            raise ArtifactError(f"{path / graph} reads weights from {shown(location)}, which is outside its folder")
        if name not in manifest.files:
            raise ArtifactError(
                f"{path / graph} reads weights from {shown(location)}, and {path / MANIFEST} lists no checksum for it: "
                "save the graph with its weights inside, and pack it again"
            )
