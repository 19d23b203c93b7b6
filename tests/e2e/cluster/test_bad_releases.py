"""A release that cannot serve never takes a request, says why, and is rolled back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.cluster.kube import Release, wait_until
from tests.e2e.cluster.scale import FULL

pytestmark = pytest.mark.slow
full = pytest.mark.skipif(not FULL, reason="LADING_E2E=full runs it")

EDIT = """
import hashlib, json, pathlib, shutil, sys
sys.path.insert(0, '/app/lib')
shutil.copytree('/app/artifact', '/edited/artifact')
folder = pathlib.Path('/edited/artifact')
manifest = json.loads((folder / 'lading.json').read_text())
{edit}
(folder / 'lading.json').write_text(json.dumps(manifest))
"""
REFUSED = EDIT.format(
    edit="""
for packed in manifest['variants']:
    packed['passed'], packed['reasons'] = False, ['the score fell by 0.3']
"""
)
OTHER_ANSWERS = EDIT.format(
    edit="""
import numpy
name = 'golden/' + manifest['chosen'] + '.npz'
arrays = dict(numpy.load(folder / name))
numpy.savez(folder / name, **{key: array[::-1] * 0.0 for key, array in arrays.items()})
manifest['files'][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
"""
)


@pytest.fixture(autouse=True)
def _restored(release: Release) -> Iterator[None]:
    release.settled()
    yield
    release.upgrade()


def edited(release: Release, script: str) -> list[str]:
    """Values that make an init container copy and edit the image's artifact, and the server serve the copy."""
    image = f"{release.values['image']['repository']}:{release.values['image']['tag']}"
    container = {
        "name": "edit",
        "image": image,
        "command": ["python", "-c", script],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "edited", "mountPath": "/edited"}],
    }
    release.values |= {
        "extraInitContainers": [container],
        "extraVolumes": [{"name": "edited", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "edited", "mountPath": "/edited", "readOnly": True}],
    }
    return ["artifact.digest=", "artifact.path=/edited/artifact"]


def refuse(release: Release, photo: Path, *sets: str, says: str, timeout: int = 45) -> None:
    """Upgrade, see the message, the old pods serve on, and the rollback."""
    before = {pod["metadata"]["name"] for pod in release.pods()}
    kept = dict(release.values)
    import threading

    heard: list[str] = []

    def listen() -> None:
        wait_until(f"a pod says {says!r}", lambda: says in heard_now(), seconds=timeout)

    def heard_now() -> str:
        heard.append(release.last_words())
        return heard[-1]

    listener = threading.Thread(target=lambda: _quietly(listen))
    listener.start()
    said = release.upgrade(*sets, check=False, rollback=True, timeout=timeout)
    listener.join()
    release.values = {key: kept[key] for key in kept if not key.startswith("extra")}
    assert "rolled back" in said.lower() or "rollback" in said.lower(), said
    assert any(says in words for words in heard), "\n".join(heard[-3:])
    assert httpx.post(f"{release.url}/classify", content=photo.read_bytes()).status_code == 200
    release.settled()
    assert before == {pod["metadata"]["name"] for pod in release.pods()}, "a pod that served was replaced"


def _quietly(call: object) -> None:
    try:
        call()  # type: ignore[operator]
    except AssertionError:
        return


def test_another_artifact_than_the_one_released(release: Release, photo: Path) -> None:
    says = "it is another artifact than the one that was released"
    refuse(release, photo, f"artifact.digest=sha256:{'0' * 64}", says=says)


@full
def test_an_artifact_that_its_gate_refused(release: Release, photo: Path) -> None:
    refuse(release, photo, *edited(release, REFUSED), says="was refused by verify: the score fell by 0.3")


@full
def test_a_processor_that_answers_differently(release: Release, photo: Path) -> None:
    """What a CPU without the instructions that the artifact was measured on would do: other numbers."""
    sets = ["probes.startup.failureThreshold=15"]
    refuse(release, photo, *edited(release, OTHER_ANSWERS), *sets, says="golden")


@full
def test_too_little_memory(release: Release, photo: Path) -> None:
    little = ["resources.requests.memory=48Mi", "resources.limits.memory=48Mi"]
    refuse(release, photo, *little, says="OOMKilled")
