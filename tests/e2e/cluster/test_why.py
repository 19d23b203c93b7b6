"""`lading why` names the cause of every release that cannot serve, on a real cluster.

``LADING_RECORD`` names a folder for what the API says about each, from which tests/deploy/why learns.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lading.deploy.kubernetes import Cluster
from lading.deploy.why.diagnosis import Diagnosis, diagnose
from lading.deploy.why.evidence import read_evidence
from tests.e2e.cluster.kube import CHART, run, wait_until
from tests.e2e.cluster.scale import FULL
from tests.given.bad_releases import BAD_RELEASES, RULES, BadRelease, cluster_rules, values_of

pytestmark = pytest.mark.slow
IMAGE = os.environ.get("LADING_E2E_IMAGE", "")
TRIED = [bad for bad in BAD_RELEASES if FULL or not bad.full]
RECORD = os.environ.get("LADING_RECORD")
PRIVATE = ("managedFields", "uid", "resourceVersion", "selfLink", "ownerReferences", "annotations")


@pytest.fixture(scope="module")
def namespaces() -> Iterator[dict[bool, str]]:
    """Two namespaces with all bad releases; the second has rules that pods break."""
    if not IMAGE:
        pytest.skip("LADING_E2E_IMAGE is not set: `make e2e-cluster` sets it, with KUBECONFIG of a cluster")
    names = {False: f"lading-why-{os.getpid()}", True: f"lading-why-rules-{os.getpid()}"}
    rules = cluster_rules(names[True])
    try:
        for name in names.values():
            run("kubectl", "create", "namespace", name)
        run("kubectl", "label", "namespace", names[True], "pod-security.kubernetes.io/enforce=restricted")
        run("kubectl", "apply", "--validate=false", "--namespace", names[True], "--filename", "-", stdin=listed(RULES))
        run("kubectl", "apply", "--validate=false", "--filename", "-", stdin=listed(rules))
        for bad in TRIED:
            where = ("--namespace", names[bad.rules])
            run(
                "helm", "install", bad.name, str(CHART), "--disable-openapi-validation", *where, "--values", "-",
                stdin=json.dumps(values_of(bad, IMAGE) | {"fullnameOverride": bad.name}),
            )  # fmt: skip
        yield names
    finally:
        run("kubectl", "delete", "--filename", "-", "--wait=false", stdin=listed(rules), check=False)
        run("kubectl", "delete", "namespace", *names.values(), "--wait=false", check=False)


def listed(objects: Any) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


@pytest.mark.parametrize("bad", TRIED, ids=lambda bad: bad.name)
def test_the_cause_is_named(namespaces: dict[bool, str], bad: BadRelease) -> None:
    cluster = Cluster.connect()
    found: list[Diagnosis] = []

    def named() -> bool:
        evidence = read_evidence(cluster, namespaces[bad.rules], bad.name)
        found.append(diagnose(evidence, datetime.now(UTC)))
        if not any(finding.cause in bad.cause for finding in found[-1].findings):
            return False
        if RECORD:
            (Path(RECORD) / f"{bad.name}.json").write_text(json.dumps(trimmed(asdict(evidence)), indent=1) + "\n")
        return True

    try:
        wait_until(f"one of {bad.cause}", named, seconds=90)
    except AssertionError:
        pytest.fail("\n".join(found[-1].lines()))
    print("\n".join(found[-1].lines()))
    assert {finding.cause for finding in found[-1].findings} <= {*bad.cause, *bad.too}


def test_the_command_says_it_and_ends_with_one(namespaces: dict[bool, str]) -> None:
    said = run(sys.executable, "-m", "lading", "why", "no-node", "-n", namespaces[False], "-o", "json", check=False)
    answer = json.loads(said)
    assert not answer["well"]
    assert answer["findings"][0]["cause"] == "node-selector"
    missing = run(sys.executable, "-m", "lading", "why", "of-no-one", "-n", namespaces[False], check=False)
    assert "has no release of-no-one" in missing


def trimmed(value: Any) -> Any:
    """Without what differs each time and says nothing."""
    if isinstance(value, dict):
        return {key: trimmed(one) for key, one in value.items() if key not in PRIVATE}
    return [trimmed(one) for one in value] if isinstance(value, list) else value
