"""Keys: their files, what may be in them, and that a private one never leaves its file."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from lading.errors import LadingError, OccupiedError, SettingsError
from lading.signing.keys import PASSPHRASE, new_keys, public_pem, read_private_key, read_public_keys
from lading.signing.trusted_keys import TrustedKeys, trusted_paths
from tests.given.signed import Signer


def never() -> str:
    raise AssertionError("nothing is encrypted here")


def test_a_new_private_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    public, identity = new_keys(tmp_path / "release.pem")
    assert stat.S_IMODE((tmp_path / "release.pem").stat().st_mode) == 0o600
    assert public == tmp_path / "release.pub"
    assert len(identity) == 64
    assert "PRIVATE" not in public.read_text()


@pytest.mark.parametrize("name", ["release.pem", "release.pub"])
def test_a_key_is_never_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(OccupiedError, match="cannot be made again"):
        new_keys(tmp_path / "release.pem")
    assert (tmp_path / name).read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("curve", ["P-256", "P-384", "P-521"])
def test_openssl_reads_the_keys(tmp_path: Path, curve: str) -> None:
    new_keys(tmp_path / "k.pem", curve=curve)  # type: ignore[arg-type]
    for arguments in (["-in", "k.pem"], ["-pubin", "-in", "k.pub"]):
        command = ["openssl", "pkey", *arguments, "-noout", "-text_pub"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert curve in done.stdout, done.stderr


def test_an_encrypted_key_opens_with_its_passphrase_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "k.pem"
    _, identity = new_keys(file, passphrase="correct horse")
    assert b"ENCRYPTED" in file.read_bytes()
    assert read_private_key(file, lambda: "correct horse").curve.name == "secp256r1"
    with pytest.raises(SettingsError, match="the passphrase does not open it") as wrong:
        read_private_key(file, lambda: "battery staple")
    assert "battery" not in str(wrong.value)
    monkeypatch.setenv(PASSPHRASE, "correct horse")
    assert public_pem(read_private_key(file, never).public_key()) == file.with_suffix(".pub").read_bytes()
    assert identity


def unusable(folder: Path) -> dict[str, Path]:
    """Files that hold no key that may sign or verify, by what is wrong with them."""
    good = ec.generate_private_key(ec.SECP256R1())
    other = ec.generate_private_key(ec.SECP256K1())
    edwards = ed25519.Ed25519PrivateKey.generate()
    pem, spki = Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    private = good.private_bytes(pem, PrivateFormat.PKCS8, NoEncryption())
    contents = {
        "empty": b"",
        "not PEM": b"ssh-ed25519 AAAA",
        "of no key": b"-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZI\n-----END PUBLIC KEY-----\n",
        "torn": private[:120] + b"\n-----END PRIVATE KEY-----\n",
        "of another curve": other.private_bytes(pem, PrivateFormat.PKCS8, NoEncryption())
        if folder.name == "private"
        else other.public_key().public_bytes(pem, spki),
        "of another kind": edwards.private_bytes(pem, PrivateFormat.PKCS8, NoEncryption())
        if folder.name == "private"
        else edwards.public_key().public_bytes(pem, spki),
        "of the other half": good.public_key().public_bytes(pem, spki) if folder.name == "private" else private,
        "too large": b"#" * 200_000,
    }
    folder.mkdir()
    for name, content in contents.items():
        (folder / f"{name}.pem").write_bytes(content)
    return {name: folder / f"{name}.pem" for name in [*contents, "missing"]}


def test_no_error_shows_a_part_of_a_key(tmp_path: Path) -> None:
    for half in ("private", "public"):
        for name, file in unusable(tmp_path / half).items():
            with pytest.raises(SettingsError) as refused:
                _ = read_private_key(file, never) if half == "private" else read_public_keys(file)
            sentence = str(refused.value)
            assert f"{name}.pem" in sentence
            lines = file.read_text().splitlines() if file.exists() else []
            assert not any(len(line) > 20 and line[:20] in sentence for line in lines), sentence
            assert refused.value.__cause__ is None


def test_a_private_key_among_the_trusted_ones_is_refused(tmp_path: Path) -> None:
    signer = Signer(tmp_path)
    with pytest.raises(SettingsError, match="which only the signer may have"):
        TrustedKeys([signer.private])


def test_files_folders_and_several_keys_in_a_file_are_trusted(tmp_path: Path) -> None:
    one, two, three = (Signer(tmp_path, name) for name in ("one", "two", "three"))
    both = tmp_path / "both.pem"
    both.write_bytes(two.public.read_bytes() + three.public.read_bytes())
    (one.trusted / "README").write_text("no key")
    (one.trusted / "..data").mkdir()
    assert set(TrustedKeys([one.trusted, both]).keys) == {one.id, two.id, three.id}


POLICIES = {
    "release.pub expires=2027-13-01\n": "line 1",
    "# ends\nrelease.pub\n": "line 2",
    "release.pub until=2027-01-01\n": "line 1",
    "release.pub 2027-01-01\n": "line 1",
    "release.pub expires=2027-01-01\nrelease.pub expires=2028-01-01\n": "line 2",
    "releese.pub expires=2027-01-01\n": "no trusted key has this file name",
    "\xff\n": "cannot be read",
}


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_that_says_something_else_is_refused(tmp_path: Path, policy: str) -> None:
    """A misspelled line would let a key live for ever."""
    signer = Signer(tmp_path)
    (signer.trusted / "policy.txt").write_bytes(policy.encode("latin-1"))
    with pytest.raises(SettingsError, match=POLICIES[policy]):
        TrustedKeys([signer.trusted])


def test_a_key_is_good_on_its_last_day(tmp_path: Path) -> None:
    signer = Signer(tmp_path)
    (signer.trusted / "policy.txt").write_text("# this one\n\nrelease.pub expires=2027-01-31\n")
    (key,) = TrustedKeys([signer.trusted]).keys.values()
    assert key.last_day == "2027-01-31"
    assert key.expires == 1801440000.0  # 2027-02-01T00:00:00Z


@pytest.mark.parametrize("place", ["", "nowhere"])
def test_a_place_without_keys_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(LadingError, match=r"has no key|cannot be read"):
        TrustedKeys([tmp_path / (place or "empty")])


def test_the_variable_holds_several_places() -> None:
    assert trusted_paths({"LADING_TRUSTED_KEYS": "a:b/c.pub"}) == (Path("a"), Path("b/c.pub"))
    assert trusted_paths({"LADING_TRUSTED_KEYS": ""}) == trusted_paths({}) == ()
