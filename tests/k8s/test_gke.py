"""What stands around the chart on GKE is valid, agrees with itself, and deploys what the chart accepts."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.k8s.tools import ROOT, tool, validate

GKE = ROOT / "k8s" / "gke"
TERRAFORM = GKE / "terraform"
PROVIDER = ROOT / "tests" / "k8s" / "provider" / "schema_provider.py"
WORKFLOW = ROOT / ".github" / "workflows" / "deploy.yaml"
MANIFESTS = [GKE / name for name in ("deployer.yaml", "gateway.yaml", "namespace.yaml", "prometheus.yaml")]


def terraform(folder: Path, *words: str, settings: Path | None = None) -> subprocess.CompletedProcess[str]:
    program = shutil.which("terraform") or shutil.which("tofu")
    if program is None:
        pytest.skip("terraform is not here")
    environment = {**os.environ, "CHECKPOINT_DISABLE": "1", "TF_DISABLE_PLUGIN_TLS": "1"}
    if settings:
        environment["TF_CLI_CONFIG_FILE"] = str(settings)
    return subprocess.run([program, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False)


def validated(folder: Path, scratch: Path) -> subprocess.CompletedProcess[str]:
    """``terraform validate`` against the schema of Google's provider, without a registry."""
    binaries = scratch / "provider"
    binaries.mkdir()
    program = binaries / "terraform-provider-google"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} {PROVIDER}\n")
    program.chmod(0o755)
    settings = scratch / "terraformrc"
    overrides = f'dev_overrides {{ "hashicorp/google" = "{binaries}" }}'
    settings.write_text(f"provider_installation {{\n  {overrides}\n  direct {{}}\n}}\n")
    return terraform(folder, "validate", "-no-color", settings=settings)


def test_the_terraform_is_valid_by_the_schema_of_googles_provider(tmp_path: Path) -> None:
    done = validated(TERRAFORM, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert terraform(TERRAFORM, "fmt", "-check").returncode == 0


@pytest.mark.parametrize(
    ("file", "right", "wrong", "message"),
    [
        ("cluster.tf", "enable_autopilot ", "enable_autopiloot ", r'Did you mean\s+"enable_autopilot"'),
        ("network.tf", "router.this.name", "router.that.name", "Reference to undeclared resource"),
        ("buckets.tf", "lifecycle_rule {", "lifecycle_rules {", "Blocks of type .lifecycle_rules. are not"),
        ("registry.tf", 'format        = "DOCKER"', "", 'argument "format" is required'),
    ],
)
@pytest.mark.slow
def test_a_mistake_in_the_terraform_is_seen(file: str, right: str, wrong: str, message: str, tmp_path: Path) -> None:
    copy = shutil.copytree(TERRAFORM, tmp_path / "terraform")
    text = (copy / file).read_text()
    assert right in text
    (copy / file).write_text(text.replace(right, wrong, 1))
    done = validated(copy, tmp_path)
    assert done.returncode != 0
    assert re.search(message, done.stderr + done.stdout), done.stderr


def test_the_schema_is_of_the_provider_that_the_terraform_asks_for() -> None:
    version = json.loads(PROVIDER.with_name("google-provider.json").read_text())["version"]
    (wanted,) = re.findall(r'version = "~> ([0-9.]+)"', (TERRAFORM / "versions.tf").read_text())
    assert version.startswith(f"{wanted}.")


def test_every_manifest_is_valid_by_the_schemas_of_its_kinds(tmp_path: Path) -> None:
    validate({file.name: [*yaml.safe_load_all(file.read_text())] for file in MANIFESTS}, tmp_path)


def test_the_gateway_has_the_address_and_the_certificates_that_terraform_makes() -> None:
    (name,) = re.findall(r'variable "name" \{[^}]*default\s*=\s*"(\w+)"', (TERRAFORM / "variables.tf").read_text())
    _, gateway, _ = yaml.safe_load_all((GKE / "gateway.yaml").read_text())
    assert gateway["metadata"]["annotations"]["networking.gke.io/certmap"] == name
    assert [address["value"] for address in gateway["spec"]["addresses"]] == [name]
    namespace = yaml.safe_load((GKE / "namespace.yaml").read_text())["metadata"]["labels"]
    selector = gateway["spec"]["listeners"][0]["allowedRoutes"]["namespaces"]["selector"]["matchLabels"]
    assert selector.items() <= namespace.items()
    values = yaml.safe_load((GKE / "values.yaml").read_text())
    assert values["gateway"]["parentRefs"] == [
        {"name": gateway["metadata"]["name"], "namespace": "gateway", "sectionName": "https"}
    ]


def test_the_frontend_of_prometheus_is_who_terraform_lets_read() -> None:
    account = next(
        one for one in yaml.safe_load_all((GKE / "prometheus.yaml").read_text()) if one["kind"] == "ServiceAccount"
    )
    subject = f"ns/{account['metadata']['namespace']}/sa/{account['metadata']['name']}"
    assert subject in (TERRAFORM / "identity.tf").read_text()


def deploy(tmp_path: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """What ``k8s/gke/deploy`` has Helm do, rendered: a Helm on the path that renders where it should upgrade."""
    shim = tmp_path / "helm"
    shim.write_text(
        '#!/bin/bash\nwords=()\nfor word in "$@"; do case $word in --install|--wait|--rollback-on-failure|15m) ;;'
        ' --timeout) ;; *) words+=("$word") ;; esac; done\n'
        f'[ "$1" = upgrade ] && exec {tool("helm")} template "${{words[@]:1}}"\necho "# tested with: $*"\n'
    )
    shim.chmod(0o755)
    artifact = tmp_path / "cards"
    artifact.mkdir()
    (artifact / "lading.json").write_text("{}")
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "RELEASE": "cards",
        "NAMESPACE": "serve",
        "DOMAIN": "models.example.com",
        "SERVE": f"europe-west1-docker.pkg.dev/my-models/lading/serve@sha256:{'a' * 64}",
        "LOAD": f"europe-west1-docker.pkg.dev/my-models/lading/load@sha256:{'b' * 64}",
        "BUCKET": "gs://my-models-artifacts",
        **more,
    }
    words = [str(GKE / "deploy"), str(artifact)]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)


