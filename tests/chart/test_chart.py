"""The chart: its values are documented and used, its schema refuses what is not there, Helm lints and tests it.

Helm and its tools are Go programs; ``make chart-tools`` builds them into ``build/tools``.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from lading.deploy.values import BASE_MIB, BODY_COPIES, CONNECTION_BYTES, HEAD_ROOM, VALUE_BYTES
from lading.settings import Settings
from tests.chart.matrix import combinations
from tests.given.chart import CHART, ROOT, helm, one, render, tool
from tools import chart

TEMPLATES = "\n".join(file.read_text() for file in (CHART / "templates").rglob("*") if file.is_file())
VALUES = list(chart.values((CHART / "values.yaml").read_text()))
DIGEST = f"sha256:{'a' * 64}"
FETCH = ["artifact.source=fetch", "artifact.uri=gs://m/a", f"artifact.digest={DIGEST}"]
VOLUME = ["artifact.source=volume", "artifact.claimName=models"]
RUN_MIB = 32
"""What a run of a small model takes."""
SCHEMA = chart.schema((CHART / "values.yaml").read_text())


@pytest.mark.parametrize("value", VALUES, ids=lambda value: ".".join(value.path))
def test_every_value_is_used_by_a_template(value: chart.Value) -> None:
    if value.path == ("global",):
        return
    name = value.path[-1]
    assert re.search(rf"\.{re.escape(name)}\b", TEMPLATES), f"no template reads {'.'.join(value.path)}"


def test_every_value_that_a_template_reads_is_there() -> None:
    known = {".".join(value.path[: depth + 1]) for value in VALUES for depth in range(len(value.path))}
    read = set(re.findall(r"\.Values\.([\w.]+)", TEMPLATES))
    free = tuple(".".join(value.path) + "." for value in VALUES if value.schema.get("type") == "object")
    assert {path for path in read if path not in known and not path.startswith(free)} == set()


def test_a_value_without_documentation_is_refused() -> None:
    with pytest.raises(chart.UndocumentedValueError, match=r"image\.tag has no `# --` comment"):
        list(chart.values("image:\n  tag: 1\n"))


@pytest.mark.parametrize(
    "values",
    [
        {"replicas": 3},
        {"image": {"name": "x"}},
        {"mode": "knative"},
        {"settings": {"deadline": 5}},
        {"settings": {"deadline_ms": 0}},
        {"settings": {"artifact": "/elsewhere"}},
        {"autoscaling": {"kind": "hpa", "minReplicas": -1}},
        {"artifact": {"digest": "sha256:short"}},
        {"artifact": {"source": "fetch", "uri": "ftp://host/cards"}},
        {"gateway": {"paths": ["metrics"]}},
    ],
    ids=str,
)
def test_the_schema_refuses_a_typo(values: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, SCHEMA)


def test_the_schema_knows_every_setting_but_those_that_the_chart_sets() -> None:
    known = set(SCHEMA["properties"]["settings"]["properties"])
    assert known == set(Settings.model_fields) - chart.SET_BY_CHART
    jsonschema.validate({"settings": {"deadline_ms": 500, "variants": "fp32,int8", "log_format": "json"}}, SCHEMA)


def test_the_defaults_fit_the_schema() -> None:
    jsonschema.validate(yaml.safe_load((CHART / "values.yaml").read_text()), SCHEMA)


def test_what_is_generated_is_committed() -> None:
    assert all(file.read_text() == text for file, text in chart.generated_files().items())


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        ([], Settings().max_body_bytes),
        (["settings.max_body_mb=8"], 8_000_000),
        (["settings.max_body_mb=2000"], 2_000_000_000),
        (["ingress.annotations.nginx\\.ingress\\.kubernetes\\.io/proxy-body-size=1g"], "1g"),
    ],
)
def test_an_ingress_by_nginx_accepts_what_the_server_accepts(sets: list[str], expected: int | str) -> None:
    ingress = one(render("ingress.enabled=true", "ingress.hosts={a.example}", *sets), "Ingress")
    annotations = ingress["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/proxy-body-size"] == str(expected)
    assert annotations["nginx.org/client-max-body-size"] == str(expected if isinstance(expected, int) else 16_000_000)


def test_what_clients_can_make_a_server_hold_fits_the_default_memory_limit() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    runtime = yaml.safe_load((ROOT / "k8s" / "kserve" / "runtime-values.yaml").read_text())
    for given in (values, runtime):
        settings = Settings(**{**values["settings"], **given.get("settings", {})})
        waiting_mb = 2 * settings.max_queue_mb + settings.grpc_max_streams * settings.grpc_max_message_mb
        reading_mb = max(
            BODY_COPIES * settings.max_body_mb + settings.max_decode_mb,
            settings.max_json_values * VALUE_BYTES / 1e6,
        )
        connections_mb = settings.max_connections * CONNECTION_BYTES / 1e6
        held_mib = (waiting_mb + reading_mb + connections_mb) * 1e6 / 2**20
        needed = (BASE_MIB[given["bento"]["enabled"]] + RUN_MIB + held_mib) * HEAD_ROOM
        limit = given["resources"]["limits"]["memory"]
        assert needed <= int(limit.removesuffix("Mi")), given
        assert given["resources"]["requests"]["memory"] == limit


def test_helm_lints_it_strictly() -> None:
    result = helm("lint", "--strict", str(CHART))
    assert result.returncode == 0, result.stdout + result.stderr


def test_its_own_unit_tests_pass() -> None:
    result = subprocess.run(
        [tool("helm-unittest"), "--strict", str(CHART)], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_helm_refuses_a_typo_in_a_setting() -> None:
    result = helm("template", "cards", str(CHART), "--set", "settings.deadlin_ms=5")
    assert result.returncode != 0
    assert "deadlin_ms" in result.stderr


def test_every_rule_and_dashboard_of_the_folder_becomes_an_object() -> None:
    rules = sorted(path.stem for path in (CHART / "monitoring").glob("*.yaml"))
    dashboards = sorted(path.stem for path in (CHART / "monitoring").glob("*.json"))
    objects = render("monitoring.rules.enabled=true", "monitoring.dashboards.enabled=true")
    names = [document["metadata"]["name"].removeprefix("cards-") for document in objects]
    assert [name for name in names if name in rules] == rules
    assert sorted(name for name in names if name in dashboards) == dashboards
    for document in objects:
        if document["kind"] == "ConfigMap" and document["metadata"]["name"] != "cards":
            json.loads(next(iter(document["data"].values())))


def test_an_alert_is_left_out_by_name_and_labelled_for_routing(tmp_path: Path) -> None:
    copy = shutil.copytree(CHART, tmp_path / "lading")
    shutil.rmtree(copy / "monitoring", ignore_errors=True)
    (copy / "monitoring").mkdir()
    rule = {"alert": "Kept", "expr": "1", "labels": {"severity": "page"}}
    groups = [{"name": "a", "rules": [rule, {"alert": "Dropped", "expr": "1"}]}]
    (copy / "monitoring" / "slo.yaml").write_text(json.dumps({"groups": groups}))
    options = [
        "--set",
        "monitoring.rules.enabled=true,monitoring.rules.exclude={Dropped},monitoring.rules.alertLabels.team=ml",
    ]
    result = helm("template", "cards", str(copy), *options, "--show-only", "templates/prometheusrule.yaml")
    assert result.returncode == 0, result.stderr
    (made,) = yaml.safe_load(result.stdout)["spec"]["groups"][0]["rules"]
    labels = {"release": "cards", "severity": "page", "team": "ml"}
    assert made == {"alert": "Kept", "expr": "1", "labels": labels}


def test_the_selector_of_the_committed_chart_has_not_changed() -> None:
    """A Deployment's selector cannot be changed: a release could not be upgraded to a chart that wants another."""
    deployment = one(render(), "Deployment")
    assert deployment["spec"]["selector"]["matchLabels"] == {
        "app.kubernetes.io/name": "lading",
        "app.kubernetes.io/instance": "cards",
        "app.kubernetes.io/component": "server",
    }


