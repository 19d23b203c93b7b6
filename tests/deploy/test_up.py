"""`lading up`: the commands that it writes, what it finds stale, and what it says when a step fails."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from lading.build.buildable import Buildable, find_buildable
from lading.build.shipped import shipped
from lading.deploy.image import content_tag, find_builder, image_context, load_command
from lading.deploy.release import Release, require_cluster
from lading.deploy.step import Step, written
from lading.deploy.up import Choices, Up, take_down
from lading.errors import ArtifactError, DeployError, LadingError, SpecError
from tests.given.signed import Signer
from tests.given.small_artifacts import table_artifact

MODEL = '''
"""A model of one file."""
from lading import ModelSpec, TensorSpec
from neighbour import SIZE

class Small(ModelSpec):
    name = "small"
    inputs = (TensorSpec(name="x", dtype="float32", shape=("batch", SIZE)),)
    outputs = (TensorSpec(name="y", dtype="float32", shape=("batch", SIZE)),)
    def dataset(self, split): return []
    def build(self): raise NotImplementedError
    def loss(self, outputs, targets): raise NotImplementedError
    def score(self, outputs, targets): return 0.0
'''


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is all of PATH; :func:`program` puts stand-ins for other people's programs there."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(folder: Path, name: str, script: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def written_up(source: Buildable, context: str = "kind-lading", **choices: object) -> list[str]:
    lines: list[str] = []
    release = Release(context, "serve", "small")
    Up(source, release, Choices(**choices), lines.append).print()  # type: ignore[arg-type]
    return lines


@pytest.mark.parametrize(
    ("context", "builder", "command"),
    [
        ("kind-lading", "docker", "kind load docker-image {image} --name lading"),
        ("kind-a-b", "podman", "kind load image-archive {archive} --name a-b"),
        ("minikube", "docker", "minikube image load {archive} --profile minikube"),
        ("k3d-mine", "buildah", "k3d image import {archive} --cluster mine"),
        ("microk8s", "docker", "microk8s images import {archive}"),
        ("docker-desktop", "docker", ""),
    ],
)
def test_the_name_of_a_context_tells_how_its_nodes_get_an_image(context: str, builder: str, command: str) -> None:
    assert load_command(None, context, builder) == command


def test_the_users_own_command_comes_before_what_the_name_tells() -> None:
    assert load_command("ctr images import {archive}", "kind-lading", "docker") == "ctr images import {archive}"


@pytest.mark.parametrize("context", ["gke_my-project_europe-west1_lading", "prod", "docker-desktop"])
def test_a_cluster_that_nobody_knows_needs_a_registry_or_a_command(context: str) -> None:
    with pytest.raises(DeployError, match=r"--registry.*--load"):
        load_command(None, context, "buildah")


def test_a_command_that_takes_no_image_is_refused() -> None:
    with pytest.raises(DeployError, match="names no image"):
        load_command("kind load", "kind-lading", "docker")


def test_a_dry_run_writes_every_command_as_a_shell_reads_it(tmp_path: Path) -> None:
    folder = table_artifact(tmp_path / "an artifact").path
    lines = written_up(Buildable("small", folder), sets=("replicaCount=1", "extra=a b"))
    verbs = [shlex.split(line)[0] + " " + shlex.split(line)[1] for line in lines]
    assert verbs[:5] == ["mkdir -p", "lading image", "kind load", "lading values", "helm upgrade"]
    assert verbs[5:] == ["kubectl --context", "curl --silent", "lading check", "kill %1"]
    assert subprocess.run(["bash", "-n"], input="\n".join(lines), text=True, check=False).returncode == 0
    helm = shlex.split(lines[4])
    assert "extra=a b" in helm
    assert str(folder) in shlex.split(lines[1])
    image = shlex.split(lines[1])[4]
    assert image in shlex.split(lines[2])
    assert f"image.tag={image.rpartition(':')[2]}" in lines[4]
    assert image.rpartition(":")[0] in shlex.split(lines[3])


def test_a_dry_run_of_what_is_not_built_reads_the_digest_after_the_build(tmp_path: Path) -> None:
    folder = table_artifact(tmp_path / "packed").path
    there = [line for line in written_up(Buildable("small", folder)) if "lading image" in line]
    source = Buildable("small", folder, ("lading", "build", "small.py:Small"), "it is older")
    lines = written_up(source)
    build, digest, image = lines[1:4]
    assert build == "lading build small.py:Small"
    shell = f'lading() {{ echo lading "$@"; }}\n{digest}\n{image}'
    said = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True).stdout
    assert said.split() == shlex.split(there[0]), "the shell finds the same name as a run after the build"


def test_an_artifact_that_was_signed_since_is_another_image(tmp_path: Path) -> None:
    """Nodes that have the image keep it, so a new signature would not reach them under the old tag."""
    folder, signer = table_artifact(tmp_path / "packed").path, Signer(tmp_path)

    def image() -> str:
        (line,) = [line for line in written_up(Buildable("small", folder)) if "lading image" in line]
        return shlex.split(line)[4]

    unsigned = image()
    signer.sign(folder)
    signed = image()
    assert signed.startswith(f"{unsigned}-")
    assert image() == signed
    signer.sign(folder)
    assert image() != signed


def test_with_a_registry_the_image_is_pushed_and_not_loaded(tmp_path: Path) -> None:
    folder = table_artifact(tmp_path / "packed").path
    lines = written_up(Buildable("small", folder), context="gke_a_b_c", registry="europe-docker.pkg.dev/a/b/")
    assert any(
        re.match(r"docker push europe-docker.pkg.dev/a/b/small:[0-9a-f]{12}-[0-9a-f]{8}$", line) for line in lines
    )
    assert not any("load" in line or "archive" in line for line in lines)


def test_an_archive_is_written_loaded_and_removed(tmp_path: Path) -> None:
    folder = table_artifact(tmp_path / "packed").path
    lines = written_up(Buildable("small", folder), context="mine", load="sudo ctr -n k8s.io images import {archive}")
    assert [line.split()[0] for line in lines[2:6]] == ["rm", "docker", "sudo", "rm"]


def test_a_command_that_loads_may_have_other_braces(tmp_path: Path) -> None:
    folder = table_artifact(tmp_path / "packed").path
    load = "sh -c 'docker cp {archive} ${NODE}:/i.tar; awk {print}'"
    (line,) = [
        line for line in written_up(Buildable("small", folder), context="mine", load=load) if "docker cp" in line
    ]
    assert "image.tar ${NODE}:/i.tar; awk {print}" in line


def test_a_builder_that_is_none_is_refused_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILDER", "/usr/bin/podman")
    with pytest.raises(DeployError, match="BUILDER=/usr/bin/podman: write docker, podman or buildah"):
        find_builder()


def test_a_failed_step_says_what_its_command_said_next_to_the_cause() -> None:
    step = Step("release", ("sh", "-c", "echo values.yaml is wrong >&2; exit 1"), why=lambda: "an old cause")
    with pytest.raises(DeployError, match=r"an old cause\nvalues\.yaml is wrong"):
        step.run()


def test_the_context_of_the_image_has_every_file_that_the_containerfile_copies() -> None:
    containerfile = shipped("docker/serve.Containerfile").read_text()
    for bento in (True, False):
        lock = "bento" if bento else "serve"
        copied = re.findall(r"^COPY (?!--)(.+) \S+$", containerfile.replace("${REQUIREMENTS}", lock), re.MULTILINE)
        files = [word for line in copied for word in line.split() if word != "${ARTIFACT}"]
        assert files
        with image_context(bento) as context:
            assert [file for file in files if not list(context.glob(file))] == []
            assert (context / "docker" / "build").is_file()
            assert not list(context.rglob("__pycache__"))


def test_the_image_has_another_tag_without_bentoml() -> None:
    assert content_tag(bento=True) == content_tag(bento=True) != content_tag(bento=False)


def test_a_model_is_stale_when_a_file_that_it_was_made_from_is_newer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "neighbour.py").write_text("SIZE = 3\n")
    (tmp_path / "mine" / "small.py").write_text(MODEL)
    target = "mine/small.py:Small"
    missing = find_buildable(target)
    assert missing.command == ("lading", "build", target)
    assert missing.stale == f"there is no {Path('artifacts/small')}"
    shutil.copytree(table_artifact(tmp_path / "packed").path, "artifacts/small")
    packed = time.time() + 60
    os.utime("artifacts/small/lading.json", (packed, packed))
    assert find_buildable(target).stale is None
    os.utime("mine/neighbour.py", (packed + 1, packed + 1))
    assert "neighbour.py is newer" in str(find_buildable(target).stale)


def test_an_onnx_file_is_packed_and_a_folder_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("wine.onnx").write_bytes(b"")
    assert find_buildable("wine.onnx") == Buildable(
        "wine", Path("artifacts/wine"), ("lading", "pack", "wine.onnx"), f"there is no {Path('artifacts/wine')}"
    )
    packed = table_artifact(tmp_path / "packed")
    assert find_buildable("packed") == Buildable(packed.manifest.name, Path("packed"))


@pytest.mark.parametrize(
    ("target", "error"), [("cards", SpecError), ("nothing.py:Small", SpecError), (".", ArtifactError)]
)
def test_what_is_no_model_is_refused(
    target: str, error: type[LadingError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error):
        find_buildable(target)


def test_a_step_that_fails_says_which_why_and_how_to_go_on() -> None:
    step = Step("push", ("sh", "-c", "echo denied: no such registry >&2; exit 1"))
    with pytest.raises(DeployError, match=r"'push' failed: denied: no such registry\nmend that and run") as raised:
        step.run()
    assert len(str(raised.value)) < 500
    with pytest.raises(DeployError, match="needs no-such-program"):
        Step("push", ("no-such-program",)).run()


def test_what_the_cluster_knows_of_a_failure_comes_before_what_helm_says() -> None:
    step = Step("release", ("sh", "-c", "echo context deadline exceeded >&2; exit 1"), why=lambda: "cards-1: no image")
    with pytest.raises(DeployError, match="failed: cards-1: no image"):
        step.run()


def test_programs_and_cluster_are_looked_for_before_the_first_step(programs: Path) -> None:
    with pytest.raises(DeployError, match="kubectl is missing"):
        require_cluster("mine")
    program(programs, "kubectl", "exit 0")
    with pytest.raises(DeployError, match="helm is missing"):
        require_cluster("mine")
    program(programs, "helm", "exit 0")
    require_cluster("mine")
    program(
        programs,
        "kubectl",
        'case "$*" in version*) exit 0;; *) echo "error: context mine does not exist" >&2; exit 1;; esac',
    )
    with pytest.raises(DeployError, match="context mine does not answer: error: context mine does not exist"):
        require_cluster("mine")


def test_removing_what_is_not_there_is_no_error(programs: Path) -> None:
    program(programs, "kubectl", "exit 0")
    program(programs, "helm", 'case "$1" in version) exit 0;; *) echo "Error: release: not found" >&2; exit 1;; esac')
    lines: list[str] = []
    take_down(Release("mine", "serve", "cards"), lines.append)
    assert lines == ["there is no release cards in the namespace serve: nothing to do"]
    take_down(Release("mine", "serve", "cards"), lines.append, dry_run=True)
    assert lines[1].startswith("helm uninstall cards --kube-context mine --namespace serve")


def test_a_node_may_hold_images_without_a_name_and_may_be_closed(programs: Path) -> None:
    images = '[{"names": null}, {"sizeBytes": 1}, {"names": ["localhost/cards:1"]}]'
    nodes = [
        f'{{"spec": {{"taints": null}}, "status": {{"images": {images}}}}}',
        '{"spec": {"unschedulable": true}, "status": {}}',
        '{"spec": {}, "status": {"images": null}}',
    ]
    program(programs, "kubectl", f"echo '{{\"items\": [{', '.join(nodes)}]}}'")
    assert Release("mine", "serve", "cards").nodes_with("localhost/cards:1") == [True, False]


def test_a_cluster_that_does_not_say_why_leaves_what_helm_said(programs: Path) -> None:
    assert Release("mine", "serve", "cards").cause() == ""
    program(programs, "kubectl", "echo 'kind: Config'")
    assert Release("mine", "serve", "cards").cause() == ""


@pytest.mark.parametrize("word", ["plain", "a b", "it's", "a;b", "$(touch x)", "$HOME", '"', "key=a$b"])
def test_a_command_is_written_so_that_a_shell_reads_the_same_word(word: str) -> None:
    shell = ["bash", "-c", f"printf %s {written([word])}"]
    assert subprocess.run(shell, capture_output=True, text=True, check=True).stdout == word


def test_removing_what_helm_may_not_see_is_an_error(programs: Path) -> None:
    program(programs, "kubectl", "exit 0")
    program(programs, "helm", 'case "$1" in version) exit 0;; *) echo "Error: secrets is forbidden" >&2; exit 1;; esac')
    with pytest.raises(DeployError, match=r"helm status cards .*failed: Error: secrets is forbidden"):
        take_down(Release("mine", "serve", "cards"), print)
