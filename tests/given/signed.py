"""Signed artifacts, the ways to tamper with them, and the other program that reads signatures."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from lading.signing import SIGNATURE
from lading.signing.bundle import write_bundle
from lading.signing.keys import new_keys, read_private_key
from lading.signing.sign import sign_folder
from lading.signing.trusted_keys import POLICY


class Signer:
    """A pair of keys in a folder of its own, which a server can be told to trust."""

    def __init__(self, folder: Path, name: str = "release", **choices: Any) -> None:
        self.private = folder / f"{name}.pem"
        self.public, self.id = new_keys(self.private, **choices)
        self.trusted = folder / f"{name}-trusted"
        self.trusted.mkdir()
        shutil.copyfile(self.public, self.trusted / self.public.name)

    @property
    def key(self) -> ec.EllipticCurvePrivateKey:
        return read_private_key(self.private, lambda: "")

    def sign(self, folder: Path) -> Path:
        """Sign a folder, and return it."""
        sign_folder(folder, self.key)
        return folder

    def expire(self) -> None:
        """Let the trusted folder say that the key was good until yesterday."""
        yesterday = (datetime.now(UTC) - timedelta(days=1)).date()
        (self.trusted / POLICY).write_text(f"# rotated\n{self.public.name} expires={yesterday}\n")


def peer(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run ``python -m model_signing``, which shares no code with ours."""
    command = [sys.executable, "-m", "model_signing", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def peer_verifies(folder: Path, public: Path) -> subprocess.CompletedProcess[str]:
    return peer("verify", "key", "--public_key", public, "--signature", folder / SIGNATURE, folder)


def peer_signs(folder: Path, private: Path) -> Path:
    done = peer("sign", "key", "--private_key", private, "--signature", folder / SIGNATURE, folder)
    assert done.returncode == 0, done.stderr
    return folder


def change_bundle(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Edit the bundle as an attacker without the key could."""
    file = folder / SIGNATURE
    bundle = json.loads(file.read_text())
    change(bundle)
    file.write_text(json.dumps(bundle))


def change_statement(folder: Path, signer: Signer, change: Callable[[dict[str, Any]], object]) -> None:
    """Sign another statement with the right key."""
    file = folder / SIGNATURE
    statement = json.loads(base64.b64decode(json.loads(file.read_text())["dsseEnvelope"]["payload"]))
    change(statement)
    file.write_bytes(write_bundle(json.dumps(statement).encode(), signer.key))


def flip_a_bit(folder: Path, signer: Signer) -> None:
    file = folder / "variants/fp32.onnx"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def add_a_file(folder: Path, signer: Signer) -> None:
    (folder / "variants/more.onnx").write_bytes(b"more")


def remove_a_file(folder: Path, signer: Signer) -> None:
    (folder / "reference.json").unlink()


def rename_a_file(folder: Path, signer: Signer) -> None:
    (folder / "reference.json").rename(folder / "references.json")


def swap_two_files(folder: Path, signer: Signer) -> None:
    one, other = folder / "golden/fp32.npz", folder / "golden/inputs.npz"
    kept = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(kept)


def put_a_link(folder: Path, signer: Signer) -> None:
    file = folder / "reference.json"
    moved = folder.parent / "elsewhere.json"
    file.rename(moved)
    file.symlink_to(moved)


def sign_with_another_key(folder: Path, signer: Signer) -> None:
    Signer(folder.parent, "mallory").sign(folder)


def claim_the_key(folder: Path, signer: Signer) -> None:
    """Signed by another key that gives itself the id of the trusted one."""
    Signer(folder.parent, "mallory").sign(folder)
    change_bundle(folder, lambda bundle: bundle["verificationMaterial"]["publicKey"].update(hint=signer.id))


def sign_on_another_curve(folder: Path, signer: Signer) -> None:
    Signer(folder.parent, "mallory", curve="P-384").sign(folder)
    change_bundle(folder, lambda bundle: bundle["verificationMaterial"]["publicKey"].update(hint=signer.id))


def truncate_the_bundle(folder: Path, signer: Signer) -> None:
    file = folder / SIGNATURE
    file.write_bytes(file.read_bytes()[:-20])


def sign_an_old_predicate(folder: Path, signer: Signer) -> None:
    old = {"predicateType": "https://model_signing/signature/v0.1"}
    change_statement(folder, signer, lambda statement: statement.update(old))


def change_the_files_and_the_manifest(folder: Path, signer: Signer) -> None:
    """What an attacker does who knows that ``lading.json`` has the checksums: it has the new ones."""
    import hashlib

    flip_a_bit(folder, signer)
    manifest = json.loads((folder / "lading.json").read_text())
    changed = (folder / "variants/fp32.onnx").read_bytes()
    manifest["files"]["variants/fp32.onnx"] = hashlib.sha256(changed).hexdigest()
    (folder / "lading.json").write_text(json.dumps(manifest))


def change_the_statement(folder: Path, signer: Signer) -> None:
    """The new digests in the statement, with the old signature."""
    from lading.signing.folder import file_digest, signed_files
    from lading.signing.statement import write_statement

    flip_a_bit(folder, signer)
    statement = write_statement(folder.name, {name: file_digest(folder / name) for name in signed_files(folder)})
    payload = base64.b64encode(statement).decode()
    change_bundle(folder, lambda bundle: bundle["dsseEnvelope"].update(payload=payload))


def replay_another_signature(folder: Path, signer: Signer) -> None:
    """The right key's signature, of an artifact that differs in one file."""
    other = Path(shutil.copytree(folder, folder.parent / "other"))
    (other / "reference.json").write_text("{}")
    signer.sign(other)
    shutil.copyfile(other / SIGNATURE, folder / SIGNATURE)


def remove_the_signature(folder: Path, signer: Signer) -> None:
    (folder / SIGNATURE).unlink()


TAMPERED: dict[str, tuple[Callable[[Path, Signer], None], str]] = {
    "a bit": (flip_a_bit, "altered"),
    "a file added": (add_a_file, "altered"),
    "a file removed": (remove_a_file, "altered"),
    "a file renamed": (rename_a_file, "altered"),
    "two files swapped": (swap_two_files, "altered"),
    "a symbolic link": (put_a_link, "altered"),
    "another key": (sign_with_another_key, "unknown"),
    "another key with the trusted id": (claim_the_key, "altered"),
    "another curve": (sign_on_another_curve, "altered"),
    "a truncated bundle": (truncate_the_bundle, "altered"),
    "an old predicate": (sign_an_old_predicate, "altered"),
    "a bit and its checksum": (change_the_files_and_the_manifest, "altered"),
    "a bit and its statement": (change_the_statement, "altered"),
    "a replayed signature": (replay_another_signature, "altered"),
    "no signature": (remove_the_signature, "unsigned"),
}
"""What to do to a signed artifact, and the reason of its refusal, by name. An expired key has a test of its own."""