def deployed(tmp_path: Path) -> str:
    done = deploy(tmp_path)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("image", ["SERVE", "LOAD"])
@pytest.mark.parametrize("name", ["registry/serve:1", "registry/serve", "registry/serve@sha256:abc"])
def test_an_image_without_a_digest_is_not_deployed(image: str, name: str, tmp_path: Path) -> None:
    done = deploy(tmp_path, **{image: name})
    assert done.returncode == 2
    assert f"{name} is not an image by digest" in done.stderr


def test_what_is_deployed_on_gke_requires_keys_and_limits_the_rate(tmp_path: Path) -> None:
    kinds = {one["kind"]: one for one in yaml.safe_load_all(deployed(tmp_path)) if one}
    pod = kinds["Deployment"]["spec"]["template"]["spec"]
    variables = {one["name"]: one.get("value") for one in pod["containers"][0]["env"]}
    assert variables["LADING_API_KEYS"] == "/etc/lading/keys/keys"
    assert {"name": "keys", "secret": {"secretName": "cards-keys"}} in pod["volumes"]
    policy = kinds["GCPBackendPolicy"]["spec"]["default"]["securityPolicy"]
    armor = (TERRAFORM / "armor.tf").read_text()
    assert (
        policy
        == re.findall(r'variable "name" \{[^}]*default\s*=\s*"(\w+)"', (TERRAFORM / "variables.tf").read_text())[0]
    )
    assert re.search(r'"google_compute_security_policy" "this" \{\n\s+name\s+= var\.name', armor)
    assert re.search(r'action\s+= "throttle"', armor)


def test_what_is_deployed_on_gke_is_what_the_deployer_may_deploy(tmp_path: Path) -> None:
    role, binding = yaml.safe_load_all((GKE / "deployer.yaml").read_text())
    allowed = {
        (group, resource)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        if "create" in rule["verbs"]
    }
    for one in yaml.safe_load_all(deployed(tmp_path)):
        if one:
            group = one["apiVersion"].rpartition("/")[0]
            name = one["kind"].lower()
            plural = f"{name[:-1]}ies" if name.endswith("y") else f"{name.removesuffix('s')}s"
            assert (group, plural) in allowed, one["kind"]
    (subject,) = binding["subjects"]
    assert subject["name"].startswith("lading-deployer@")
    assert 'account_id   = "${var.name}-deployer"' in (TERRAFORM / "identity.tf").read_text()


