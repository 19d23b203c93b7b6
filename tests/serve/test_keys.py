"""Keys and certificates: who may ask, and that nobody listens."""

from __future__ import annotations

import ssl
import subprocess
import time
from pathlib import Path

import grpc
import httpx
import pytest

from lading.artifact import Artifact
from lading.errors import SettingsError, UnauthorizedError
from lading.protocol.proto import inference_pb2 as pb
from lading.protocol.proto.inference_pb2_grpc import GRPCInferenceServiceStub
from lading.serve import keys as authorize
from lading.serve.keys import Keys, certificate_expiry
from lading.settings import Settings
from tests.given.live_server import live_server, wait_until
from tests.given.self_signed import self_signed

BODY = {"features": [[1, 2, 3, 4]]}


def test_every_port_asks_for_a_key_and_probes_do_not(small: dict[str, Artifact], tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# the team's\nalpha\n\nbeta\n")
    with live_server(small["table"], api_keys=file) as live:
        for path in ("/livez", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"):
            assert live.client.get(path).status_code == 200
        for method, path in (("POST", "/predict"), ("GET", "/model"), ("GET", "/v2/models/small-table"), ("GET", "/")):
            refused = live.client.request(method, path)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == "Bearer"
        for key in ("alpha", "beta"):
            headers = {"authorization": f"Bearer {key}"}
            assert live.client.post("/predict", json=BODY, headers=headers).status_code == 200
        wrong = live.client.post("/predict", json=BODY, headers={"authorization": "Bearer gamma"})
        assert (wrong.status_code, "gamma" in wrong.text) == (401, False)
        with grpc.insecure_channel(live.grpc) as channel:
            stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
            assert stub.ServerReady(pb.ServerReadyRequest()).ready
            with pytest.raises(grpc.RpcError) as refused_call:
                stub.ServerMetadata(pb.ServerMetadataRequest())
            assert refused_call.value.code() == grpc.StatusCode.UNAUTHENTICATED
            allowed = (("authorization", "Bearer alpha"),)
            assert stub.ServerMetadata(pb.ServerMetadataRequest(), metadata=allowed).name == "lading"


def test_keys_are_rotated_without_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authorize, "_LOOK_AGAIN_S", 0.0)
    file = tmp_path / "keys"
    file.write_text("old\n")
    keys = Keys(file)
    keys.check("Bearer old")
    file.unlink()
    keys.check("Bearer old")  # a rotation may take a moment
    file.write_text("new\n")
    keys.check(b"bearer new")
    with pytest.raises(UnauthorizedError, match="not one of this server's"):
        keys.check("Bearer old")


@pytest.mark.parametrize("sent", [None, "", "Bearer", "Bearer ", "Basic alpha", "alpha"])
def test_what_is_no_bearer_key_is_refused(tmp_path: Path, sent: str | None) -> None:
    (tmp_path / "keys").write_text("alpha\n")
    with pytest.raises(UnauthorizedError, match="authorization: Bearer KEY"):
        Keys(tmp_path / "keys").check(sent)


def test_a_key_may_have_a_last_day_and_the_metric_says_when(small: dict[str, Artifact], tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("old expires=2020-02-29\nnew\texpires=2099-12-31\nforever\n")
    with live_server(small["table"], api_keys=file) as live:

        def asked_with(key: str) -> httpx.Response:
            return live.client.post("/predict", json=BODY, headers={"authorization": f"Bearer {key}"})

        assert asked_with("new").status_code == asked_with("forever").status_code == 200
        assert asked_with("old").status_code == 401
        assert "has expired" in asked_with("old").json()["error"]
        shown = [line for line in live.client.get("/metrics").text.splitlines() if line.startswith("lading_api_key_")]
        assert sorted(float(line.split()[1]) for line in shown) == [1583020800, 4102444800]
        assert not any("old" in line or "new" in line for line in shown)


@pytest.mark.parametrize("days", [2, 40_000])  # a date before 2050 is a UTCTime, one after it a GeneralizedTime
def test_when_a_certificate_expires_is_read_as_openssl_reads_it(tmp_path: Path, days: int) -> None:
    file = tmp_path / "cert.pem"
    make = f"openssl req -x509 -newkey rsa:2048 -nodes -days {days} -subj /CN=x -keyout {tmp_path}/key.pem -out {file}"
    subprocess.run(make.split(), check=True, capture_output=True)
    shown = subprocess.run(
        ["openssl", "x509", "-enddate", "-noout", "-in", str(file)], check=True, capture_output=True, text=True
    )
    assert certificate_expiry(file) == ssl.cert_time_to_seconds(shown.stdout.strip().removeprefix("notAfter="))


@pytest.mark.parametrize("content", ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_file_without_a_certificate_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "cert.pem").write_text(content)
    with pytest.raises(SettingsError, match="holds no certificate that can be read"):
        certificate_expiry(tmp_path / "cert.pem")


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


def test_comparing_takes_as_long_for_a_near_miss(tmp_path: Path) -> None:
    """Digests are compared, so how much of a key is right cannot show."""
    (tmp_path / "keys").write_text("k" * 64 + "\n")
    keys = Keys(tmp_path / "keys")
    assert all(len(key.digest) == 32 for key in keys._keys)
    assert time.monotonic() >= keys._looked
