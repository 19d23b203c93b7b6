"""With `tls.existingSecret`, everything that reaches the pods speaks TLS: no part of the chart is left at HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.chart.matrix import combinations
from tests.given.chart import helm, one, render

TLS = "tls.existingSecret=cert"


def wanting_tls() -> list[Any]:
    """The combinations, once each, that may have TLS."""
    kept = []
    for name, sets in combinations():
        kept.append(pytest.param([*(one for one in sets if one != TLS), TLS], id=name))
    return kept


def containers(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Containers anywhere in an object."""
    if isinstance(document, dict):
        for key, part in document.items():
            if key == "containers":
                yield from part
            else:
                yield from containers(part)


def is_server(container: dict[str, Any]) -> bool:
    return container["name"] in ("server", "kserve-container")


@pytest.mark.slow
@pytest.mark.parametrize("sets", wanting_tls())
def test_nothing_is_left_at_http(sets: list[str]) -> None:
    every_part_speaks_tls(render(*sets))


@pytest.mark.parametrize(
    "sets",
    [
        ["monitoring.scrape=serviceMonitor", "ingress.enabled=true", "ingress.hosts={a.example}"],
        ["monitoring.scrape=annotations", "gateway.enabled=true", "gateway.parentRefs[0].name=web"],
        ["monitoring.scrape=podMonitor", "image.kind=bento"],
        ["monitoring.scrape=podMonitoring", "mode=kserve"],
        ["loadTest.enabled=true", "loadTest.image=load:1", "frontend.enabled=true", "frontend.image=page:1"],
    ],
    ids=str,
)
def test_each_way_to_the_pods_speaks_tls(sets: list[str]) -> None:
    every_part_speaks_tls(render(*sets, TLS))


def every_part_speaks_tls(objects: list[dict[str, Any]]) -> None:
    """Each kind of object that names a protocol names the one with TLS."""
    for document in objects:
        if document["kind"] not in ("ConfigMap", "PrometheusRule", "Rules"):
            assert "http://cards" not in json.dumps(document), document["metadata"]["name"]
        for container in filter(is_server, containers(document)):
            the_server_speaks_tls(container)
        if document["metadata"]["labels"].get("app.kubernetes.io/component") == "frontend":
            continue  # the demo page speaks HTTP to browsers
        for path, wanted in NAMED.get(document["kind"], {}).items():
            for found in at(document, path.split(".")):
                assert found in wanted, (document["kind"], document["metadata"]["name"], path, found)
    kinds = {document["kind"] for document in objects}
    if "HTTPRoute" in kinds:
        assert len({"BackendTLSPolicy", "HealthCheckPolicy"} & kinds) == 1, "GKE has a policy of its own"


def the_server_speaks_tls(container: dict[str, Any]) -> None:
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["scheme"] == "HTTPS", probe
    words = [*container.get("command", ()), *container.get("args", ())]
    if "bentoml" in words:
        assert words[words.index("--ssl-certfile") + 1] == "/etc/lading/tls/tls.crt"
        assert words[words.index("--ssl-keyfile") + 1] == "/etc/lading/tls/tls.key"


NAMED: dict[str, dict[str, set[str]]] = {
    "Service": {"spec.ports.appProtocol": {"https", "HTTPS", "HTTP2"}},
    "ServiceMonitor": {"spec.endpoints.scheme": {"https"}},
    "PodMonitor": {"spec.podMetricsEndpoints.scheme": {"https"}},
    "PodMonitoring": {"spec.endpoints.scheme": {"https"}},
    "HealthCheckPolicy": {"spec.default.config.type": {"HTTPS"}},
    "Deployment": {"spec.template.metadata.annotations.prometheus.io/scheme": {"https"}},
    "Ingress": {
        "metadata.annotations.nginx.ingress.kubernetes.io/backend-protocol": {"HTTPS"},
        "metadata.annotations.nginx.org/ssl-services": {"cards", "cards-predictor"},
    },
}
"""What each kind says about the protocol, by path; a path that is not there is looked at in the tests below."""


