"""Values that a shell user sets without quotes: a text that looks like a number or a boolean stays a text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.given.chart import CHART, helm, one, render
from tools import chart

DIGITS = "20240101"
"""A date as a tag: as a float Helm writes 2.0240101e+07."""
EVERYTHING = [
    *("ingress.enabled=true", "ingress.hosts={cards.example.com}", "gateway.enabled=true", "gke.enabled=true"),
    *("gateway.parentRefs[0].name=web", "autoscaling.kind=keda", "shutdown.preStopSeconds=25"),
    *("monitoring.scrape=serviceMonitor", "monitoring.rules.enabled=true", "monitoring.dashboards.enabled=true"),
    *("frontend.enabled=true", "frontend.image=page:1", "loadTest.enabled=true", "loadTest.image=load:1"),
    *("artifact.source=fetch", "artifact.uri=gs://models/cards", f"artifact.digest=sha256:{'a' * 64}"),
    *("auth.existingSecret=keys", "networkPolicy.from[0].podSelector.matchLabels.a=b"),
]
VALUES = list(chart.values((CHART / "values.yaml").read_text()))


def free_texts() -> Iterator[str]:
    """Paths of ``--set`` for every text, every list of texts and every mapping of texts that is not an enumeration."""
    for value in VALUES:
        path = ".".join(value.path)
        inner = value.schema.get("items") or value.schema.get("additionalProperties")
        if isinstance(value.default, str) and not value.schema.keys() & {"enum", "pattern"}:
            yield path
        elif isinstance(inner, dict) and inner.get("type") == "string" and "pattern" not in inner:
            yield f"{path}[0]" if isinstance(value.default, list) else f"{path}.example"
    yield from ("extraEnv[0].value", "frontend.extraEnv[0].value", "settings.variants", "resources.limits.memory")


def nested(path: str, value: Any) -> dict[str, Any]:
    """The values file that has this value at the path of ``--set``."""
    made = value
    for name in reversed(path.split(".")):
        made = {name.removesuffix("[0]"): [made] if name.endswith("[0]") else made}
    if "extraEnv[0]" in path:
        made = {"extraEnv": [{"name": "A", "value": value}]}
        made = {"frontend": made} if path.startswith("frontend") else made
    return dict(made)


def output(path: str, *options: str) -> str:
    """What Helm prints when the value is set, with all that could show it switched on."""
    words = [word for value in EVERYTHING if not value.startswith(path) for word in ("--set", value)]
    if "extraEnv[0]" in path:
        words += ["--set", path.replace(".value", ".name=A")]
    result = helm("template", "cards", str(CHART), "--namespace", "serve", *words, *options)
    return result.stdout + result.stderr


@pytest.mark.parametrize("path", [*free_texts()])
def test_a_text_of_digits_may_lack_its_quotes(path: str, tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(nested(path, int(DIGITS))))
    quoted = output(path, "--set-string", f"{path}={DIGITS}")
    assert output(path, "--set", f"{path}={DIGITS}") == quoted
    assert "2.0240101e+07" not in quoted
    if "[0]" not in path:  # a list in a file replaces the list that is set
        assert output(path, "-f", str(tmp_path / "values.yaml")) == quoted
    if quoted.startswith("---"):
        assert int(DIGITS) not in [*leaves(list(yaml.load_all(quoted, Loader=yaml.CSafeLoader)))]


def leaves(node: Any) -> Iterator[Any]:
    if isinstance(node, dict):
        node = [*node.keys(), *node.values()]
    if isinstance(node, list):
        for part in node:
            yield from leaves(part)
    else:
        yield node


@pytest.mark.parametrize("tag", ["1", "20240101", "1234567890123456789", "1e3", "0123", "0x1f", "1.10", "true", "v1"])
def test_any_tag_is_rendered_as_it_was_written(tag: str) -> None:
    container = one(render(f"image.tag={tag}"), "Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == f"lading:{tag}"


def test_the_arguments_of_the_load_test_may_be_numbers() -> None:
    sets = ("loadTest.enabled=true", "loadTest.image=load:1", "loadTest.args={--rate,20,--share,0.5}")
    job = one(render(*sets), "Job")["spec"]["template"]["spec"]
    assert job["containers"][0]["args"] == ["--rate", "20", "--share", "0.5"]


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        ("settings.variants={fp32,int8}", {"LADING_VARIANTS": "fp32,int8"}),
        ("settings.text_forms.smiles=mols.text:read", {"LADING_TEXT_FORMS": "smiles=mols.text:read"}),
        ("settings.max_pixels=50000000", {"LADING_MAX_PIXELS": "50000000"}),
        ("settings.access_log=true", {"LADING_ACCESS_LOG": "true"}),
        ("settings.variant=16", {"LADING_VARIANT": "16"}),
    ],
)
def test_a_setting_is_the_text_of_its_environment_variable(sets: str, expected: dict[str, str]) -> None:
    assert expected.items() <= one(render(sets), "ConfigMap")["data"].items()


def test_the_secrets_of_a_registry_may_be_names_alone() -> None:
    pod = one(render("imagePullSecrets={registry,20240101}"), "Deployment")["spec"]["template"]["spec"]
    assert pod["imagePullSecrets"] == [{"name": "registry"}, {"name": "20240101"}]


@pytest.mark.parametrize(
    "sets",
    [
        "gateway.parentRefs[0].name=DIGITS,gateway.enabled=true,gateway.parentRefs[0].sectionName=DIGITS",
        "tolerations[0].key=DIGITS,tolerations[0].operator=Equal,tolerations[0].value=DIGITS",
        "extraEnv[0].name=A,extraEnv[0].valueFrom.secretKeyRef.name=DIGITS,extraEnv[0].valueFrom.secretKeyRef.key=DIGITS",
        "extraEnvFrom[0].secretRef.name=DIGITS,extraEnvFrom[0].prefix=DIGITS",
        "extraVolumes[0].name=DIGITS,extraVolumes[0].secret.secretName=DIGITS",
        "extraContainers[0].name=DIGITS,extraContainers[0].image=DIGITS,extraContainers[0].args={--n,DIGITS}",
        "extraContainers[0].name=a,extraContainers[0].image=b,extraContainers[0].env[0].value=DIGITS",
        "networkPolicy.from[0].podSelector.matchLabels.a=DIGITS",
        "autoscaling.kind=keda,autoscaling.keda.extraTriggers[0].metadata.threshold=DIGITS",
        "imagePullSecrets[0].name=DIGITS",
    ],
)
def test_a_text_within_an_object_of_kubernetes_may_lack_its_quotes(sets: str) -> None:
    found = [*leaves(render(sets.replace("DIGITS", DIGITS)))]
    assert DIGITS in found
    assert int(DIGITS) not in found


def test_a_number_that_yaml_has_rounded_is_refused(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text("image: {tag: 1234567890123456789}")
    result = helm("template", "cards", str(CHART), "-f", str(tmp_path / "values.yaml"))
    assert "image.tag=1234567890123456768 has too many digits for a number in YAML: write it in quotes" in result.stderr


def test_a_whole_number_of_a_values_file_keeps_its_digits(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text("rollout: {progressDeadlineSeconds: 12345678}")
    result = helm("template", "cards", str(CHART), "-f", str(tmp_path / "values.yaml"))
    assert "progressDeadlineSeconds: 12345678\n" in result.stdout