CRDS = ROOT / "build" / "tools" / "crds"
"""Schemas of what is not Kubernetes' own, as ``make test-chart`` fetches them; GKE's part lies beside the tests."""
NOTHING = "apiVersion: v1\nkind: List\nmetadata: {}\nitems: []\n"
WITHOUT_CRDS = re.compile(r"^(v1|apps/|autoscaling/|batch/|networking\.k8s\.io/|policy/)|\.gke|googleapis")
"""Groups that can be validated without them."""


@pytest.mark.slow
def test_what_it_renders_is_valid_and_restricted_in_every_combination(tmp_path: Path) -> None:
    for number, (name, sets) in enumerate(combinations()):
        rendered = render(*sets, "extraEnv[0].name=HOME", "extraEnv[0].value=/x")
        for document in rendered:
            every_container_is_restricted(document, name)
        kept = [one for one in rendered if CRDS.is_dir() or WITHOUT_CRDS.search(one["apiVersion"])]
        text = yaml.dump_all(kept, Dumper=yaml.CSafeDumper) if kept else NOTHING
        (tmp_path / f"{number:03}.yaml").write_text(f"# {name}\n{text}")
    crds = CRDS if CRDS.is_dir() else ROOT / "tests" / "chart"
    words = [tool("kubectl-validate"), str(tmp_path), "--local-crds", str(crds), "--version", "1.30"]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert result.returncode == 0, "\n".join(line for line in result.stderr.splitlines() if "OK" not in line)


