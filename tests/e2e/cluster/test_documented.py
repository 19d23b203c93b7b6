"""Documented commands on a real cluster: reading ones as they are written, others as a dry run of the API server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster.kube import ROOT, Release, run
from tests.given.documented import Documented, Way, run_by
from tests.given.self_signed import self_signed
from tests.given.working_folder import WorkingFolder, checkout

pytestmark = pytest.mark.slow
NAMESPACES = ("lading-training", "monitoring", "serve", "gateway")
"""Namespaces that manifests name and that a dry run does not create."""
CHANGING = re.compile(r"^(kubectl (-n \S+ |--namespace \S+ )?(apply|create|run|patch|set)|helm (upgrade|rollback)) ")
NOT_HERE = re.compile(
    r"no matches for kind \"(RayJob|HealthCheckPolicy|GCPBackendPolicy)\""
    r"|the server doesn't have a resource type \"(certificate|certificaterequest)\""
    r"|ensure CRDs are installed first|Metrics API not available|[Nn]ot ?[Ff]ound: previous terminated container"
    r"|previous terminated container .* not found|resource mapping not found"
    r"|(jobs.batch|services|inferenceservices.serving.kserve.io) \"?cards[\w-]*\"? not found"
    r"|\(NotFound\): pods \"reports\" not found|(gateways|httproutes)\S* \"(web|to-https)\" not found"
    r"|\(NotFound\): (jobs.batch|services|inferenceservices.serving.kserve.io) \"cards[\w-]*\""
)
"""Kinds that need an operator, and objects that another command of the page makes."""


@pytest.fixture(scope="module")
def folder(release: Release, artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkingFolder]:
    """A checkout with the page's values, and the variables of the runbooks."""
    release.upgrade()  # a second revision, to roll back to
    pod = release.pods()[0]["metadata"]["name"]
    named = {"POD": pod, "DEPLOYMENT": release.deployment, "SERVICE": release.name, "KEYS": "cards-keys"}
    work = checkout(
        tmp_path_factory.mktemp("documented") / "lading", environment={"NAMESPACE": release.namespace, **named}
    )
    (work.path / "artifacts").mkdir()
    (work.path / "artifacts" / "cards").symlink_to(artifact)
    (work.path / "keys").write_text("a-key-of-the-tests expires=2099-06-30\n")
    run("kubectl", "--namespace", release.namespace, "create", "secret", "generic", "cards-keys",
        f"--from-file={work.path / 'keys'}")  # fmt: skip
    for made, name in zip(self_signed(work.path), ("tls.crt", "tls.key"), strict=True):
        made.rename(work.path / name)
    for earlier in (
        "lading values artifacts/cards --rate 200 --repository cards > values.yaml",
        "lading monitor artifacts/cards --out watching",
        "lading keys new release.pem",
    ):
        done = work.type(earlier)
        assert done.returncode == 0, done.stderr
    absent = [name for name in NAMESPACES if not run("kubectl", "get", "namespace", name, "--ignore-not-found")]
    for name in absent:
        run("kubectl", "create", "namespace", name)
    yield work
    for name in absent:
        run("kubectl", "delete", "namespace", name, "--wait=false", "--ignore-not-found")


def on_the_cluster(text: str, namespace: str) -> str:
    """The command in the test's namespace; one that changes something is a dry run, one that follows a log ends."""
    text = re.sub(r"(--namespace|-n) serve\b", rf"\1 {namespace}", text)
    text = text.replace(" --create-namespace", "")
    if text.startswith("helm ") and "--namespace" not in text:
        text += f" --namespace {namespace}"
    # The Secret of that name is there already, for the commands that read it.
    text = re.sub(r"(kubectl create secret \w+) cards-keys\b", r"\1 cards-keys-of-the-page", text)
    if CHANGING.match(text):
        text = re.sub(r" --wait\b", "", text) + " --dry-run=server"
    if text.startswith("helm uninstall"):
        text += " --dry-run"
    text = re.sub(r"--timeout=\d+s", "--timeout=2s", text)
    if re.search(r" (-f|--follow) .*(-l|--selector)|--follow ", text) and " logs " in text:
        text = f"timeout 5 {text} || [ $? = 124 ]"
    return text


@pytest.mark.parametrize("one", run_by(Way.CLUSTER) + run_by(Way.CHART), ids=str)
def test_a_documented_command_runs_on_a_cluster(one: Documented, folder: WorkingFolder, release: Release) -> None:
    text = on_the_cluster(one.text, release.namespace)
    assert one.row is not None
    text = text.replace(" pod POD ", ' pod "$POD" ')
    if one.row.endless:
        text = re.sub(r"\b\d+:(\d+)", r":\1", text.removesuffix("&"))
        # The Services of other charts, and of the frontend, are not here.
        others = r"--namespace \S+ port-forward service/(?:alertmanager|kube-prometheus|cards-frontend)\S* :?\d+"
        text = re.sub(others, f"--namespace {release.namespace} port-forward service/cards :8080", text)
        text = re.sub(r"(\"\$POD\") 8080", r"\1 :8080", text)
        with folder.running(text, one.row.endless):
            return
    done = folder.type(f"set +o pipefail; {text}", timeout=120)
    said = [line for line in done.stderr.splitlines() if re.search(r"error|Error|unknown|Traceback", line)]
    refused = [line for line in said if not NOT_HERE.search(line)]
    assert not refused, done.stdout + done.stderr
    absent = said or NOT_HERE.search(done.stderr) or "cannot access '/etc/lading/" in done.stderr
    assert done.returncode == 0 or absent or "grep" in text or one.text.startswith("lading "), done.stderr


def test_each_line_of_the_notes_runs(release: Release) -> None:
    notes = run("helm", "get", "notes", release.name, "--namespace", release.namespace)
    lines = [line.strip() for line in notes.splitlines() if line.startswith("  ")]
    assert {line.split()[0] for line in lines} <= {"kubectl", "helm", "curl", "lading"}
    for line in (line for line in lines if line.split()[0] in ("kubectl", "helm") and "port-forward" not in line):
        run("bash", "-c", line)
    pages = [re.sub(r"http://127.0.0.1:8080", release.url, line) for line in lines if line.startswith("curl")]
    assert pages
    for line in pages:
        photo = str(ROOT / "examples" / "ace-of-hearts.jpg")
        assert json.loads(run("bash", "-c", line.replace("curl ", "curl -s ").replace("photo.jpg", photo)))
