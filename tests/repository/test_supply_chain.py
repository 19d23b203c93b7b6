"""What builds and deploys is named by its content, and no job holds two identities.

The rules hold for every workflow, Containerfile, build configuration and manifest, also for those that are added later.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.y*ml"))
ACTIONS = sorted((ROOT / ".github").rglob("*.y*ml"))
CONTAINERFILES = sorted(
    file for file in (ROOT / "docker").rglob("*") if re.search(r"Containerfile|Dockerfile", file.name)
)
BUILDS = sorted((ROOT / "k8s").rglob("cloudbuild*.y*ml"))
MANIFESTS = sorted(
    file for file in (ROOT / "k8s").rglob("*.y*ml") if file not in BUILDS and "values" not in file.name
)  # values are the chart's, whose images are below
SCRIPTS = [
    ROOT / "Makefile",
    *sorted(
        file
        for folder in (".ci", "docker", "k8s", ".github")
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and file.suffix in ("", ".sh")
    ),
]
TERRAFORM = {file.name: file.read_text() for file in sorted((ROOT / "k8s" / "gke" / "terraform").glob("*.tf"))}
DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
OWN = re.compile(r"^(lading(-\w+)?:|\$|[\"']?\$)")
"""An image that this repository builds, or a variable."""
ACTION = re.compile(r"^[\w.-]+/[\w./-]+@[0-9a-f]{40}$")
OTHER_CODE = re.compile(r"(?<![\w./-])(make|pip|pip3|python|python3|uv|npm|npx|go|\.ci/run)(\s|$)")
"""Commands that run the project's dependencies, or install some."""


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    for file in WORKFLOWS:
        for name, job in yaml.safe_load(file.read_text())["jobs"].items():
            yield f"{file.name}: {name}", job


def scripts_of(job: dict[str, Any]) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


def accounts_of(job: dict[str, Any]) -> set[str]:
    """The Google accounts that a job's steps ask for."""
    asked = (str(step.get("with", {}).get("service_account", "")) for step in job["steps"])
    return {word for account in asked for word in re.findall(r"vars\.(\w+)", account)}


