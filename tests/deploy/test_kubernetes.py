"""The Kubernetes API is found as kubectl finds it, and asked again when it is unavailable."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from lading.deploy.kubernetes import Cluster, Kind
from lading.errors import KubernetesError, SettingsError
from tests.given.api_server import NAMESPACE, ApiServer, api_server, route
from tests.given.self_signed import self_signed

ROUTES = Kind("gateway.networking.k8s.io", "v1", "httproutes")
JOBS = Kind("batch", "v1", "jobs")
PLUGIN = """#!/bin/sh
echo '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "sesame"}}'
"""


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[ApiServer]:
    """It speaks TLS, and wants a token."""
    with api_server({"httproutes/cards": route()}, token="sesame", certificate=self_signed(tmp_path)) as api:
        yield api


def kubeconfig(folder: Path, api: ApiServer, user: dict[str, Any]) -> str:
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "test", "cluster": {"server": api.url, "certificate-authority": str(folder / "cert.pem")}}
        ],
        "users": [{"name": "me", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "me", "namespace": NAMESPACE}}],
        "current-context": "test",
    }
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(content))
    return str(file)


def plugin(folder: Path) -> dict[str, Any]:
    """A login like that of GKE: a program prints the token."""
    file = folder / "plugin"
    file.write_text(PLUGIN)
    file.chmod(0o755)
    wanted = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(file), "interactiveMode": "Never"}
    return {"exec": wanted}


def test_a_kubeconfig_with_a_token_is_enough(
    locked: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", kubeconfig(tmp_path, locked, {"token": "sesame"}))
    cluster = Cluster.connect()
    assert (cluster.url, cluster.namespace) == (locked.url, NAMESPACE)
    assert cluster.read(ROUTES, NAMESPACE, "cards") == route()


def test_a_kubeconfig_may_log_in_with_a_program(locked: ApiServer, tmp_path: Path) -> None:
    cluster = Cluster.connect(kubeconfig=kubeconfig(tmp_path, locked, plugin(tmp_path)))
    assert cluster.read(ROUTES, NAMESPACE, "cards") == route()


def test_a_pod_uses_its_service_account(locked: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    account = tmp_path / "account"
    account.mkdir()
    (account / "token").write_text("sesame")
    (account / "namespace").write_text(f"{NAMESPACE}\n")
    (account / "ca.crt").write_bytes((tmp_path / "cert.pem").read_bytes())
    host, _, port = locked.url.removeprefix("https://").partition(":")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    cluster = Cluster.connect(kubeconfig=str(tmp_path / "none"), account=account)
    assert cluster.namespace == NAMESPACE
    assert cluster.read(ROUTES, NAMESPACE, "cards") == route()


def test_without_a_cluster_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(SettingsError, match="set KUBECONFIG, or run this in a pod"):
        Cluster.connect(kubeconfig=str(tmp_path / "none"))


def test_a_refusal_names_the_object_and_keeps_the_status(locked: ApiServer, tmp_path: Path) -> None:
    cluster = Cluster.connect(kubeconfig=kubeconfig(tmp_path, locked, {"token": "old"}))
    with pytest.raises(KubernetesError, match=r"refuses to read httproutes/cards in the namespace serve: 401 Unauth"):
        cluster.read(ROUTES, NAMESPACE, "cards")
    with api_server({"httproutes/cards": route()}) as api:
        cluster = Cluster.connect(api.url)
        with pytest.raises(KubernetesError, match="404 not found") as missing:
            cluster.read(ROUTES, NAMESPACE, "others")
        assert missing.value.answered == 404
        with pytest.raises(KubernetesError, match="422 the server rejected our request"):
            cluster.patch(ROUTES, NAMESPACE, "cards", [{"op": "test", "path": "/kind", "value": "GRPCRoute"}])


def test_an_unavailable_server_is_asked_again_and_then_named() -> None:
    with api_server({"httproutes/cards": route()}) as api:
        api.unavailable = 1
        patch = [{"op": "add", "path": "/spec/rules", "value": []}]
        assert Cluster.connect(api.url).patch(ROUTES, NAMESPACE, "cards", patch)["spec"] == {"rules": []}
        api.unavailable = 1
        with pytest.raises(KubernetesError, match="503 starting"):
            Cluster.connect(api.url, retries=0).read(ROUTES, NAMESPACE, "cards")
    with pytest.raises(KubernetesError, match=r"127\.0\.0\.1:1 does not answer: .*refused"):
        Cluster.connect("http://127.0.0.1:1", retries=0).read(ROUTES, NAMESPACE, "cards")


def test_a_certificate_of_another_authority_is_refused(locked: ApiServer, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other, _ = self_signed(tmp_path / "other", "other")
    file = Path(kubeconfig(tmp_path, locked, {"token": "sesame"}))
    file.write_text(file.read_text().replace(str(tmp_path / "cert.pem"), str(other)))
    with pytest.raises(KubernetesError, match="certificate verify failed"):
        Cluster.connect(kubeconfig=str(file), retries=0).read(ROUTES, NAMESPACE, "cards")


def test_an_object_is_created_once_and_found_by_its_labels() -> None:
    job = {"metadata": {"name": "one", "labels": {"lading.dev/model": "cards"}}, "spec": {"fromTheFuture": 1}}
    with api_server({}) as api:
        cluster = Cluster.connect(api.url)
        assert cluster.create(JOBS, NAMESPACE, json.loads(json.dumps(job)))
        assert not cluster.create(JOBS, NAMESPACE, job)
        (found,) = cluster.select(JOBS, NAMESPACE, "lading.dev/model=cards")
        assert found["spec"] == {"fromTheFuture": 1}
        assert cluster.select(JOBS, NAMESPACE, "lading.dev/model=others") == []


@pytest.mark.parametrize("content", ["a: [", "- a\n- b\n", "", "apiVersion: v1\nkind: Config\ncontexts: 3\n"])
def test_a_kubeconfig_of_another_form_is_one_sentence(content: str, tmp_path: Path) -> None:
    (tmp_path / "config").write_text(content)
    with pytest.raises(SettingsError, match=r"^no cluster can be reached: .*; set KUBECONFIG, or run this in a pod$"):
        Cluster.connect(kubeconfig=str(tmp_path / "config"))


def test_an_address_of_something_else_is_named() -> None:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>a page</html>")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            cluster = Cluster.connect(f"http://127.0.0.1:{server.server_port}")
            with pytest.raises(KubernetesError, match=r"is no Kubernetes API: it answers .*a page"):
                cluster.select(JOBS, NAMESPACE)
        finally:
            server.shutdown()
            thread.join()
