"""Copy an artifact from a bucket, web server, registry or folder: whole and with the right digest, or not at all."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from lading.artifact import LARGEST_MANIFEST, MANIFEST, Artifact, check_place, read_manifest, replaced_artifact
from lading.deploy.sources import ArtifactSource, FolderSource
from lading.errors import ArtifactError, FetchError, SettingsError, UntrustedError
from lading.files import shown
from lading.signing import MEASUREMENTS, PROVENANCE, SIGNATURE
from lading.signing.sign import LARGEST as LARGEST_SIGNATURE
from lading.signing.trusted_keys import trusted_paths

"""Bytes. The manifest is read whole before its digest is known."""
BUCKETS = ("gs", "s3", "az", "https", "http")


def fetch(uri: str, digest: str, out: Path) -> Artifact:
    """Copy an artifact to a folder next to ``out``, verify it, and move it into place.

    The manifest is read first and must have the digest. It lists the other files with their checksums; nothing else is
    read from the source but the signature, where there is one. ``LADING_TRUSTED_KEYS`` says who must have signed it.

    Args:
        uri: a folder as ``gs://``, ``s3://``, ``az://``, ``https://`` or a path; or ``oci://REGISTRY/NAME:TAG``.
        digest: ``sha256:`` and 64 hexadecimal digits, as ``lading inspect`` shows it.
        out: the folder to create. A folder that already holds this artifact is left as it is.

    Raises:
        FetchError: the source cannot be read.
        ArtifactError: it is another artifact, or a corrupt one.
        UntrustedError: no trusted key signed it.
        OccupiedError: ``out`` holds what is not an artifact's.
        SettingsError: the digest is none.
    """
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise SettingsError(
            f"the digest {digest[:80]!r} is not sha256: and 64 hexadecimal digits, as `lading inspect` shows it"
        )
    if (out / MANIFEST).is_file() and _digest((out / MANIFEST).read_bytes()) == digest:
        with suppress(UntrustedError):  # it may have been signed since
            return Artifact.load(out)
    check_place(out)
    source = open_source(uri)
    manifest = b"".join(_at_most(source.read(MANIFEST), LARGEST_MANIFEST, f"{shown(uri)}: {MANIFEST}"))
    if _digest(manifest) != digest:
        raise ArtifactError(f"{shown(uri)} has the digest {_digest(manifest)}, but {digest} is required")
    with replaced_artifact(out) as staging:
        (staging / MANIFEST).write_bytes(manifest)
        for name in read_manifest(staging / MANIFEST, manifest).files:
            target = staging / _inside(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                file.writelines(source.read(name))
        _fetch_signed(source, staging)
        Artifact.load(staging)
    return Artifact.load(out)


def open_source(uri: str) -> ArtifactSource:
    """The source that a URI names.

    Raises:
        FetchError: the scheme is unknown, or the URI is incomplete.
    """
    scheme = urlsplit(uri).scheme
    if scheme == "oci":
        from lading.deploy.sources import RegistrySource

        return RegistrySource(uri)
    if scheme in BUCKETS:
        from lading.deploy.sources import BucketSource

        return BucketSource(uri)
    if scheme in ("", "file"):
        return FolderSource(Path(urlsplit(uri).path))
    raise FetchError(f"{scheme}:// cannot be fetched from: use {', '.join(BUCKETS)}, oci or a path")


def _fetch_signed(source: ArtifactSource, staging: Path) -> None:
    """Copy the signature and the signed statements that are there.

    Raises:
        FetchError: the signature cannot be read, and keys are set to trust.
    """
    for name in (SIGNATURE, PROVENANCE, MEASUREMENTS):
        try:
            content = b"".join(_at_most(source.read(name), LARGEST_SIGNATURE, name))
        except FetchError:
            if name == SIGNATURE and trusted_paths():
                raise
            if name == SIGNATURE:
                return  # a bucket that does not list may deny what is not there
            continue
        (staging / name).parent.mkdir(exist_ok=True)
        (staging / name).write_bytes(content)


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _at_most(chunks: Iterator[bytes], limit: int, where: str) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise FetchError(f"{where} has more than {limit} bytes: it is not what its name says")
        yield chunk


def _inside(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ArtifactError(f"{MANIFEST} names {name!r}, which is outside the artifact: the manifest was edited")
    return path
