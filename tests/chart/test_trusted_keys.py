"""With `artifact.trustedKeys`, every container that opens an artifact has the keys that must have signed it."""

from __future__ import annotations

import pytest

from tests.given.chart import helm, render
from tests.given.pod_specs import pod_specs

PLACE = "/etc/lading/trusted-keys"
FETCH = ("artifact.source=fetch", "artifact.uri=gs://models/cards", f"artifact.digest=sha256:{'0' * 64}")
DRIFT = ("drift.enabled=true", "drift.image=drift:1", "settings.payload_log=s3://logs/payloads")
OPENING = {"server", "kserve-container", "fetch", "fetch-1", "drift", "golden"}
"""Containers that open an artifact, by name."""


@pytest.mark.parametrize("kind", ["configMap", "secret"])
@pytest.mark.parametrize(
    "sets",
    [
        (),
        FETCH,
        (*FETCH, "artifact.more[0].uri=gs://models/wine", f"artifact.more[0].digest=sha256:{'1' * 64}", *DRIFT),
        ("artifact.source=volume", "artifact.claimName=models", *DRIFT),
        ("mode=kserve", *FETCH),
        ("mode=kserve", "kserve.kind=ServingRuntime"),
    ],
    ids=str,
)
def test_every_container_that_opens_an_artifact_has_the_keys(sets: tuple[str, ...], kind: str) -> None:
    found = set()
    for pod in pod_specs(render(*sets, f"artifact.trustedKeys.{kind}=signers")):
        opening = [one for one in [*pod["containers"], *pod.get("initContainers", ())] if one["name"] in OPENING]
        for container in opening:
            found.add(container["name"])
            assert {"name": "LADING_TRUSTED_KEYS", "value": PLACE} in container["env"], container["name"]
            mounted = {"name": "trusted-keys", "mountPath": PLACE, "readOnly": True}
            assert mounted in container["volumeMounts"], container["name"]
        if opening:
            name = "name" if kind == "configMap" else "secretName"
            assert {"name": "trusted-keys", kind: {name: "signers"}} in pod["volumes"]
    assert found & {"server", "kserve-container"}
    assert ("fetch" in found) == (FETCH[0] in sets)
    assert ("drift" in found) == (DRIFT[0] in sets)


def test_without_them_nothing_is_mounted() -> None:
    assert "trusted-keys" not in str(render(*FETCH, *DRIFT))


def test_two_places_of_keys_are_refused() -> None:
    sets = ("--set", "artifact.trustedKeys.configMap=a", "--set", "artifact.trustedKeys.secret=b")
    done = helm("template", "cards", "helm/lading", *sets)
    assert done.returncode != 0
    assert "artifact.trustedKeys.configMap and artifact.trustedKeys.secret are both set" in done.stderr


def test_a_volume_of_the_users_may_not_take_their_name() -> None:
    sets = ("--set", "artifact.trustedKeys.configMap=a", "--set", "extraVolumes[0].name=trusted-keys")
    done = helm("template", "cards", "helm/lading", *sets, "--set", "extraVolumes[0].emptyDir.medium=Memory")
    assert "a volume trusted-keys exists already" in done.stderr