def test_what_is_deployed_on_gke_is_accepted_by_the_chart_and_valid(tmp_path: Path) -> None:
    output = deployed(tmp_path)
    objects = [one for one in yaml.safe_load_all(output) if one]
    assert "# tested with: test cards --namespace serve --logs" in output
    validate({"deployed.yaml": objects}, tmp_path / "valid")
    kinds = {one["kind"]: one for one in objects}
    assert {"HTTPRoute", "GRPCRoute", "HealthCheckPolicy", "GCPBackendPolicy", "PodMonitoring", "Rules"} <= set(kinds)
    assert kinds["HorizontalPodAutoscaler"]
    job: dict[str, Any] = kinds["Job"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "post-install,post-upgrade"
    assert job["spec"]["template"]["spec"]["containers"][0]["image"].endswith(f"/lading/load@sha256:{'b' * 64}")
    pod = kinds["Deployment"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"].endswith(f"/lading/serve@sha256:{'a' * 64}")
    assert pod["initContainers"][0]["args"][0].startswith("gs://my-models-artifacts/cards/")
    assert pod["serviceAccountName"] == "cards"
    assert not [word for word in ("PROJECT", "REGION", "DOMAIN") if re.search(rf"\b{word}\b", json.dumps(objects))]


def test_the_payload_bucket_forgets() -> None:
    _, payloads = (TERRAFORM / "buckets.tf").read_text().split('resource "google_storage_bucket" "payloads"')
    assert re.search(r"condition \{\s+age = 30\s+\}\s+action \{\s+type = \"Delete\"", payloads)
    assert 'public_access_prevention    = "enforced"' in payloads


def test_github_accepts_the_workflow() -> None:
    done = subprocess.run(
        [tool("actionlint"), "-shellcheck=", str(WORKFLOW)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_workflow_reads_the_variables_that_terraform_prints_and_no_secret() -> None:
    text = WORKFLOW.read_text()
    (printed,) = re.findall(
        r'output "github_variables".*?value = \{(.*?)\}', (TERRAFORM / "outputs.tf").read_text(), re.S
    )
    assert set(re.findall(r"vars\.(\w+)", text)) == set(re.findall(r"^\s+(\w+)\s+=", printed, re.MULTILINE))
    keys = {name: re.findall(r"secrets\.(\w+)", str(job)) for name, job in yaml.safe_load(text)["jobs"].items()}
    assert {name: found for name, found in keys.items() if found} == {"load": ["LOAD_KEY"]}, (
        "a client's key, nothing else"
    )
    assert yaml.safe_load(text)["permissions"] == {}


def test_the_pipelines_deploy_with_the_values_that_lading_writes_and_with_a_domain() -> None:
    made = "make artifacts/cards/lading.json boms build/cards-values.yaml"
    published = 'k8s/gke/publish artifacts/cards "gs://{}-artifacts/cards" build/cards-values.yaml'
    for text, project in ((WORKFLOW.read_text(), "$PROJECT"), ((GKE / "cloudbuild.yaml").read_text(), "${PROJECT_ID}")):
        assert made in text
        assert published.format(project) in text
    build = yaml.safe_load((GKE / "cloudbuild-deploy.yaml").read_text())
    (deploys,) = [step["args"][-1] for step in build["steps"] if step["id"] == "deploy"]
    assert {"DOMAIN=${_DOMAIN}", "VALUES=values.yaml", "SERVE=${_SERVE}", "LOAD=${_LOAD}"} <= set(deploys.split())
    assert "${_FOLDER}.values.yaml" in deploys
    assert build["substitutions"]["_DOMAIN"] == "", "an example's domain would be deployed"
    assert "VALUES: build/cards-values.yaml" in WORKFLOW.read_text()


@pytest.mark.parametrize("name", ["cloudbuild.yaml", "cloudbuild-deploy.yaml"])
def test_cloud_build_accepts_its_configuration(name: str) -> None:
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.cloudbuild"]
    done = subprocess.run([*words, str(GKE / name)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["cloudbuild.yaml", "cloudbuild-deploy.yaml"])
def test_cloud_builds_steps_wait_for_steps_that_exist_and_its_trigger_sets_what_it_reads(name: str) -> None:
    build = yaml.safe_load((GKE / name).read_text())
    known: set[str] = set()
    for step in build["steps"]:
        assert set(step.get("waitFor", [])) <= known
        known.add(step["id"])
    triggers = (TERRAFORM / "build.tf").read_text().split("resource ")
    (trigger,) = [one for one in triggers if f"/{name}" in one]
    assert set(re.findall(r"^\s+(_[A-Z]+)\s+=", trigger, re.MULTILINE)) <= set(build["substitutions"])
    read = set(re.findall(r"(?<!\$)\$\{(\w+)\}", str(build["steps"]) + str(build.get("images"))))
    assert read - {"PROJECT_ID", "SHORT_SHA", "REPO_FULL_NAME"} <= set(build["substitutions"])
