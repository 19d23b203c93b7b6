"""From what is known about a release to the causes that it does not serve for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

from lading.deploy.kubernetes import Cluster
from lading.deploy.why.cause import LONGEST, Rank
from lading.deploy.why.causes import CAUSES
from lading.deploy.why.evidence import Evidence, is_ready, read_evidence
from lading.deploy.why.statements import Statement, statements, telling
from lading.errors import KubernetesError
from lading.errors.sentences import clipped

_BY_ITSELF = re.compile(r"ends again and again with exit code (?!0\b|137\b|143\b)")


@dataclass
class Finding:
    """A cause, with the objects that it was found at."""

    cause: str
    """Name of the cause; docs/causes.md lists them."""
    sentence: str
    do: str
    said: str
    """What it was read from."""
    about: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Diagnosis:
    """The state of a release."""

    release: str
    namespace: str
    state: str
    """One sentence: revision and pods."""
    findings: list[Finding]
    """The nearest to the root first; empty when all is well."""
    unreadable: list[str]
    """Kinds that this account may not read, so that a cause may be hidden."""

    @property
    def well(self) -> bool:
        """Nothing is wrong, and what would show it could be read."""
        return not self.findings and not {"pods", "deployments"} & set(self.unreadable)

    def to_dict(self) -> dict[str, Any]:
        """The form of ``--output json``."""
        return {"well": self.well, **asdict(self)}

    def lines(self) -> Iterator[str]:
        """The form for people."""
        yield f"{self.release} in the namespace {self.namespace}: {self.state}"
        for finding in self.findings:
            more = f" and {len(finding.about) - 1} more" if len(finding.about) > 1 else ""
            yield ""
            yield f"{finding.cause}: {finding.sentence}"
            yield f"  do: {finding.do}"
            yield f"  {finding.about[0]}{more}: {finding.said}"
        if self.unreadable:
            yield ""
            yield f"this account may not read {', '.join(self.unreadable)}, so there may be more to it"
        if self.well:
            yield "all is well"


def why(cluster: Cluster, namespace: str, release: str) -> Diagnosis:
    """Name what keeps a release from serving.

    Raises:
        KubernetesError: the API server does not answer, or the namespace has no such release.
    """
    evidence = read_evidence(cluster, namespace, release)
    if not evidence.revisions and not evidence.objects:
        hidden = f"; this account may not read {', '.join(evidence.unreadable)}" if evidence.unreadable else ""
        raise KubernetesError(
            f"the namespace {namespace} has no release {release}{hidden}: `helm list --all-namespaces` shows where "
            "there is one. Where `helm install` was refused, its own message says why"
        )
    return diagnose(evidence, datetime.now(UTC))


def diagnose(evidence: Evidence, now: datetime) -> Diagnosis:
    """The same, from evidence that was read before."""
    found: dict[tuple[str, str], tuple[Rank, int, Finding]] = {}
    for statement in statements(evidence, now):
        if (match := _cause(statement)) is None:
            continue
        number, sentence, do = match
        cause = CAUSES[number]
        _, _, finding = found.setdefault(
            (cause.name, sentence),
            (cause.rank, number, Finding(cause.name, sentence, do, clipped(telling(statement.text), LONGEST))),
        )
        if statement.about not in finding.about:
            finding.about.append(statement.about)
    nearest = min((rank for rank, _, _ in found.values()), default=Rank.ROOT)
    rows = sorted(((number, one) for rank, number, one in found.values() if rank == nearest), key=itemgetter(0))
    # A container that ends by itself answers no probe. One that the kubelet ended may have been, for its probe.
    ended = {name for _, one in rows if _BY_ITSELF.search(one.sentence) for name in one.about}
    rows = [row for row in rows if row[1].cause != "probe-failing" or not ended.issuperset(row[1].about)]
    return Diagnosis(
        evidence.release, evidence.namespace, _state(evidence), [one for _, one in rows], evidence.unreadable
    )


def _cause(statement: Statement) -> tuple[int, str, str] | None:
    """Number of the cause, its sentence and what to do."""
    for number, cause in enumerate(CAUSES):
        if match := cause.match(statement.text, statement.facts):
            return number, *match
    return None


def _state(evidence: Evidence) -> str:
    pods = [
        pod
        for pod in evidence.of("Pod")
        if "deletionTimestamp" not in pod["metadata"]
        and pod["spec"].get("restartPolicy") == "Always"
        and pod.get("status", {}).get("phase") != "Failed"
    ]
    ready = f"{sum(map(is_ready, pods))} of {len(pods)} pods are ready"
    if not evidence.revisions:
        return ready
    newest = evidence.revisions[-1]
    return f"revision {newest['version']} is {newest['info']['status']}, {ready}"
