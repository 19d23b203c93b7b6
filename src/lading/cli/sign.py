"""Commands that sign an artifact, and check who signed it."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lading.cli.terminal import console
from lading.errors import SettingsError
from lading.signing.keys import PASSPHRASE, Curve

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

SigningKey = Annotated[
    Path | None,
    typer.Option(
        "--sign-key",
        envvar="LADING_SIGNING_KEY",
        help="private key as PEM that signs the artifact, as `lading sign` does; default: it is not signed",
    ),
]

keys = typer.Typer(name="keys", no_args_is_help=True, help="Make keys to sign artifacts with, and show those trusted.")


@keys.command()
def new(
    file: Annotated[
        Path, typer.Argument(help="private key to write, release.pem for example; the public one is release.pub")
    ],
    curve: Annotated[Curve, typer.Option(help="elliptic curve")] = "P-256",
    passphrase: Annotated[
        bool, typer.Option("--passphrase", help=f"encrypt it with a passphrase; asked for unless {PASSPHRASE} is set")
    ] = False,
) -> None:
    """Make a pair of keys: a private one that only its owner can read, and a public one for servers.

    Example: `lading keys new release.pem`
    """
    from lading.signing.keys import need_cryptography, new_keys

    need_cryptography("making keys")
    secret = os.environ.get(PASSPHRASE, "")
    if passphrase and not secret:
        secret = _ask(file, twice=True)
    public, identity = new_keys(file, curve=curve, passphrase=secret)
    console().print(f"private key: {file} ({'encrypted' if secret else 'not encrypted'})", soft_wrap=True)
    console().print(f"public key: {public}, id {identity}", soft_wrap=True)


@keys.command()
def show(
    places: Annotated[
        list[Path] | None,
        typer.Argument(help="public keys, or folders of them with a policy.txt; default: those of LADING_TRUSTED_KEYS"),
    ] = None,
) -> None:
    """Show the keys that a server would trust: id, file, and last day.

    Example: `lading keys show release.pub`
    """
    from lading.signing.trusted_keys import TrustedKeys

    for identity, key in TrustedKeys(_places(places)).keys.items():
        end = "does not expire" if key.expires == math.inf else f"until {key.last_day}"
        console().print(f"{identity}  {key.file}  {end}", soft_wrap=True, highlight=False)


def sign(
    artifact: Annotated[Path, typer.Argument(help="artifact folder, for example artifacts/cards")],
    key: Annotated[Path, typer.Option(help="private key as PEM", envvar="LADING_SIGNING_KEY")],
) -> None:
    """Sign an artifact in the form of OpenSSF Model Signing: writes model.sig into it.

    The passphrase of an encrypted key is asked for, or read from LADING_KEY_PASSPHRASE.

    Example: `lading sign artifacts/cards --key release.pem`
    """
    sign_artifact(artifact, signing_key(key))


def sign_artifact(artifact: Path, key: EllipticCurvePrivateKey | None) -> None:
    """Sign an artifact whose checksums hold, and say so; with no key, do nothing.

    Raises:
        ArtifactError: they do not.
    """
    if key is None:
        return
    from lading.artifact import Artifact
    from lading.artifact.statements import attest_artifact
    from lading.signing.keys import key_id
    from lading.signing.sign import sign_folder

    loaded = Artifact.load(artifact, trusted=())
    file = sign_folder(artifact, key)
    attest_artifact(loaded, key)
    console().print(f"signature: {file}, by key {key_id(key.public_key())}", soft_wrap=True)


def signing_key(file: Path | None) -> EllipticCurvePrivateKey | None:
    """The private key of a file; ``None`` where none is named. A build reads it before it takes minutes.

    Raises:
        SettingsError: it cannot be used.
    """
    from lading.signing.keys import read_private_key

    return None if file is None else read_private_key(file, lambda: _ask(file))


def verify_signature(
    artifact: Annotated[Path, typer.Argument(help="artifact folder, for example artifacts/cards")],
    key: Annotated[
        list[Path] | None,
        typer.Option(help="public key, or folder of them with a policy.txt; default: those of LADING_TRUSTED_KEYS"),
    ] = None,
) -> None:
    """Check that a trusted key signed an artifact as it is.

    Example: `lading verify-signature artifacts/cards --key release.pub`
    """
    from lading.artifact import Artifact

    loaded = Artifact.load(artifact, _places(key))
    console().print(f"{artifact} is signed by key {loaded.signed_by}, as it is", soft_wrap=True)


def _places(given: list[Path] | None) -> tuple[Path, ...]:
    from lading.signing.trusted_keys import trusted_paths

    places = tuple(given or trusted_paths())
    if not places:
        raise SettingsError("no key is named: give a file such as release.pub, or set LADING_TRUSTED_KEYS")
    return places


def _ask(file: Path, *, twice: bool = False) -> str:
    if not sys.stdin.isatty():
        raise SettingsError(f"the passphrase of {file} cannot be asked for here: set {PASSPHRASE}")
    return str(typer.prompt(f"passphrase of {file}", hide_input=True, confirmation_prompt=twice))
