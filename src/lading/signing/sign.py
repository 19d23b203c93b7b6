"""Signs a folder, and checks the signature of one."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lading.errors import UntrustedError
from lading.files import read_bounded, write_atomically
from lading.signing import SIGNATURE
from lading.signing.bundle import Bundle, read_bundle, write_bundle
from lading.signing.folder import compare, file_digest, signed_files
from lading.signing.keys import short
from lading.signing.statement import read_statement, root_digest, write_statement
from lading.signing.trusted_keys import TrustedKey, TrustedKeys, trusted_paths

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

LARGEST = 32 * 1024 * 1024
"""Maximum bytes of a signature."""


@dataclass(frozen=True)
class Verified:
    """A folder whose files are those that a trusted key signed."""

    key: str
    """The key's id."""
    file: str
    """Name of the file that the key is in."""
    root: str
    """SHA-256 over the digests of all files, in 64 hexadecimal digits."""
    files: dict[str, str]
    """SHA-256 by path."""


def sign_folder(folder: Path, key: EllipticCurvePrivateKey) -> Path:
    """Write ``model.sig`` into a folder, in place of the one that is there.

    Raises:
        UntrustedError: a file is a link, or is neither a file nor a folder.
    """
    name = folder.resolve().name
    files = {name: file_digest(folder / name) for name in signed_files(folder)}
    target = folder / SIGNATURE
    write_atomically(target, write_bundle(write_statement(name, files), key))
    return target


def check_folder(folder: Path, trusted: TrustedKeys, required: str) -> Verified:
    """Check that a trusted key signed the folder as it is. Nothing but hashes is made of its files.

    Args:
        folder: has the signature in it.
        trusted: keys that may have signed it.
        required: path of a file that must be signed, because it vouches for those that are used.

    Raises:
        UntrustedError: it is unsigned, altered, or signed by a key that is unknown or has expired.
    """
    file = folder / SIGNATURE
    try:
        content = read_bounded(file, LARGEST)
    except FileNotFoundError:
        raise UntrustedError(
            f"{folder} is not signed: it has no {SIGNATURE}. Trusted are the keys {trusted.ids()}; sign it with "
            "`lading sign`",
            "unsigned",
        ) from None
    except OSError as error:
        raise UntrustedError(f"{file} cannot be read: {error.strerror}", "altered") from None
    try:
        bundle = read_bundle(content)
    except ValueError as error:
        raise UntrustedError(f"{file} is not a signature that can be checked: {error}", "altered") from None
    known = require_signer(bundle, trusted, folder, file)
    signer = f"{short(bundle.key)} ({known.file})"
    try:
        signed = read_statement(bundle.payload)
    except ValueError as error:
        raise UntrustedError(f"{file}, by key {signer}, cannot be used: {error}", "altered") from None
    if required not in signed.files:
        raise UntrustedError(f"{file}, by key {signer}, does not cover {required}: sign the whole folder", "altered")
    try:
        compare(folder, signed.files, signed.ignored, signer)
    except OSError as error:
        unread = f"{error.filename} cannot be read to check its signature: {error.strerror}"
        raise UntrustedError(unread, "altered") from None
    return Verified(bundle.key, known.file, root_digest(signed.files), signed.files)


def require_signer(bundle: Bundle, trusted: TrustedKeys, what: Path, file: Path) -> TrustedKey:
    """The trusted key that made a bundle.

    Args:
        bundle: the bundle.
        trusted: keys that may have made it.
        what: what it is about, for sentences.
        file: where it stands.

    Raises:
        UntrustedError: its key is unknown or has expired, or did not make it.
    """
    known, signer = trusted.keys.get(bundle.key), short(bundle.key)
    if known is None:
        raise UntrustedError(
            f"{what} is signed by key {signer}, which is not trusted here. Trusted are the keys {trusted.ids()}",
            "unknown",
        )
    signer = f"{signer} ({known.file})"
    if time.time() >= known.expires:
        raise UntrustedError(
            f"{what} is signed by key {signer}, which expired at the end of {known.last_day}. Trusted are the keys "
            f"{trusted.ids()}; sign it again",
            "expired",
        )
    if not bundle.verify(known.key):
        raise UntrustedError(f"{file} was not made by key {signer}, which it names: it was altered", "altered")
    return known


def signature_line(folder: Path, required: str) -> str:
    """Who signed a folder, for a table; whether that holds where ``LADING_TRUSTED_KEYS`` says whom to trust."""
    if places := trusted_paths():
        try:
            found = check_folder(folder, TrustedKeys(places), required)
        except UntrustedError as error:
            return f"refused: {error}"
        return f"key {short(found.key)} ({found.file}), which is trusted"
    try:
        key = read_bundle(read_bounded(folder / SIGNATURE, LARGEST)).key
    except FileNotFoundError:
        return "by nobody"
    except (OSError, ValueError) as error:
        return f"{SIGNATURE} cannot be read: {error}"
    return f"key {short(key)}, which was not checked: LADING_TRUSTED_KEYS names no key"
