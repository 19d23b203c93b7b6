"""Certificates: what the TLS ports show, and that a new pair is shown without a restart."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import grpc
import httpx
import pytest

from lading.artifact import Artifact
from lading.errors import SettingsError
from lading.protocol.proto import inference_pb2 as pb
from lading.protocol.proto.inference_pb2_grpc import GRPCInferenceServiceStub
from lading.serve.certificates import Certificates, certificate_expiry
from lading.settings import Settings
from tests.given.live_server import live_server, wait_until
from tests.given.self_signed import self_signed, shown_certificate

BODY = {"features": [[1, 2, 3, 4]]}


@pytest.mark.parametrize("days", [2, 40_000])  # a date before 2050 is a UTCTime, one after it a GeneralizedTime
def test_when_a_certificate_expires_is_read_as_openssl_reads_it(tmp_path: Path, days: int) -> None:
    file = tmp_path / "cert.pem"
    make = f"openssl req -x509 -newkey rsa:2048 -nodes -days {days} -subj /CN=x -keyout {tmp_path}/key.pem -out {file}"
    subprocess.run(make.split(), check=True, capture_output=True)
    shown = subprocess.run(
        ["openssl", "x509", "-enddate", "-noout", "-in", str(file)], check=True, capture_output=True, text=True
    )
    assert certificate_expiry(file, file.read_bytes()) == ssl.cert_time_to_seconds(
        shown.stdout.strip().removeprefix("notAfter=")
    )


@pytest.mark.parametrize("content", ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_file_without_a_certificate_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(SettingsError, match="holds no certificate that can be read"):
        certificate_expiry(tmp_path / "cert.pem", content.encode())


def test_both_ports_speak_tls(small: dict[str, Artifact], tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    with live_server(small["table"], tls_certificate=certificate, tls_key=key) as live:
        context = ssl.create_default_context(cafile=str(certificate))
        url = live.url.replace("http:", "https:")
        assert httpx.post(f"{url}/predict", json=BODY, verify=context).status_code == 200
        shown = httpx.get(f"{url}/metrics", verify=context).text
        assert 'lading_tls_certificate_expiry_timestamp_seconds{file="cert.pem"}' in shown
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{live.url}/livez")
        credentials = grpc.ssl_channel_credentials(certificate.read_bytes())
        with grpc.secure_channel(live.grpc, credentials) as channel:
            stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
            wait_until(lambda: stub.ServerReady(pb.ServerReadyRequest()).ready)


def test_a_certificate_without_its_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="go together"):
        Settings(tls_certificate=tmp_path / "cert.pem")


@pytest.fixture
def pairs(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders with a certificate and its key."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        self_signed(tmp_path / name)
    return tmp_path / "one", tmp_path / "two"


def test_a_new_pair_is_shown_on_both_ports_while_the_server_runs(
    small: dict[str, Artifact], tmp_path: Path, pairs: tuple[Path, Path]
) -> None:
    one, two = pairs
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    for name in ("cert.pem", "key.pem"):
        shutil.copy(one / name, tmp_path / name)
    old, new = ((folder / "cert.pem").read_text() for folder in pairs)
    with live_server(small["table"], tls_certificate=certificate, tls_key=key) as live:
        ports = [("127.0.0.1", int(address.rsplit(":", 1)[1])) for address in (live.url, live.grpc)]
        assert [shown_certificate(port) for port in ports] == [old, old]
        https = live.url.replace("http:", "https:")
        with httpx.Client(base_url=https, verify=ssl.create_default_context(cadata=old)) as kept:
            assert kept.post("/predict", json=BODY).status_code == 200

            def unreadable() -> bool:
                return 'lading_credentials_unreadable{kind="certificate"} 1.0' in kept.get("/metrics").text

            assert not unreadable()
            shutil.copy(two / "cert.pem", certificate)  # and not its key yet
            wait_until(unreadable)
            assert [shown_certificate(port) for port in ports] == [old, old]
            shutil.copy(two / "key.pem", key)
            wait_until(lambda: [shown_certificate(port) for port in ports] == [new, new])
            wait_until(lambda: not unreadable())
            expires = certificate_expiry(certificate, certificate.read_bytes())
            (line,) = (
                line for line in kept.get("/metrics").text.splitlines() if "lading_tls_certificate_e" in line[:30]
            )
            assert float(line.split()[1]) == expires
            assert kept.post("/predict", json=BODY).status_code == 200, "an open connection stays open"
        with grpc.secure_channel(live.grpc, grpc.ssl_channel_credentials(new.encode())) as channel:
            stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
            assert stub.ServerReady(pb.ServerReadyRequest()).ready


def test_what_is_no_pair_keeps_the_old_one(tmp_path: Path, pairs: tuple[Path, Path]) -> None:
    one, two = pairs
    certificates = Certificates(one / "cert.pem", one / "key.pem")
    kept = certificates.pair
    whole = {name: (one / name).read_bytes() for name in ("cert.pem", "key.pem")}
    broken: dict[str, Callable[[str], bytes]] = {
        "of another pair": lambda name: (two / name).read_bytes(),
        "empty": lambda _: b"",
        "cut": lambda name: whole[name][: len(whole[name]) // 2],
        "not PEM": lambda _: b"\x00\xff" * 100,
        "large": lambda name: whole[name] + b"\n" * 1_000_000,
    }
    for what, content in broken.items():
        for name, was in whole.items():
            (one / name).write_bytes(content(name))
            with pytest.raises(SettingsError, match=r"no pair that can be used|cannot be read") as refused:
                certificates.read()
            assert certificates.pair == kept, what
            assert len(str(refused.value)) <= 500
            with pytest.raises(SettingsError):
                Certificates(one / "cert.pem", one / "key.pem")
            (one / name).unlink()
            with pytest.raises(SettingsError, match="cannot be read: No such file"):
                certificates.read()
            (one / name).write_bytes(was)
    assert certificates.read() == ""


def test_a_key_with_a_password_is_refused_and_not_asked_for(tmp_path: Path, pairs: tuple[Path, Path]) -> None:
    one, _ = pairs
    locked = tmp_path / "locked.pem"
    command = f"openssl pkey -in {one}/key.pem -aes256 -passout pass:secret -out {locked}"
    subprocess.run(command.split(), check=True, capture_output=True)
    with pytest.raises(SettingsError, match="no pair that can be used"):
        Certificates(one / "cert.pem", locked)
    assert Certificates(one / "cert.pem", locked, password="secret").pair[1] == locked.read_bytes()