def at(document: Any, path: list[str]) -> Iterator[Any]:
    """The values at a path; a list is entered, and the keys of annotations hold dots."""
    if isinstance(document, list):
        for part in document:
            yield from at(part, path)
    elif not path:
        yield document
    elif path[0] == "annotations":
        yield from [value for key, value in document.get("annotations", {}).items() if key == ".".join(path[1:])]
    elif path[0] in document:
        yield from at(document[path[0]], path[1:])


def test_every_port_of_the_service_names_its_protocol() -> None:
    plain = {"http": "http", "grpc": "kubernetes.io/h2c", "bento": "http"}
    gke = ("gke.enabled=true", "gateway.enabled=true", "gateway.parentRefs[0].name=web")
    for sets, wanted in (
        ((), plain),
        ((TLS,), dict.fromkeys(plain, "https")),
        ((TLS, *gke, "shutdown.preStopSeconds=25"), {"http": "HTTPS", "grpc": "HTTP2", "bento": "HTTPS"}),
    ):
        ports = one(render(*sets), "Service")["spec"]["ports"]
        assert {port["name"]: port["appProtocol"] for port in ports} == wanted


def test_what_finds_the_pods_by_annotations_gets_the_scheme() -> None:
    for sets, wanted in (((), "http"), ((TLS,), "https")):
        template = one(render("monitoring.scrape=annotations", *sets), "Deployment")["spec"]["template"]
        assert template["metadata"]["annotations"]["prometheus.io/scheme"] == wanted


def test_controllers_that_do_not_read_the_protocol_get_annotations() -> None:
    objects = render("ingress.enabled=true", "ingress.hosts={a.example}", TLS, "service.annotations.team=ml")
    given = one(objects, "Ingress")["metadata"]["annotations"]
    assert given["nginx.ingress.kubernetes.io/backend-protocol"] == "HTTPS"
    assert given["nginx.org/ssl-services"] == "cards"
    of_service = one(objects, "Service")["metadata"]["annotations"]
    assert of_service == {"team": "ml", "traefik.ingress.kubernetes.io/service.serversscheme": "https"}


def test_a_gateway_checks_the_certificate_by_the_name_of_the_service() -> None:
    gateway = ["gateway.enabled=true", "gateway.parentRefs[0].name=web", TLS]
    (policy,) = [one for one in render(*gateway, "tls.caConfigMap=ca") if one["kind"] == "BackendTLSPolicy"]
    assert policy["spec"]["validation"] == {
        "hostname": "cards.serve.svc",
        "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "ca"}],
    }
    (policy,) = [one for one in render(*gateway, "mode=kserve") if one["kind"] == "BackendTLSPolicy"]
    assert policy["spec"]["targetRefs"] == [{"group": "", "kind": "Service", "name": "cards-predictor"}]
    assert policy["spec"]["validation"]["wellKnownCACertificates"] == "System"


def test_an_older_gateway_api_gets_the_version_that_it_has() -> None:
    options = ("--set", f"gateway.enabled=true,gateway.parentRefs[0].name=web,{TLS}")
    old = ("--api-versions", "gateway.networking.k8s.io/v1alpha3/BackendTLSPolicy")
    shown = ("--show-only", "templates/backendtlspolicy.yaml")
    result = helm("template", "cards", "helm/lading", *options, *old, *shown)
    assert "apiVersion: gateway.networking.k8s.io/v1alpha3" in result.stdout, result.stderr


def test_without_tls_nothing_speaks_it() -> None:
    text = json.dumps(render("ingress.enabled=true", "ingress.hosts={a.example}", "monitoring.scrape=annotations"))
    assert "https" not in text.lower().replace("https://github.com", "")
    assert "ssl" not in text
