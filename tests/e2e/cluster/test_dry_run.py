"""The API server takes what the chart renders, in every combination: schemas, defaults and rules of its kinds."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
import yaml

from tests.chart.matrix import combinations
from tests.e2e.cluster.kube import CHART, run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def namespace(release: object) -> Iterator[str]:
    """One that is empty, so that nothing there is in the way."""
    run("kubectl", "create", "namespace", "lading-dry-run")
    # A pod's own is looked up even in a dry run.
    run("kubectl", "create", "serviceaccount", "cards", "--namespace", "lading-dry-run")
    yield "lading-dry-run"
    run("kubectl", "delete", "namespace", "lading-dry-run", "--wait=false")


def test_every_combination_is_accepted(namespace: str) -> None:
    known = {line.split()[-1] for line in run("kubectl", "api-resources", "--no-headers").splitlines()}
    objects: dict[str, str] = {}
    unknown: set[str] = set()
    for name, sets in combinations():
        options = [word for value in sets for word in ("--set", value)]
        rendered = run("helm", "template", "cards", str(CHART), "--namespace", namespace, *options)
        for document in yaml.safe_load_all(rendered):
            if document and document["kind"] in known:
                objects.setdefault(yaml.safe_dump(document), name)
            elif document:
                unknown.add(document["kind"])
    refused = accept(namespace, list(objects))
    if refused:  # which of them
        refused = "\n".join(f"{objects[text]}: {said}" for text in objects if (said := accept(namespace, [text])))
    print(
        f"{len(objects)} different objects accepted; not known to this cluster: {', '.join(sorted(unknown)) or 'none'}"
    )
    assert not refused, refused


def accept(namespace: str, documents: list[str]) -> str:
    """What the API server has against these documents."""
    words = ["kubectl", "apply", "--server-side", "--dry-run=server", "--namespace", namespace, "--filename", "-"]
    text = "\n---\n".join(documents)
    ended = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    return ended.stderr.strip() if ended.returncode else ""
