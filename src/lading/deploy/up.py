"""``lading up``: from a model to a checked release. Every step is a command that a person could type."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lading.artifact import MANIFEST, Artifact
from lading.build.buildable import Buildable
from lading.build.shipped import shipped
from lading.deploy.golden_check import check_server
from lading.deploy.image import BUILDERS, SAVE, content_tag, find_builder, has_image, load_command
from lading.deploy.release import Release, require_cluster
from lading.deploy.step import DIGEST, Step, written
from lading.errors import DeployError
from lading.protocol.client import ANYONE, Access, Client
from lading.signing import SIGNATURE
from lading.signing.folder import file_digest

Say = Callable[[str], None]
NOWHERE = "localhost"
"""Registry of an image that is loaded: no node asks Docker Hub for it, and every builder keeps the name as it is."""


@dataclass(frozen=True)
class Choices:
    """What a user may decide about a release."""

    load: str | None = None
    """Command that brings an image to the nodes, with ``{archive}`` or ``{image}``; default: by the context's name."""
    registry: str | None = None
    """Registry to push to, instead of loading."""
    rate: float = 100.0
    """Requests per second to plan for."""
    bento: bool = True
    files: tuple[Path, ...] = ()
    """More files of values."""
    sets: tuple[str, ...] = ()
    """More values, as Helm's ``--set`` reads them."""
    timeout: str = "5m"
    """Until the release must be ready, as Helm reads it."""
    access: Access = field(default=ANYONE)


