"""Statements about a signed folder besides its signature: each is signed, and names the digest of what was signed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lading.errors import UntrustedError
from lading.files import read_bounded, write_atomically
from lading.signing import ATTESTATIONS, SIGNATURE
from lading.signing.bundle import read_bundle, write_bundle
from lading.signing.keys import short
from lading.signing.sign import LARGEST, require_signer
from lading.signing.statement import STATEMENT, read_statement, root_digest
from lading.signing.trusted_keys import TrustedKeys

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

MOST = 64
"""Maximum statements of a folder that are read."""


@dataclass(frozen=True)
class Attestation:
    """A statement that was read."""

    file: str
    kind: str
    """Its predicate's type; empty if it could not be read."""
    predicate: dict[str, Any]
    key: str
    """The beginning of the id of the key that it names."""
    doubt: str
    """Why it is not to be believed; empty if a trusted key signed it about this folder."""


def attest(folder: Path, name: str, kind: str, predicate: dict[str, Any], key: EllipticCurvePrivateKey) -> Path:
    """Sign a statement about a folder that has a signature.

    Args:
        folder: has ``model.sig``.
        name: the file to write, by its path in the folder.
        kind: type of the predicate, an address.
        predicate: what is said.
        key: signs it.
    """
    subject, root = _subject(folder)
    statement = {
        "_type": STATEMENT,
        "subject": [{"name": subject, "digest": {"sha256": root}}],
        "predicateType": kind,
        "predicate": predicate,
    }
    write_atomically(folder / name, write_bundle(json.dumps(statement).encode(), key))
    return folder / name


def read_attestations(folder: Path, trusted: TrustedKeys | None) -> list[Attestation]:
    """Every statement of a folder, by the names of their files.

    Args:
        folder: has ``model.sig``, which was checked if there are keys to trust.
        trusted: keys that may have signed them; ``None``: nobody is trusted, so each has a doubt.
    """
    files = sorted((folder / ATTESTATIONS).glob("*.json"))[:MOST]
    return [_read(folder, file, trusted) for file in files]


def _read(folder: Path, file: Path, trusted: TrustedKeys | None) -> Attestation:
    name = file.relative_to(folder).as_posix()
    try:
        bundle = read_bundle(read_bounded(file, LARGEST))
        statement = json.loads(bundle.payload)
        kind, predicate = str(statement["predicateType"]), dict(statement["predicate"])
        about = [str(one["digest"]["sha256"]) for one in statement["subject"]]
        root = _subject(folder)[1]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        return Attestation(name, "", {}, "", f"it cannot be read: {error}")
    doubt = "" if about == [root] else f"it is about another artifact than {SIGNATURE} is"
    try:
        if trusted is None:
            doubt = doubt or "its signature was not checked: LADING_TRUSTED_KEYS names no key"
        else:
            require_signer(bundle, trusted, file, file)
    except UntrustedError as error:
        doubt = str(error)
    return Attestation(name, kind, predicate, short(bundle.key), doubt)


def _subject(folder: Path) -> tuple[str, str]:
    """Name and digest of what ``model.sig`` signed.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    signed = read_statement(read_bundle(read_bounded(folder / SIGNATURE, LARGEST)).payload)
    return signed.name, root_digest(signed.files)
