"""What a signature covers: every file of a folder, but the signature itself and what git keeps."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from lading.errors import UntrustedError
from lading.errors.sentences import shown
from lading.signing import ATTESTATIONS, SIGNATURE

IGNORED = (SIGNATURE, ".git", ".gitattributes", ".github", ".gitignore")
"""Paths that no signature covers, as ``model_signing`` leaves them out. Of a folder, all that is in it."""
LEFT_OUT = (*IGNORED, ATTESTATIONS)
"""Paths that our signatures do not cover, and say so."""


def signed_files(folder: Path, ignored: Collection[str] = LEFT_OUT) -> Iterator[str]:
    """The paths of all files, with slashes, in the order of each folder's names.

    Raises:
        UntrustedError: a file is a link, or is neither a file nor a folder.
    """
    return _files(folder, "", frozenset(PurePosixPath(path).as_posix() for path in ignored))


def _files(folder: Path, prefix: str, ignored: frozenset[str]) -> Iterator[str]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        name = f"{prefix}{entry.name}"
        if entry.is_symlink():
            raise UntrustedError(
                f"{folder / entry.name} is a symbolic link, and a signature covers files only: put the file in its "
                "place",
                "altered",
            )
        if name in ignored:
            continue
        if entry.is_dir():
            yield from _files(folder / entry.name, f"{name}/", ignored)
        elif entry.is_file():
            yield name
        else:
            raise UntrustedError(f"{folder / entry.name} is neither a file nor a folder: remove it", "altered")


def file_digest(file: Path) -> str:
    """SHA-256 of a file's content, as 64 hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def compare(folder: Path, signed: dict[str, str], ignored: Collection[str], signer: str) -> None:
    """Refuse a folder whose files are not those that were signed.

    The names are compared first, so that a folder with other files costs no reading.

    Args:
        folder: the folder.
        signed: SHA-256 by path.
        ignored: paths that the signature does not cover.
        signer: key that signed, for the sentence.

    Raises:
        UntrustedError: a file was added, removed, renamed or changed.
    """
    missing = set(signed)
    for name in signed_files(folder, ignored):
        if name not in signed:
            raise UntrustedError(
                f"{folder} has the file {shown(name)}, which key {signer} did not sign: it was added or renamed after "
                "signing; remove it, or sign again",
                "altered",
            )
        missing.remove(name)
    if missing:
        raise UntrustedError(
            f"{folder} lacks the file {shown(min(missing))}, which key {signer} signed: copy the artifact again",
            "altered",
        )
    for name, digest in signed.items():
        if file_digest(folder / name) != digest:
            raise UntrustedError(
                f"{folder / name} is not the file that key {signer} signed: it was changed after signing; copy the "
                "artifact again",
                "altered",
            )
