"""Bring an artifact from a bucket, a web server, a registry or a folder: whole and of one digest, or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from lading.artifact import MANIFEST, Artifact, read_manifest
from lading.deploy.sources import Folder, Source
from lading.errors import ArtifactError, FetchError
from lading.files import replaced_folder, shown

LARGEST_MANIFEST = 16 * 1024 * 1024
"""Bytes; the digest is known only after the whole manifest was read."""
BUCKETS = ("gs", "s3", "az", "https", "http")


def fetch(uri: str, digest: str, out: Path) -> Artifact:
    """Copy an artifact beside ``out``, verify it, and move the whole into place.

    The manifest is read first and has to have the digest; it lists every other file with its checksum, so nothing that
    lies at the source besides is ever asked for.

    Args:
        uri: a folder as ``gs://``, ``s3://``, ``az://``, ``https://`` or a path; or ``oci://REGISTRY/NAME:TAG``.
        digest: ``sha256:`` and 64 hexadecimal digits, as ``lading inspect`` shows it.
        out: the folder to make. One that holds this artifact already is left as it is.

    Raises:
        FetchError: the source cannot be read.
        ArtifactError: what lies there is another artifact, or torn.
    """
    if (out / MANIFEST).is_file() and _digest((out / MANIFEST).read_bytes()) == digest:
        return Artifact.load(out)
    source = open_source(uri)
    manifest = b"".join(_at_most(source.read(MANIFEST), LARGEST_MANIFEST, shown(uri)))
    if _digest(manifest) != digest:
        raise ArtifactError(f"{shown(uri)} has the digest {_digest(manifest)}, and {digest} was asked for")
    with replaced_folder(out) as staging:
        (staging / MANIFEST).write_bytes(manifest)
        for name in read_manifest(staging / MANIFEST, manifest).files:
            target = staging / _inside(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                file.writelines(source.read(name))
        Artifact.load(staging)
    return Artifact.load(out)


def open_source(uri: str) -> Source:
    """The source that a URI names.

    Raises:
        FetchError: no such kind of source, or the URI is not whole.
    """
    scheme = urlsplit(uri).scheme
    if scheme == "oci":
        from lading.deploy.sources import Registry

        return Registry(uri)
    if scheme in BUCKETS:
        from lading.deploy.sources import Bucket

        return Bucket(uri)
    if scheme in ("", "file"):
        return Folder(Path(urlsplit(uri).path))
    raise FetchError(f"{scheme}:// is not a place to fetch from: use {', '.join(BUCKETS)}, oci or a path")


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _at_most(chunks: Iterator[bytes], limit: int, where: str) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise FetchError(f"{where}: {MANIFEST} has more than {limit} bytes: it is no manifest")
        yield chunk


def _inside(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ArtifactError(f"{MANIFEST} names {name!r}, which lies outside the artifact: it was edited")
    return path