def every_container_is_restricted(document: dict[str, Any], name: str) -> None:
    """No container names a variable twice, mounts what is not there, may do more than it needs, or runs as root."""
    spec = pod_spec(document)
    if spec is None:
        return
    volumes = {volume["name"] for volume in spec.get("volumes", [])}
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
        assert mounted <= volumes, f"{name}: {container['name']} mounts {mounted - volumes}, which no volume is"
        names = [variable["name"] for variable in container.get("env", [])]
        assert len(names) == len(set(names)), f"{name}: {names}"
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, name
        assert container["securityContext"]["readOnlyRootFilesystem"] is True, name
        assert container["securityContext"]["allowPrivilegeEscalation"] is False, name
        assert "memory" in container["resources"]["limits"], name
    assert all(volume.get("emptyDir", {"sizeLimit": ""}).get("sizeLimit") is not None for volume in spec["volumes"])
    runtime = document["kind"].endswith("ServingRuntime")  # KServe gives those pods their own context
    assert runtime or spec["securityContext"]["runAsNonRoot"] is True, name
    assert runtime or spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
    assert runtime or spec["automountServiceAccountToken"] is False, name


def pod_spec(document: dict[str, Any]) -> dict[str, Any] | None:
    """The pod that an object makes, if it makes one."""
    spec: dict[str, Any] = document.get("spec", {})
    if document["kind"] in ("Deployment", "Job"):
        found: dict[str, Any] = spec["template"]["spec"]
        return found
    if document["kind"] == "InferenceService":
        return dict(spec["predictor"])
    return spec if document["kind"] in ("Pod", "ClusterServingRuntime", "ServingRuntime") else None


@pytest.mark.parametrize(
    ("sets", "named", "models", "checked"),
    [
        ([], "/app/artifact", None, ["/app/artifact"]),
        (["artifact.more[0].path=/b"], "/app/artifact:/b", None, ["/app/artifact", "/b"]),
        (["artifact.models=/m"], None, "/m", ["/m"]),
        (["artifact.models=/m", "artifact.path=/a"], "/a", "/m", ["/a", "/m"]),
        ([*VOLUME, "artifact.models=."], None, "/artifacts", ["/artifacts"]),
        (
            [*VOLUME, "artifact.path=a", "artifact.more[0].path=b"],
            "/artifacts/a:/artifacts/b",
            None,
            ["/artifacts/a", "/artifacts/b"],
        ),
        (
            [*FETCH, "artifact.more[0].uri=gs://m/b", f"artifact.more[0].digest={DIGEST}"],
            "/artifacts/served:/artifacts/more-1",
            None,
            ["/artifacts/served", "/artifacts/more-1"],
        ),
    ],
)
def test_several_artifacts_are_served_and_each_is_checked(
    sets: list[str], named: str | None, models: str | None, checked: list[str]
) -> None:
    objects = render(*sets)
    pod = one(objects, "Deployment")["spec"]["template"]["spec"]
    variables = {variable["name"]: variable.get("value") for variable in pod["containers"][0]["env"]}
    assert (variables.get("LADING_ARTIFACT"), variables.get("LADING_MODELS")) == (named, models)
    test = one(objects, "Pod")["spec"]
    arguments = test["containers"][0]["args"]
    assert arguments[: arguments.index("--url")] == checked
    fetched = [container["args"][-1] for container in pod.get("initContainers", [])]
    assert fetched == (checked if FETCH[0] in sets else [])
    assert [container["args"][-1] for container in test.get("initContainers", [])] == fetched


def test_the_pod_of_helm_test_requests_little_also_where_it_fetches() -> None:
    test = one(render(*FETCH), "Pod")["spec"]
    assert {each["resources"]["requests"]["cpu"] for each in [*test["containers"], *test["initContainers"]]} == {"50m"}


def test_a_text_reader_is_a_value() -> None:
    settings = one(render("settings.text_forms.smiles=models.molecule_graphs.smiles:read_smiles"), "ConfigMap")["data"]
    assert settings["LADING_TEXT_FORMS"] == "smiles=models.molecule_graphs.smiles:read_smiles"
