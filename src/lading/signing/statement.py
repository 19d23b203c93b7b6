"""The statement that is signed: in-toto v1 with the predicate of OpenSSF Model Signing v1."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from lading.signing.folder import IGNORED, LEFT_OUT

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://model_signing/signature/v1.0"


@dataclass(frozen=True)
class Signed:
    """What a statement says about a folder."""

    name: str
    """Of the folder when it was signed. It may be renamed."""
    files: dict[str, str]
    """SHA-256 by path."""
    ignored: tuple[str, ...]
    """Paths that it does not cover."""


def root_digest(files: Mapping[str, str]) -> str:
    """SHA-256 over the digests of all files, in the order of the mapping. It stands for the whole folder."""
    return hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in files.values())).hexdigest()


def in_order(files: Mapping[str, str]) -> dict[str, str]:
    """The files by the parts of their paths, which is the standard's order: ``a/b`` comes before ``a-b``."""
    return dict(sorted(files.items(), key=lambda item: PurePosixPath(item[0]).parts))


def write_statement(name: str, files: Mapping[str, str]) -> bytes:
    """The statement about a folder.

    Args:
        name: of the folder.
        files: SHA-256 by path.
    """
    ordered = in_order(files)
    return json.dumps(
        {
            "_type": STATEMENT,
            "subject": [{"name": name, "digest": {"sha256": root_digest(ordered)}}],
            "predicateType": PREDICATE,
            "predicate": {
                "serialization": {
                    "method": "files",
                    "hash_type": "sha256",
                    "allow_symlinks": False,
                    "ignore_paths": list(LEFT_OUT),
                },
                "resources": [
                    {"name": path, "algorithm": "sha256", "digest": digest} for path, digest in ordered.items()
                ],
            },
        }
    ).encode()


def read_statement(payload: bytes) -> Signed:
    """Read a statement whose signature was verified.

    Raises:
        ValueError: it is of another kind, or contradicts itself; the message is a clause.
    """
    try:
        statement = json.loads(payload)
        kind, predicate_kind = statement["_type"], statement["predicateType"]
        if (kind, predicate_kind) != (STATEMENT, PREDICATE):
            raise ValueError(f"it is a statement of {str(predicate_kind)[:80]!r}, and {PREDICATE!r} is wanted")
        if len(statement["subject"]) != 1:
            raise ValueError(f"it has {len(statement['subject'])} subjects, and one is wanted")
        subject = statement["subject"][0]
        predicate = statement["predicate"]
        serialization = predicate["serialization"]
        method = (serialization["method"], serialization["hash_type"])
        if method != ("files", "sha256"):
            raise ValueError(f"it has {' of '.join(map(str, method))[:80]}, and files of sha256 are wanted")
        files = {str(one["name"]): _digest(one) for one in predicate["resources"]}
        if len(files) != len(predicate["resources"]):
            raise ValueError("it names a file twice")
        if root_digest(files) != subject["digest"]["sha256"]:
            raise ValueError("its files do not have the digest of its subject")
        ignored = tuple(str(path) for path in serialization.get("ignore_paths", ()))
        return Signed(str(subject["name"]), files, tuple(dict.fromkeys((*ignored, *IGNORED))))
    except (LookupError, TypeError, AttributeError, RecursionError):
        raise ValueError("it is not a statement of model signing") from None


def _digest(resource: dict[str, Any]) -> str:
    digest = str(resource["digest"])
    if resource["algorithm"] != "sha256" or len(bytes.fromhex(digest)) != hashlib.sha256().digest_size:
        raise ValueError("a file of it has no digest of sha256")
    return digest.lower()
