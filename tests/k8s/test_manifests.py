"""The manifests in k8s are valid and restricted, and fit the commands."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from lading.cli import app
from tests.k8s.tools import ROOT, tool, validate

K8S = ROOT / "k8s"
FOLDERS = ("kserve", "canary", "batch")
FILES = [file for folder in FOLDERS for file in sorted((K8S / folder).rglob("*.yaml")) if "values" not in file.name]
NO_KINDS = "Kustomization"
JOBS = [K8S / "canary" / name for name in ("job.yaml", "shadow-job.yaml")]


def documents(file: Path) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(file.read_text()) if one["kind"] != NO_KINDS]


def test_every_manifest_is_valid_by_the_schemas_of_its_kinds(tmp_path: Path) -> None:
    validate({f"{number:02}-{file.name}": documents(file) for number, file in enumerate(FILES)}, tmp_path)


def test_the_serving_runtime_is_what_the_chart_renders() -> None:
    words = ["template", "lading", "helm/lading", "-f", "k8s/kserve/runtime-values.yaml"]
    words += ["--show-only", "templates/servingruntime.yaml"]
    made = subprocess.run([tool("helm"), *words], capture_output=True, text=True, check=True, cwd=ROOT)
    assert (K8S / "kserve" / "runtime.yaml").read_text() == made.stdout, "run `make generate`"


@pytest.mark.parametrize("file", sorted((K8S / "kserve").glob("*.yaml")), ids=lambda file: file.name)
def test_every_inference_service_names_the_runtime_and_gives_it_time_to_end(file: Path) -> None:
    (runtime,) = documents(K8S / "kserve" / "runtime.yaml")
    formats = {one["name"] for one in runtime["spec"]["supportedModelFormats"]}
    sleep = runtime["spec"]["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    for service in [one for one in yaml.safe_load_all(file.read_text()) if one.get("kind") == "InferenceService"]:
        spec = service["spec"]
        predictor = spec["predictor"]
        assert predictor["model"]["runtime"] == runtime["metadata"]["name"]
        assert predictor["model"]["modelFormat"]["name"] in formats
        assert predictor["model"]["protocolVersion"] in runtime["spec"]["protocolVersions"]
        assert predictor["terminationGracePeriodSeconds"] >= sleep + 30 + 10
        assert predictor["securityContext"]["runAsNonRoot"] is True


@pytest.mark.parametrize("file", JOBS, ids=lambda file: file.name)
def test_the_canarys_job_runs_a_command_that_there_is_and_is_restricted(file: Path) -> None:
    (job,) = documents(file)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    *python, name = container["command"]
    assert python == ["python", "-m", "lading"]
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    with command.make_context(name, list(container["args"])) as context:
        assert context.params["shadow"] is (file.name == "shadow-job.yaml")
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert job["spec"]["backoffLimit"] == 0


@pytest.mark.parametrize("file", JOBS, ids=lambda file: file.name)
def test_the_canarys_job_gets_keys_and_certificate_when_these_lines_are_uncommented(file: Path, tmp_path: Path) -> None:
    uncommented = re.sub(r"(?m)^( +)# (- )", r"\1\2", file.read_text())
    job = yaml.safe_load(uncommented)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    with typer.main.get_command(app).commands["canary"].make_context("canary", [*container["args"]]) as context:  # type: ignore[attr-defined]
        asked = {str(context.params[name].parent) for name in ("key", "ca")}
    mounts = {one["mountPath"]: one["name"] for one in container["volumeMounts"]}
    assert asked == {path for path in mounts if path.startswith("/etc/lading/")}
    assert set(mounts.values()) == {volume["name"] for volume in pod["volumes"]}
    validate({file.name: [job]}, tmp_path)


def test_the_job_may_change_its_own_routes_and_the_number_of_pods_and_nothing_else() -> None:
    (role,) = [one for one in documents(K8S / "canary" / "base" / "rbac.yaml") if one["kind"] == "Role"]
    rule, *others = role["rules"]
    assert [(one["resources"], one["verbs"]) for one in others] == [
        (["endpointslices"], ["list"]),
        (["horizontalpodautoscalers"], ["list"]),
        (["deployments/scale"], ["patch"]),
    ]
    routes = documents(K8S / "canary" / "base" / "route.yaml")
    assert rule["resourceNames"] == sorted({route["metadata"]["name"] for route in routes})
    assert rule["verbs"] == ["get", "patch"]
    for file in JOBS:
        (job,) = documents(file)
        args = job["spec"]["template"]["spec"]["containers"][0]["args"]
        named = [word.removeprefix("--route=") for word in args if word.startswith("--route=")]
        assert named == [f"{route['kind'].lower()}s/{route['metadata']['name']}" for route in routes]
        assert all(name.split("/")[0] in rule["resources"] for name in named)
        for route in routes:
            assert [one["name"] for one in route["spec"]["rules"][0]["backendRefs"]] == args[:2]
        assert others[-1]["resourceNames"] == args[:2]


def test_the_shared_route_lets_through_what_the_charts_own_does() -> None:
    values = yaml.safe_load((ROOT / "helm" / "lading" / "values.yaml").read_text())
    (route, _) = documents(K8S / "canary" / "base" / "route.yaml")
    paths = [match["path"]["value"] for match in route["spec"]["rules"][0]["matches"]]
    assert paths == values["gateway"]["paths"]


def test_the_policies_on_gke_are_those_that_the_chart_renders() -> None:
    sets = "gke.enabled=true,gke.securityPolicy=lading,gateway.enabled=true,gateway.parentRefs[0].name=web"
    rendered = subprocess.run(
        [tool("helm"), "template", "cards-a", "helm/lading", *shlex.split(f"--set '{sets}'")],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout
    wanted = {one["kind"]: one["spec"] for one in yaml.safe_load_all(rendered) if one and "Polic" in one["kind"]}
    for policy in documents(K8S / "canary" / "gke" / "policies.yaml"):
        spec = yaml.safe_load(re.sub("cards-b", "cards-a", yaml.safe_dump(policy["spec"])))
        assert spec == wanted[policy["kind"]]
