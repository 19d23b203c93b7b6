"""A release with a certificate: every port speaks TLS, `helm test` passes, a renewed certificate needs no restart."""

from __future__ import annotations

import gc
import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import bentoml
import httpx
import pytest

from tests.e2e.cluster.kube import HOST, Release, run, wait_until
from tests.given.self_signed import shown_certificate, signed_by_authority

pytestmark = pytest.mark.slow
PORTS = ("http", "grpc", "bento")


def make_certificate(folder: Path, release: Release) -> tuple[Path, Path, Path]:
    folder.mkdir()
    names = (f"DNS:{release.name}.{release.namespace}.svc", f"DNS:{HOST}", f"IP:{HOST}")
    return signed_by_authority(folder, *names)


def store(release: Release, certificate: Path, key: Path) -> None:
    """Create the Secret, or replace what it holds."""
    words = ("create", "secret", "tls", "cert", "--cert", str(certificate), "--key", str(key), "--dry-run=client")
    release.kubectl("apply", "--filename", "-", stdin=release.kubectl(*words, "--output", "yaml"))


@pytest.fixture(scope="module")
def secured(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Release, Path]]:
    """A second release, one pod, and the folder of its certificate."""
    values = release.values | {"replicaCount": 1, "tls": {"existingSecret": "cert"}}
    found = Release("secured", release.namespace, values)
    folder = tmp_path_factory.mktemp("certificates") / "first"
    _, certificate, key = make_certificate(folder, found)
    store(found, certificate, key)
    found.upgrade()
    yield found, folder
    run("helm", "uninstall", found.name, "--namespace", found.namespace, "--wait")


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")  # of BentoML's client
def test_every_port_speaks_tls_and_nothing_else(
    secured: tuple[Release, Path], artifact: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, folder = secured
    for trusted in ("ca.pem", "cert.pem"):
        addresses = ("--url", release.url.replace("http:", "https:"), "--grpc", release.grpc)
        said = run(*(sys.executable, "-m", "lading", "check", str(artifact)), *addresses, "--ca", str(folder / trusted))
        assert said.count("gives the golden answers") == 2
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
    with bentoml.SyncHTTPClient(release.bento.replace("http:", "https:")) as client:
        assert client.classify(image=photo)["rank"] == "ace"
    del client
    gc.collect()  # it leaves a folder to be removed
    for port in ("http", "bento"):
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://{HOST}:{release.node_port(port)}/livez")


def test_helm_test_passes_over_tls(secured: tuple[Release, Path]) -> None:
    release, _ = secured
    said = run("helm", "test", release.name, "--namespace", release.namespace, "--logs")
    assert "REST: variant" in said
    assert "gRPC: variant" in said


def test_a_renewed_certificate_is_shown_on_every_port_without_a_restart(secured: tuple[Release, Path]) -> None:
    release, folder = secured
    authority, certificate, key = make_certificate(folder.parent / "renewed", release)
    addresses = [(HOST, release.node_port(name)) for name in PORTS]
    assert {shown_certificate(address) for address in addresses} == {(folder / "cert.pem").read_text()}
    (pod,) = release.pods()
    store(release, certificate, key)
    began = time.monotonic()
    # The kubelet looks once a minute; a change of the pod makes it look at once.
    release.kubectl("annotate", "pod", pod["metadata"]["name"], "renewed=now")
    renewed = certificate.read_text()
    wait_until("a new certificate", lambda: {shown_certificate(address) for address in addresses} == {renewed})
    print(f"the new certificate was shown on all ports after {time.monotonic() - began:.1f} s")
    context = ssl.create_default_context(cafile=str(authority))
    for port in ("http", "bento"):
        url = f"https://{HOST}:{release.node_port(port)}/readyz"
        assert httpx.get(url, verify=context).text == "ready\n"
    (after,) = release.pods()
    assert after["metadata"]["uid"] == pod["metadata"]["uid"]
    assert [status["restartCount"] for status in after["status"]["containerStatuses"]] == [0]