def images_of(value: Any) -> Iterator[str]:
    """Every ``image`` of a manifest, wherever it is."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "image" and isinstance(inner, str):
                yield inner
            else:
                yield from images_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from images_of(inner)


def unpinned_image(name: str) -> bool:
    return not DIGEST.search(name) and not OWN.search(name)


def unsafe_lines(script: str) -> list[str]:
    """Downloads that run or unpack before a checksum was compared, and packages that are installed without one."""
    script = script.replace("\\\n", " ")
    found = []
    for line in script.splitlines():
        if re.search(r"\b(curl|wget)\b[^|;&]*\|", line):
            found.append(line)
        downloads = re.search(r"\b(curl|wget)\b.*\bhttps?://(?!127\.0\.0\.1)", line) and "/dev/null" not in line
        if downloads and not re.search(r"sha256sum\s+(--check|-c)\b", script):
            found.append(line)
        if re.match(r"ADD\s.*https?://", line) and "--checksum=sha256:" not in line:
            found.append(line)
        if re.search(r"\bpip3?\b.*\binstall\b", line) and not re.search(r"--require-hashes|--no-deps -e \.", line):
            found.append(line)
    return found


def containers_run(script: str) -> list[str]:
    """The image of each ``docker run`` and ``docker pull``: the word with a digest, or else all of the command."""
    commands = re.findall(r"\b(?:docker|podman) (?:run|pull)\b(.*)", script.replace("\\\n", " "))
    found = []
    for command in commands:
        pinned = [word for word in command.split() if DIGEST.search(word)]
        found.append(pinned[0] if pinned else f"?{command}")
    return found


def unpinned_bases(containerfile: str) -> list[str]:
    """What a Containerfile starts from or copies out of, by a name that may change its content."""
    lines = containerfile.splitlines()
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", containerfile, re.MULTILINE))
    stages = {line.split(" AS ")[1].strip() for line in lines if line.startswith("FROM ") and " AS " in line}
    named = [line.split()[1] for line in lines if line.startswith("FROM ")]
    named += re.findall(r"--from=(\S+)", containerfile)
    resolved = [re.sub(r"\$\{(\w+)\}", lambda found: arguments.get(found[1], found[0]), name) for name in named]
    return [name for name in resolved if name not in stages and not DIGEST.search(name)]


@pytest.mark.parametrize("file", ACTIONS, ids=lambda file: file.name)
def test_every_action_is_named_by_its_commit_with_its_version(file: Path) -> None:
    used = re.findall(r"uses: *(\S+)(.*)", file.read_text())
    assert not [
        name for name, comment in used if not ACTION.match(name) or not re.match(r" # v\d+\.\d+\.\d+$", comment)
    ]


@pytest.mark.parametrize("file", CONTAINERFILES, ids=lambda file: file.name)
def test_every_image_starts_from_a_digest_and_installs_by_hash(file: Path) -> None:
    assert not unpinned_bases(file.read_text())
    assert not unsafe_lines(file.read_text())


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_image_of_a_manifest_is_ours_or_named_by_digest(file: Path) -> None:
    named = [image for document in yaml.safe_load_all(file.read_text()) for image in images_of(document)]
    assert not [image for image in named if unpinned_image(image)]


def test_what_a_workflow_or_a_build_runs_in_a_container_is_named_by_digest() -> None:
    used = [step["name"] for file in BUILDS for step in yaml.safe_load(file.read_text())["steps"]]
    for _, job in jobs():
        used += [job["container"]] if isinstance(job.get("container"), str) else [*images_of(job.get("container"))]
        used += images_of(job.get("services"))
        used += [step["uses"] for step in job["steps"] if step.get("uses", "").startswith("docker://")]
        for script in scripts_of(job):
            used += containers_run(script)
    assert used
    assert not [image for image in used if unpinned_image(image)]


def test_nothing_is_downloaded_or_installed_without_a_checksum() -> None:
    texts = {str(file.relative_to(ROOT)): file.read_text() for file in SCRIPTS}
    texts |= {f"{name}, step {number}": script for name, job in jobs() for number, script in enumerate(scripts_of(job))}
    for file in BUILDS:
        for step in yaml.safe_load(file.read_text())["steps"]:
            texts[f"{file.name}: {step['id']}"] = "\n".join(step.get("args", []))
    assert not {name: unsafe_lines(text) for name, text in texts.items() if unsafe_lines(text)}


def test_every_job_states_what_it_may_do_and_keeps_no_credentials() -> None:
    for file in WORKFLOWS:
        assert yaml.safe_load(file.read_text())["permissions"] == {}
    for name, job in jobs():
        known = {("contents", "read"), ("contents", "write"), ("packages", "write"), ("id-token", "write")}
        assert set(job["permissions"].items()) <= known, name
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False, name
            assert "${{" not in step.get("run", ""), f"{name}: pass it as a variable; an expression can inject commands"


def test_a_job_that_may_write_or_has_an_identity_runs_no_code_of_dependencies() -> None:
    for name, job in jobs():
        if "write" in job["permissions"].values():
            assert not [found[0] for script in scripts_of(job) for found in OTHER_CODE.finditer(script)], name
        else:
            assert not accounts_of(job), name


def test_no_job_builds_and_deploys() -> None:
    deployers = []
    for name, job in jobs():
        accounts = accounts_of(job)
        assert len(accounts) <= 1, name
        assert ("GCP_DEPLOYER" in accounts) == (job.get("environment") == "production"), name
        if "GCP_DEPLOYER" in accounts:
            deployers.append(name)
            assert not re.search(r"docker (build|push)|docker/build|cosign sign", "\n".join(scripts_of(job))), name
        else:
            assert not re.search(r"\bhelm\s|kubectl|k8s/gke/deploy", "\n".join(scripts_of(job))), name
    assert deployers


def test_google_lends_each_account_to_its_own_jobs() -> None:
    lent = re.findall(
        r"service_account_id = google_service_account\.(\w+)\.name\n.*\n\s+member\s+= \"(\S+)\"",
        TERRAFORM["identity.tf"],
    )
    assert {account: member.rpartition("/subject/")[2].partition("}:")[2] for account, member in lent} == {
        "publisher": "ref:refs/heads/main",
        "deployer": "environment:production",
    }
    assert "principalSet://" not in TERRAFORM["identity.tf"]


def test_no_account_has_a_role_over_everything() -> None:
    roles = {role for text in TERRAFORM.values() for role in re.findall(r"\"(roles/[\w.]+)\"", text)}
    wide = re.compile(r"roles/(owner|editor|.*[aA]dmin|container\.(developer|admin|clusterAdmin))$")
    assert roles
    assert not {role for role in roles if wide.match(role)}
    deployer = re.findall(
        r"role\s+= (\S+)\n\s+member\s+= google_service_account\.deployer\.member", TERRAFORM["identity.tf"]
    )
    assert not [role for role in deployer if re.search(r"writer|Creator|objectUser", role)]


def test_cloud_builds_two_builds_run_as_two_accounts() -> None:
    triggers = re.findall(r"resource \"google_cloudbuild_trigger\".*?\n}", TERRAFORM["build.tf"], re.DOTALL)
    accounts = {}
    for trigger in triggers:
        (file,) = re.findall(r"k8s/gke/[\w-]+\.yaml", trigger.split("included_files")[0])
        (accounts[Path(file).name],) = re.findall(r"google_service_account\.(\w+)\.id", trigger)
    assert accounts == {"cloudbuild.yaml": "publisher", "cloudbuild-deploy.yaml": "deployer"}
    assert "approval_required = true" in triggers[-1]
    assert not re.search(r"\bhelm\b|get-credentials|k8s/gke/deploy", (ROOT / "k8s/gke/cloudbuild.yaml").read_text())


def test_every_image_is_built_scanned_signed_and_verified() -> None:
    kinds = {file.stem for file in CONTAINERFILES}
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "deploy.yaml").read_text())["jobs"]
    assert set(workflow["images"]["strategy"]["matrix"]["image"]) == kinds
    released = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yaml").read_text())["jobs"]
    assert {one["image"] for one in released["images"]["strategy"]["matrix"]["include"]} == kinds
    for job in (workflow["images"], released["images"]):
        verbs = re.findall(r"^\.ci/image (\w+)", "\n".join(scripts_of(job)), re.MULTILINE)
        assert verbs == ["build", "scan", "push", "sign"], "scanned before it is pushed, and signed by digest after it"
    script = (ROOT / ".ci" / "image").read_text()
    assert all(word in script for word in ("trivy", "--exit-code 1", "cosign sign --yes", "cosign attest --yes"))
    assert {"cosign verify ", "cosign verify-attestation "} <= set(re.findall(r"cosign verify[\w-]* ", script))
    verified = re.findall(r"digests/(\w+)(?= |$)", "\n".join(scripts_of(workflow["deploy"])), re.MULTILINE)
    assert kinds <= set(verified)
    build = (ROOT / "k8s" / "gke" / "cloudbuild.yaml").read_text()
    for kind in kinds:
        assert f"${{_IMAGE}}/{kind}:" in build.partition("\nimages:")[2], kind
    (scanned,) = re.findall(r"for name in ([\w ]+); do\n\s+trivy", build)
    assert set(scanned.split()) == kinds


def test_the_workflow_fails_when_the_audit_cannot_be_done() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "deploy.yaml").read_text())["jobs"]
    assert "make audit REQUIRED=1" in scripts_of(workflow["audit"])
    assert "audit" in workflow["artifact"]["needs"]
    assert "make audit REQUIRED=1" in (ROOT / "k8s" / "gke" / "cloudbuild.yaml").read_text()
    assert "step audit make audit\n" in (ROOT / ".ci" / "run").read_text()


def test_helm_is_the_version_that_the_chart_is_tested_with() -> None:
    (version,) = re.findall(r"^version=(\S+)", (ROOT / "k8s" / "gke" / "helm-program").read_text(), re.MULTILINE)
    assert f"HELM_VERSION := {version}\n" in (ROOT / "Makefile").read_text()


def test_no_role_in_the_cluster_may_do_everything() -> None:
    for file in MANIFESTS:
        for document in yaml.safe_load_all(file.read_text()):
            kind = document.get("kind") if isinstance(document, dict) else None  # a list is a patch
            if kind not in ("Role", "ClusterRole", "ClusterRoleBinding"):
                continue
            assert kind == "Role", f"{file.name}: a Role of one namespace"
            for rule in document["rules"]:
                assert not {"*", "escalate", "bind", "impersonate"} & {*rule["verbs"], *rule["resources"]}, file.name
                assert not {"pods/exec", "pods/attach", "pods/portforward", "roles", "rolebindings"} & {
                    *rule["resources"]
                }, file.name


@pytest.mark.parametrize(
    "script",
    [
        "curl -fsSL https://example.com/install.sh | sh",
        "wget -qO- https://example.com/tool.tar.gz | tar -xz",
        "curl -o tool https://example.com/tool\nchmod +x tool",
        "pip install uv==1.0",
        "python -m pip --cache-dir /c \\\n install --target /app x",
        "bash <(curl -s https://example.com/install.sh)",
        "ADD https://example.com/tool /usr/bin/tool",
    ],
)
def test_a_download_without_a_checksum_is_seen(script: str) -> None:
    assert unsafe_lines(script)


@pytest.mark.parametrize("name", ["python:3.11-slim", "docker.io/library/python", "ghcr.io/x/y:1@sha256:abc"])
def test_an_image_by_tag_is_seen(name: str) -> None:
    assert unpinned_image(name)
    assert unpinned_bases(f"FROM {name}\n")
    assert unpinned_bases(f"ARG BASE={name}\nFROM ${{BASE}} AS wheels\n")
    assert unpinned_bases(f"FROM scratch AS a\nCOPY --from={name} /x /x\n")


@pytest.mark.parametrize("command", ["docker run ubuntu", "docker run -v \\\n /a:/b x/y:1 ls", "docker pull $IMAGE"])
def test_a_container_by_tag_is_seen(command: str) -> None:
    assert [image for image in containers_run(command) if unpinned_image(image)]


@pytest.mark.parametrize("name", ["actions/checkout@v5", "actions/checkout@main", "./local", "a/b@123abc"])
def test_an_action_by_tag_is_seen(name: str) -> None:
    assert not ACTION.match(name)
