"""Commands that bring a candidate from training to canary, without a person in between."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lading.cli.terminal import console

Namespace = Annotated[str | None, typer.Option(help="namespace of the service; default: as kubectl does")]
Api = Annotated[
    str | None,
    typer.Option(help="Kubernetes API without login, such as `kubectl proxy`; default: kubeconfig, else the pod's"),
]


def promote(
    artifact: Annotated[Path, typer.Argument(help="artifact folder of a candidate that passed its gates")],
    to: Annotated[str, typer.Option(help="bucket or folder that releases fetch from, such as gs://bucket/models")],
    namespace: Namespace = None,
    api: Api = None,
) -> None:
    """Put a candidate into a bucket, and start the Job that moves requests to it.

    The Job comes from the suspended CronJob with the label lading.dev/canary=MODEL. If its Jobs are suspended, the
    candidate waits for a person's approval.

    Example: `lading promote artifacts/cards --to gs://bucket/models --namespace serve`
    """
    from lading.artifact import Artifact
    from lading.deploy.kubernetes import Cluster
    from lading.deploy.promotion import publish, start_canary

    found = Artifact.load(artifact)
    cluster = Cluster.connect(api)
    where = namespace or cluster.namespace
    uri = publish(found, to)
    console().print(f"published {uri}", markup=False, soft_wrap=True)
    name, waits = start_canary(cluster, where, found.manifest.name, uri, found.digest)
    console().print(f"started the Job {name}", markup=False, soft_wrap=True)
    if waits:
        approve = f"""kubectl -n {where} patch job {name} --type=merge -p '{{"spec":{{"suspend":false}}}}'"""
        console().print(f"it waits for approval: {approve}", markup=False, soft_wrap=True)


def candidate(
    one: Annotated[str, typer.Argument(metavar="RELEASE", help="Deployment and Service of one release")],
    other: Annotated[str, typer.Argument(metavar="RELEASE", help="and of the other one")],
    uri: Annotated[str, typer.Option(help="address of the artifact", envvar="CANDIDATE_URI")],
    digest: Annotated[str, typer.Option(help="its digest, sha256:...", envvar="CANDIDATE_DIGEST")],
    route: Annotated[
        list[str] | None, typer.Option(help="httproutes/NAME or grpcroutes/NAME; repeatable; default: httproutes/cards")
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="maximum seconds until the pods are ready")] = 600.0,
    namespace: Namespace = None,
    api: Api = None,
) -> None:
    """Give an artifact to the one of two releases that has no requests, and wait until its pods are ready.

    Example: `lading candidate cards-a cards-b --uri gs://bucket/models/cards-1 --digest sha256:...`
    """
    from lading.deploy.canary.gateway import Routes
    from lading.deploy.kubernetes import Cluster
    from lading.deploy.promotion import Candidate

    cluster = Cluster.connect(api)
    where = namespace or cluster.namespace

    def say(line: str) -> None:
        console().print(line, markup=False, soft_wrap=True)

    routes = Routes(cluster, where, tuple(route or ["httproutes/cards"]), dry_run=False, say=say)
    Candidate(cluster, where, routes, (one, other), say, timeout).deploy(uri, digest)
