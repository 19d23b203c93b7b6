"""Certificates and their keys: signed by themselves, or by an authority."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path


def self_signed(folder: Path, name: str = "localhost") -> tuple[Path, Path]:
    """Make a certificate for localhost, valid for two days.

    Args:
        folder: where to write ``cert.pem`` and ``key.pem``.
        name: its subject, by which two can be told apart.

    Returns:
        The paths of the certificate and its key.
    """
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={name}"
    command += f" -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout {key} -out {certificate}"
    subprocess.run(command.split(), check=True, capture_output=True)
    return certificate, key


def signed_by_authority(folder: Path, *names: str) -> tuple[Path, Path, Path]:
    """Make an authority and a certificate that it signs, as cert-manager does; both are valid for two days.

    Args:
        folder: where to write ``ca.pem``, ``cert.pem`` and ``key.pem``.
        names: what the certificate names, such as ``DNS:cards.serve.svc`` or ``IP:127.0.0.1``.

    Returns:
        The paths of the authority's certificate, the certificate and its key.
    """
    authority, request = folder / "ca.pem", folder / "request.pem"
    certificate, key = folder / "cert.pem", folder / "key.pem"
    curve = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    (folder / "names").write_text(f"subjectAltName={','.join(names)}\nbasicConstraints=CA:FALSE\n")
    for command in (
        f"req -x509 {curve} -days 2 -subj /CN=authority -keyout {folder}/ca-key.pem -out {authority}",
        f"req {curve} -subj /CN=server -keyout {key} -out {request}",
        f"x509 -req -days 2 -in {request} -CA {authority} -CAkey {folder}/ca-key.pem -CAcreateserial"
        f" -extfile {folder}/names -out {certificate}",
    ):
        subprocess.run(["openssl", *command.split()], check=True, capture_output=True)
    return authority, certificate, key


def shown_certificate(address: tuple[str, int]) -> str:
    """The certificate that a port shows in a new handshake, as PEM."""
    return ssl.get_server_certificate(address, timeout=20)