class Up:
    """Brings one model to one cluster.

    Args:
        source: the model.
        release: where it goes.
        choices: of the user.
        say: prints a line.
    """

    def __init__(self, source: Buildable, release: Release, choices: Choices, say: Say) -> None:
        self._source, self._release, self._choices, self._say = source, release, choices, say
        self._work = Path("build") / source.model
        self._tag = ""

    def print(self) -> None:
        """Print every command, copyable, and run none."""
        self._say(written(("mkdir", "-p", str(self._work))))
        source = self._source
        if source.stale:
            self._say(written(source.command))
            self._say(f"DIGEST=$(sha256sum {shlex.quote(str(source.artifact / MANIFEST))} | cut -c -12)")
        self._tag = self._new_tag(DIGEST if source.stale else None)
        for step in self._deploy_steps("docker", there=None):
            self._say(str(step))
        forward = self._release.kubectl("port-forward", f"service/{self._release.name}", "8080:8080", "9000:9000")
        self._say(f"{written(forward)} &")
        self._say("curl --silent --output /dev/null --retry 20 --retry-connrefused http://127.0.0.1:8080/readyz")
        self._say(written(("lading", "check", str(self._source.artifact))))
        self._say("kill %1")

    def run(self) -> None:
        """Run the steps that are needed, then compare the answers with the artifact's through the Service.

        Raises:
            CheckError: the release answers otherwise than when the artifact was packed.
            DeployError: a step failed.
        """
        source = self._source
        require_cluster(self._release.context)
        if not self._choices.registry:
            # Refused before anything takes minutes. No builder is needed where the nodes have the image.
            try:
                builder = find_builder()
            except DeployError:
                builder = BUILDERS[0]
            load_command(self._choices.load, self._release.context, builder)
        self._work.mkdir(parents=True, exist_ok=True)
        begin = time.monotonic()
        ran = []
        if source.command:
            fresh = None if source.stale else f"{source.artifact} is up to date"
            ran.append(self._do(Step("artifact", source.command, done=lambda: fresh, shown=True)))
        self._tag = self._new_tag()
        there = self._on_nodes()
        ran += [self._do(step) for step in self._deploy_steps("" if there else find_builder(), there)]
        artifact = Artifact.load(source.artifact)
        self._say("check     the artifact's golden requests, through the Service")
        with self._release.forwarded() as (http, grpc):
            for line in check_server(artifact, f"{self._scheme}://{http}", grpc, access=self._choices.access):
                self._say(f"          {line}")
            request = self._request(f"{self._scheme}://{http}")
        outcome = "is up" if any(ran) else "was up, and nothing has changed"
        self._say(f"{self._release.name} {outcome}, after {time.monotonic() - begin:.0f} s")
        for name, text in self._look(request):
            self._say(f"  {name:<15} {text}")

    def _do(self, step: Step) -> bool:
        """Run a step if it is needed, and say so. Whether it changed anything."""
        begin = time.monotonic()
        if (reason := step.done()) is not None:
            self._say(f"{step.title:<9} {reason}")
            return False
        self._say(f"{step.title:<9} {step}")
        step.run()
        self._say(f"          done in {time.monotonic() - begin:.1f} s")
        return step.title != "values"  # a file that is written again with the same content

    def _new_tag(self, digits: str | None = None) -> str:
        """The tag of this artifact's image. One that is signed, or signed again, is another image."""
        signature = self._source.artifact / SIGNATURE
        signed = f"-{file_digest(signature)[:8]}" if digits is None and signature.is_file() else ""
        digits = digits or Artifact.load(self._source.artifact).digest.removeprefix("sha256:")[:12]
        return f"{digits}-{content_tag(bento=self._choices.bento)}{signed}"

    def _deploy_steps(self, builder: str, there: str | None) -> Iterator[Step]:
        """Builds the image, brings it to the nodes and installs it.

        Args:
            builder: program that builds images.
            there: says that the nodes have the image.
        """
        choices, release, image = self._choices, self._release, self._image
        bento = () if choices.bento else ("--no-bento",)
        packed = str(self._source.artifact)
        build = ("lading", "image", packed, "--name", image, *bento)
        yield Step("image", build, done=lambda: there or self._built(builder), shown=True)
        if not there:
            yield from self._delivery(builder)
        values = self._work / "values.yaml"
        plan = ("--rate", f"{choices.rate:g}", "--repository", image.rpartition(":")[0], *bento)
        yield Step("values", ("lading", "values", packed, *plan), into=values)
        files = [word for file in (values, *choices.files) for word in ("-f", str(file))]
        own = f"fullnameOverride={release.name},image.tag={self._tag}"
        sets = [word for one in (own, *choices.sets) for word in ("--set", one)]
        upgrade = (
            "helm",
            "upgrade",
            "--install",
            release.name,
            str(shipped("helm/lading")),
            *release.helm,
            *files,
            *sets,
        )
        same = f"{release.name} has this image and these values, and its objects are as they were installed"
        yield Step(
            "release",
            (*upgrade, "--create-namespace", "--wait", "--timeout", choices.timeout),
            done=lambda: same if release.is_current(upgrade) else None,
            why=release.cause,
        )

    def _delivery(self, builder: str) -> Iterator[Step]:
        """Pushes the image, or loads it into the nodes, through a file if they want one."""
        if self._choices.registry:
            yield Step("push", (builder, "push", self._image))
            return
        command = load_command(self._choices.load, self._release.context, builder)
        archive = str(self._work / "image.tar")

        def filled(words: Sequence[str]) -> tuple[str, ...]:
            return tuple(word.replace("{image}", self._image).replace("{archive}", archive) for word in words)

        load = Step("load", filled(shlex.split(command)))
        if "{archive}" in command:
            yield Step("remove", ("rm", "-f", archive))  # of a run that failed: no builder adds to one
            yield Step("save", filled(SAVE[builder]))
            yield load
            yield Step("remove", ("rm", archive))
        elif command:
            yield load

    @property
    def _scheme(self) -> str:
        return "https" if self._choices.access.ca else "http"

    @property
    def _image(self) -> str:
        return f"{(self._choices.registry or NOWHERE).rstrip('/')}/{self._release.name}:{self._tag}"

    def _built(self, builder: str) -> str | None:
        return (
            f"{builder} has {self._image}"
            if builder and "$" not in self._tag and has_image(builder, self._image)
            else None
        )

    def _on_nodes(self) -> str | None:
        """Says that every node has the image; with a registry one is enough, because it came from there."""
        have = self._release.nodes_with(self._image)
        enough = any(have) if self._choices.registry else bool(have) and all(have)
        return f"the nodes have {self._image}" if enough or self._release.runs(self._image) else None

    def _request(self, url: str) -> str:
        """A request to this model, as curl sends it through a forwarded port 8080."""
        with Client(url, access=self._choices.access) as client:
            described = client.get("/model")
        access = self._choices.access
        curl = ("curl", *(("--cacert", str(access.ca)) if access.ca else ()))
        curl += ("--header", "authorization: Bearer YOUR-KEY") if access.key else ()
        here = f"{self._scheme}://127.0.0.1:8080"
        body = json.dumps(described["example"])
        if described["classify"]:
            return written((*curl, "--data-binary", "@FILE", f"{here}/classify"))
        if described["example"] is None or len(body) > 1000:
            return written((*curl, f"{here}/model"))
        header = ("--header", "content-type: application/json")
        return written((*curl, *header, "--data", body, f"{here}/predict"))

    def _look(self, request: str) -> Iterator[tuple[str, str]]:
        release = self._release
        host = f"{release.name}.{release.namespace}.svc"
        yield "in the cluster", f"{self._scheme}://{host}:8080, gRPC {host}:9000"
        yield "from here", written(release.kubectl("port-forward", f"service/{release.name}", "8080:8080", "9000:9000"))
        yield "a request", request
        yield "pages", f"{self._scheme}://127.0.0.1:8080/ (try it, status), /docs (API), /metrics"
        logs = ("logs", "--selector", f"app.kubernetes.io/instance={release.name}", "--all-containers", "--tail=20")
        yield "logs", written(release.kubectl(*logs))
        down = ("lading", "down", release.name, "--context", release.context, "--namespace", release.namespace)
        yield "remove it", written(down)


def take_down(release: Release, say: Say, *, dry_run: bool = False) -> None:
    """Remove a release. Its namespace and its image stay.

    Raises:
        DeployError: helm or kubectl is missing, the cluster does not answer, or Helm failed.
    """
    step = Step("uninstall", ("helm", "uninstall", release.name, *release.helm, "--wait", "--timeout", "5m"))
    if dry_run:
        say(str(step))
        return
    require_cluster(release.context)
    if not release.exists():
        say(f"there is no release {release.name} in the namespace {release.namespace}: nothing to do")
        return
    say(f"{step.title:<9} {step}")
    step.run()
    say(f"{release.name} is removed; the namespace {release.namespace} and the image stay")
