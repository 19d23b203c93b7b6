"""Keys on disk: pairs of ECDSA keys as PEM, which OpenSSL and ``model_signing`` read too."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lading.errors import OccupiedError, SettingsError
from lading.errors.sentences import shown
from lading.files import open_flags, read_bounded

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import (
        EllipticCurve,
        EllipticCurvePrivateKey,
        EllipticCurvePublicKey,
    )
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

Curve = Literal["P-256", "P-384", "P-521"]
PASSPHRASE = "LADING_KEY_PASSPHRASE"
"""Environment variable with the passphrase of a private key."""
LARGEST = 100_000
"""Maximum bytes of a file of keys."""
_NAMES: dict[str, Curve] = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


def need_cryptography(why: str) -> None:
    """Refuse to go on without the package.

    Raises:
        SettingsError: it is not installed.
    """
    try:
        import cryptography  # noqa: F401
    except ModuleNotFoundError:
        raise SettingsError(f"{why} needs the package cryptography: pip install 'lading[serve]'") from None


def key_id(key: EllipticCurvePublicKey) -> str:
    """SHA-256 of the public key as PEM, in 64 hexadecimal digits: the hint in a bundle."""
    return hashlib.sha256(public_pem(key)).hexdigest()


def short(identity: str) -> str:
    """The beginning of a key id, for sentences. What a bundle gives for one may be any text."""
    return identity[:12] if re.fullmatch("[0-9a-f]{64}", identity) else shown(identity[:12])


def public_pem(key: EllipticCurvePublicKey) -> bytes:
    """A public key as PEM."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def hash_of(key: EllipticCurvePublicKey) -> HashAlgorithm:
    """The hash that goes with a key's curve, as the standard pairs them."""
    from cryptography.hazmat.primitives import hashes

    pairs: dict[str, HashAlgorithm] = {"P-256": hashes.SHA256(), "P-384": hashes.SHA384(), "P-521": hashes.SHA512()}
    return pairs[_NAMES[key.curve.name]]


def new_keys(private: Path, *, curve: Curve = "P-256", passphrase: str = "") -> tuple[Path, str]:
    """Write a new private key, for its owner alone to read, and its public key next to it.

    Args:
        private: file to create.
        curve: P-256, unless a rule asks for more.
        passphrase: encrypts the private key; empty: it is not encrypted.

    Returns:
        The file of the public key, which ends in ``.pub``, and the key's id.

    Raises:
        OccupiedError: one of the files exists.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    curves: dict[Curve, EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
    public = private.with_suffix(".pub")
    for file in (private, public):
        if file.exists() or file.is_symlink():
            raise OccupiedError(f"{file} exists, and a key that is lost cannot be made again: give another name")
    key = ec.generate_private_key(curves[curve])
    encryption = (
        serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    )
    content = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    private.parent.mkdir(parents=True, exist_ok=True)
    _write_new(private, content, 0o600)
    _write_new(public, public_pem(key.public_key()), 0o644)
    return public, key_id(key.public_key())


def _write_new(file: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(file, open_flags("O_WRONLY", "O_CREAT", "O_EXCL", "O_NOFOLLOW", "O_CLOEXEC"), mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)


def read_private_key(file: Path, ask: Callable[[], str]) -> EllipticCurvePrivateKey:
    """Read a private key.

    Args:
        file: PEM.
        ask: returns the passphrase; called only if the key is encrypted and ``LADING_KEY_PASSPHRASE`` is not set.

    Raises:
        SettingsError: it cannot be read, is no private key, is on a curve that the standard does not allow, or the
            passphrase is wrong. No message has a part of the key.
    """
    need_cryptography("signing")
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    content = _read(file)
    kinds = {match[1] for match in _BLOCK.finditer(content)}
    if not any(kind.endswith(b"PRIVATE KEY") for kind in kinds):
        raise SettingsError(f"{file} has no private key as PEM: make one with `lading keys new`")
    encrypted = b"ENCRYPTED PRIVATE KEY" in kinds or b"Proc-Type: 4,ENCRYPTED" in content
    passphrase = (os.environ.get(PASSPHRASE) or ask()).encode() if encrypted else None
    try:
        key = load_pem_private_key(content, passphrase)
    except Exception:  # the library's message may speak of the key's numbers
        why = "the passphrase does not open it" if encrypted else "it is not a key that can be read"
        raise SettingsError(f"the private key {file} cannot be used: {why}") from None
    _check_curve(file, key)
    return key  # type: ignore[return-value]


def read_public_keys(file: Path) -> list[EllipticCurvePublicKey]:
    """Read the public keys of a file: one or several, as PEM.

    Raises:
        SettingsError: it cannot be read, has no public key, has a private one, or one on another curve.
    """
    need_cryptography("checking a signature")
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    blocks = [(match[1], match[0]) for match in _BLOCK.finditer(_read(file))]
    if any(kind.endswith(b"PRIVATE KEY") for kind, _ in blocks):
        raise SettingsError(f"{file} has a private key, which only the signer may have: give the public key (.pub)")
    if not blocks:
        raise SettingsError(f"{file} has no public key as PEM: give the .pub file of `lading keys new`")
    keys = []
    for _, block in blocks:
        try:
            key = load_pem_public_key(block + b"\n")
        except Exception:
            raise SettingsError(f"a public key in {file} cannot be read: give ECDSA keys as PEM") from None
        _check_curve(file, key)
        keys.append(key)
    return keys  # type: ignore[return-value]


def _check_curve(file: Path, key: Any) -> None:
    curve = getattr(getattr(key, "curve", None), "name", None)
    if curve not in _NAMES:
        raise SettingsError(
            f"the key in {file} is {f'on the curve {curve}' if curve else 'not an ECDSA key'}, and model signing takes "
            f"{', '.join(_NAMES.values())}: make one with `lading keys new`"
        )


def _read(file: Path) -> bytes:
    try:
        return read_bounded(file, LARGEST)
    except OSError as error:
        raise SettingsError(f"the key file {file} cannot be read: {error.strerror}") from None
