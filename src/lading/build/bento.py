"""Packs an artifact into a Bento: the service, this package's source, the locked requirements, and the artifact."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from lading.artifact import Artifact
from lading.build.shipped import PACKAGE, SHIPPED, shipped
from lading.errors import BentoError

_TAG = re.compile(r"__tag__:(\S+)")


def build_bento(artifact_path: Path) -> str:
    """Build a Bento named after the model. ``bentoml serve NAME:latest`` serves it from any folder.

    The package goes in as source next to ``service.py``, where Python looks first. So no wheel is built to pack it. The
    lock file goes in with its hashes. The requirements do not include torch or the extra ``build``.

    Args:
        artifact_path: the artifact's folder.

    Returns:
        The tag, ``NAME:VERSION-DIGEST-TIME``: the newest build sorts last, and the digest names the artifact.

    Raises:
        ArtifactError: the artifact is incomplete or was edited.
        BentoError: BentoML is not installed, or it failed; the message ends with BentoML's own.
    """
    require_bentoml()
    artifact = Artifact.load(artifact_path)
    with tempfile.TemporaryDirectory(prefix="lading-bento-") as folder:
        context = Path(folder)
        _stage(context, artifact)
        return _run_build(context, _version(artifact))


def require_bentoml() -> None:
    """Raise ``BentoError`` if BentoML is not installed."""
    if find_spec("bentoml") is None:
        raise BentoError("building a Bento needs BentoML: pip install 'lading[bento]'")


def bento_name(model: str) -> str:
    """The model's name as BentoML allows it: lower case, with a letter or a digit at both ends."""
    return model.lower().strip("-_.")


def _stage(context: Path, artifact: Artifact) -> None:
    shutil.copyfile(shipped("service.py"), context / "service.py")
    shutil.copyfile(shipped("requirements/bento.txt"), context / "requirements.txt")
    shutil.copytree(PACKAGE, context / "lading", ignore=shutil.ignore_patterns("__pycache__", SHIPPED))
    shutil.copytree(artifact.path, context / "artifact")
    bentofile = {
        "service": "service:Lading",
        "name": bento_name(artifact.manifest.name),
        "description": f"{artifact.manifest.description or artifact.manifest.name} ({artifact.digest})",
        "include": ["service.py", "lading/**", "artifact/**"],
        "python": {"requirements_txt": "requirements.txt", "lock_packages": False},
        "docker": {"python_version": f"{sys.version_info.major}.{sys.version_info.minor}"},
    }
    # JSON is YAML.
    (context / "bentofile.yaml").write_text(json.dumps(bentofile))


def _version(artifact: Artifact) -> str:
    digest = artifact.digest.removeprefix("sha256:")[:12]
    return f"{artifact.manifest.version.lower()}-{digest}-{datetime.now(UTC):%Y%m%d%H%M%S}"


def _run_build(context: Path, version: str) -> str:
    command = [sys.executable, "-m", "bentoml", "build", "--version", version, "--output", "tag"]
    environment = {**os.environ, "BENTOML_DO_NOT_TRACK": "true", "ORT_DISABLE_TELEMETRY": "1"}
    # Import the source in the Bento, not the one that runs now.
    environment["PYTHONPATH"] = str(context)
    result = subprocess.run(command, cwd=context, capture_output=True, text=True, env=environment, check=False)
    tag = _TAG.search(result.stdout)
    if result.returncode != 0 or tag is None:
        said = (result.stderr.strip() or result.stdout.strip()).splitlines()
        raise BentoError(f"BentoML did not build the Bento: {said[-1] if said else f'exit code {result.returncode}'}")
    return tag[1]
