"""Builds the serving image of an artifact from this package alone, in a checkout or installed from a wheel."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lading.artifact import Artifact
from lading.build.shipped import PACKAGE, SHIPPED, shipped
from lading.deploy.step import ask
from lading.errors import DeployError

BUILDERS = ("docker", "podman", "buildah")
SAVE = {
    "docker": ("docker", "save", "--output", "{archive}", "{image}"),
    "podman": ("podman", "save", "--format", "docker-archive", "--output", "{archive}", "{image}"),
    "buildah": ("buildah", "push", "--quiet", "{image}", "docker-archive:{archive}:{image}"),
}
"""How each of them writes an image to a file."""
LOADERS = (
    (r"kind-(?P<name>.+)", "docker", "kind load docker-image {image} --name {name}"),
    (r"kind-(?P<name>.+)", "", "kind load image-archive {archive} --name {name}"),
    (r"(?P<name>minikube.*)", "", "minikube image load {archive} --profile {name}"),
    (r"k3d-(?P<name>.+)", "", "k3d image import {archive} --cluster {name}"),
    (r"microk8s", "", "microk8s images import {archive}"),
    (r"docker-desktop|orbstack|colima.*", "docker", ""),
)
"""By the name of a context and the program that built the image: what brings it to the nodes. Empty: they have it."""
_LOCKED = re.compile(r"^([\w.-]+)(?:\[[\w,-]+\])?==([^\s;\\]+)", re.MULTILINE)


def find_builder() -> str:
    """``BUILDER``, or the first of docker, podman and buildah that works here.

    Raises:
        DeployError: none does.
    """
    if chosen := os.environ.get("BUILDER"):
        if chosen not in BUILDERS:
            raise DeployError(f"BUILDER={chosen}: write {', '.join(BUILDERS[:-1])} or {BUILDERS[-1]}")
        return chosen
    for name in BUILDERS:
        # A docker command without its daemon builds nothing.
        if shutil.which(name) and (name != "docker" or ask("docker", "version") is not None):
            return name
    raise DeployError(
        "an image is built by docker, podman or buildah, and none works here: install one, or start docker"
    )


def has_image(builder: str, image: str) -> bool:
    """Whether this machine has built an image."""
    command = ("inspect", "--type", "image") if builder == "buildah" else ("image", "inspect")
    return ask(builder, *command, image) is not None


def content_tag(*, bento: bool) -> str:
    """Eight digits that change with whatever is in the image but the artifact: this package and the locked packages."""
    content = hashlib.sha256()
    with image_context(bento) as context:
        for file in sorted(path for path in context.rglob("*") if path.is_file()):
            content.update(f"{file.relative_to(context)}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return content.hexdigest()[:8]


def build_image(artifact: Artifact, image: str, *, bento: bool = True) -> None:
    """Build an image with docker/build, which reads BASE, BUILD_OPTIONS and BUILDER from the environment.

    Args:
        artifact: goes into the image.
        image: its name and tag.
        bento: whether BentoML is in the image, and answers on port 3000.

    Raises:
        DeployError: no builder works here, or it failed; its own output says why.
    """
    environment = {**os.environ, "BUILDER": find_builder(), "REQUIREMENTS": _lock(bento)}
    with image_context(bento) as context:
        shutil.copytree(artifact.path, context / "artifact")
        command = ["bash", "docker/build", "serve", image, "artifact"]
        ended = subprocess.run(command, cwd=context, env=environment, check=False)
    if ended.returncode:
        raise DeployError(f"{environment['BUILDER']} did not build {image}: the lines above say why")


def load_command(chosen: str | None, context: str, builder: str) -> str:
    """What brings an image to the nodes, with ``{archive}`` or ``{image}`` left open. Empty: they have it already.

    Args:
        chosen: the user's own command.
        context: the kubeconfig's, whose name tells what made the cluster.
        builder: program that built the image.

    Raises:
        DeployError: nobody said how, and the context's name does not tell.
    """
    if chosen is not None:
        if not re.search(r"{(archive|image)}", chosen):
            raise DeployError(f"--load {chosen!r} names no image: write {{archive}} or {{image}} where one belongs")
        return chosen
    for pattern, made_by, command in LOADERS:
        if (found := re.fullmatch(pattern, context)) and made_by in ("", builder):
            return command.replace("{name}", found.groupdict().get("name", ""))
    raise DeployError(
        f"how do the nodes of {context} get an image? Name a registry with --registry, or a command with --load, "
        "such as --load 'sudo ctr -n k8s.io images import {archive}'"
    )


def _lock(bento: bool) -> str:
    return "bento" if bento else "serve"


@contextmanager
def image_context(bento: bool) -> Iterator[Path]:
    """The files that docker/serve.Containerfile copies, in the folders of the repository."""
    lock = f"requirements/{_lock(bento)}.txt"
    with tempfile.TemporaryDirectory(prefix="lading-image-") as folder:
        context = Path(folder)
        for name in (
            lock,
            "requirements/uv.txt",
            "service.py",
            "docker/build",
            "docker/slim.py",
            "docker/try_recording.py",
            "docker/serve.Containerfile",
        ):
            (context / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(shipped(name), context / name)
        shutil.copytree(PACKAGE, context / "src/lading", ignore=shutil.ignore_patterns("__pycache__", SHIPPED))
        (context / "build").mkdir()
        bom = json.dumps(_bill_of_materials((context / lock).read_text()), indent=1)
        (context / f"build/{_lock(bento)}.cdx.json").write_text(bom)
        yield context


def _bill_of_materials(lock: str) -> dict[str, object]:
    """The locked packages as CycloneDX."""
    components = [
        {"type": "library", "name": name, "version": version, "purl": f"pkg:pypi/{name}@{version}"}
        for name, version in _LOCKED.findall(lock)
    ]
    return {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": components}
