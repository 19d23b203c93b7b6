"""Commands that bring a model to a cluster and remove it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lading.cli.access import Ca, Key
from lading.cli.terminal import console

if TYPE_CHECKING:
    from lading.deploy.release import Release

Context = Annotated[str | None, typer.Option(help="kubeconfig's context; default: the current one")]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="namespace of the release")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="print the commands without running them")]
Bento = Annotated[bool, typer.Option(help="put BentoML into the image, on port 3000")]


def up(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL|FILE.onnx|ARTIFACT", help="file.py:Class, an ONNX file, or an artifact folder"),
    ],
    context: Context = None,
    namespace: Namespace = "serve",
    name: Annotated[str | None, typer.Option(help="name of the release; default: the model's")] = None,
    load: Annotated[
        str | None,
        typer.Option(
            envvar="LADING_LOAD_COMMAND",
            help="command that loads {archive} or {image} into the nodes; kind, "
            "minikube, k3d, MicroK8s and Docker Desktop need none",
        ),
    ] = None,
    registry: Annotated[str | None, typer.Option(help="registry to push the image to, instead of loading it")] = None,
    rate: Annotated[float, typer.Option(min=0.001, help="requests per second to plan for")] = 100.0,
    values: Annotated[
        list[Path] | None, typer.Option("--values", "-f", help="file of chart values; repeatable")
    ] = None,
    sets: Annotated[list[str] | None, typer.Option("--set", help="chart value KEY=VALUE; repeatable")] = None,
    bento: Bento = True,
    timeout: Annotated[str, typer.Option(help="time for the release to become ready")] = "5m",
    key: Key = None,
    ca: Ca = None,
    dry_run: DryRun = False,
) -> None:
    """Build what is stale, build the image, bring it to a cluster, install the chart, and check the answers there.

    Run again, it does what is missing and says what was there. A step that fails says why and how to go on.

    Example: `lading up models/cards.py:Cards --context kind-lading`

    Example: `lading up artifacts/cards --registry europe-west1-docker.pkg.dev/my-models/lading --dry-run`
    """
    from lading.build.buildable import find_buildable
    from lading.deploy.up import Choices, Up
    from lading.deploy.values import release_name
    from lading.protocol.client import Access

    source = find_buildable(model)
    choices = Choices(
        load=load,
        registry=registry,
        rate=rate,
        bento=bento,
        files=tuple(values or ()),
        sets=tuple(sets or ()),
        timeout=timeout,
        access=Access(key, ca),
    )
    bring = Up(source, _release(context, namespace, name or release_name(source.model)), choices, _say)
    bring.print() if dry_run else bring.run()


def down(
    release: Annotated[
        str, typer.Argument(metavar="RELEASE|MODEL", help="name of the release, or what `up` was given")
    ],
    context: Context = None,
    namespace: Namespace = "serve",
    dry_run: DryRun = False,
) -> None:
    """Remove what `lading up` installed. The namespace and the image stay.

    Example: `lading down cards --context kind-lading`
    """
    from lading.build.buildable import find_buildable
    from lading.deploy.up import take_down
    from lading.deploy.values import release_name

    is_model = ":" in release or release.lower().endswith(".onnx") or Path(release, "lading.json").is_file()
    name = release_name(find_buildable(release).model) if is_model else release
    take_down(_release(context, namespace, name), _say, dry_run=dry_run)


def image(
    artifact: Annotated[Path, typer.Argument(help="artifact folder, for example artifacts/cards")],
    name: Annotated[str | None, typer.Option(help="name and tag of the image; default: from model and content")] = None,
    bento: Bento = True,
) -> None:
    """Build the serving image of an artifact with docker, podman or buildah.

    BUILDER names one of them, BASE another base image, BUILD_OPTIONS more of its options.

    Example: `lading image artifacts/cards --name cards:1`
    """
    from lading.artifact import Artifact
    from lading.deploy.image import build_image, content_tag
    from lading.deploy.values import release_name

    loaded = Artifact.load(artifact)
    name = name or f"{release_name(loaded.manifest.name)}:{loaded.digest[7:19]}-{content_tag(bento=bento)}"
    build_image(loaded, name, bento=bento)
    console().print(f"image: {name}", highlight=False, soft_wrap=True)


def _release(context: str | None, namespace: str, name: str) -> Release:
    from lading.deploy.release import Release, current_context

    return Release(context or current_context(), namespace, name)


def _say(line: str) -> None:
    console().print(line, markup=False, highlight=False, soft_wrap=True)
