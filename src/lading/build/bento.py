"""An artifact as a Bento: the service, this package's source, the locked requirements of serving, and the artifact."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from lading.artifact import Artifact
from lading.errors import BentoError

PACKAGE = Path(__file__).parents[1]
_TAG = re.compile(r"__tag__:(\S+)")


def build_bento(artifact_path: Path) -> str:
    """Build a Bento named after the model, which ``bentoml serve NAME:latest`` serves from anywhere.

    It has the package as source next to ``service.py``, where Python looks first, so that no wheel is built. It also
    has the lock file with its hashes. Its requirements have neither torch nor the build extra.

    Args:
        artifact_path: the artifact's folder.

    Returns:
        The tag: ``NAME:VERSION-DIGEST-TIME``, so that the newest build sorts last and names its artifact.

    Raises:
        ArtifactError: the artifact is corrupt or was edited.
        BentoError: BentoML refused; the message ends with its reason.
    """
    artifact = Artifact.load(artifact_path)
    with tempfile.TemporaryDirectory(prefix="lading-bento-") as folder:
        context = Path(folder)
        _stage(context, artifact)
        return _run_build(context, _version(artifact))


def bento_name(model: str) -> str:
    """The model's name as BentoML allows it: lower case, beginning and ending with a letter or a digit."""
    return model.lower().strip("-_.")


def _stage(context: Path, artifact: Artifact) -> None:
    shutil.copyfile(_shipped("service.py", "service.py"), context / "service.py")
    shutil.copyfile(_shipped("requirements-serve.txt", "requirements/serve.txt"), context / "requirements.txt")
    shutil.copytree(PACKAGE, context / "lading", ignore=shutil.ignore_patterns("__pycache__"))
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


def _shipped(in_wheel: str, in_checkout: str) -> Path:
    installed = PACKAGE / in_wheel
    file = installed if installed.is_file() else PACKAGE.parents[1] / in_checkout
    if not file.is_file():
        raise BentoError(f"{in_checkout} is missing at {file}: install lading again, or run in a complete checkout")
    return file


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
