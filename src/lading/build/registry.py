"""Checkpoints in a model registry: fetched for a build, which writes its verdict back onto the version."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from lading.build.records import Verification
from lading.errors import CheckpointError
from lading.errors.sentences import clipped

SCHEMES = ("wandb:", "mlflow:")
TORCH_SUFFIXES = (".pth", ".pt", ".ckpt", ".bin")
"""Of files that torch.save wrote."""
VERIFIED = "verified"
"""Alias of the newest version that passed its build."""
_PREFIX = "lading."
_MLFLOW = re.compile(r"^models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<number>\d+))$")


class Version(Protocol):
    """One version of a model in a registry."""

    address: str
    """With the number of the version, where the user named an alias."""
    checkpoint: Path
    """Its weights on this machine, with the record of their run if the version has one."""

    def report(self, facts: dict[str, Any], *, passed: bool) -> None:
        """Write facts onto the version, and move the alias ``verified`` to it if it passed.

        Raises:
            CheckpointError: the registry does not accept them.
        """


def is_address(checkpoint: str) -> bool:
    """Whether the value of ``--checkpoint`` names a version in a registry, and not a file."""
    return checkpoint.startswith(SCHEMES)


def fetch_version(address: str, folder: Path) -> Version:
    """Download the weights of a version.

    Args:
        address: ``wandb:ENTITY/PROJECT/NAME:ALIAS`` or ``mlflow:models:/NAME@ALIAS``.
        folder: where to put them, in a folder of the version's own.

    Raises:
        CheckpointError: there is no such version, no access to it, or it has not one file of weights.
    """
    scheme, _, name = address.partition(":")
    return WandbVersion(name, folder) if scheme == "wandb" else MlflowVersion(name, folder)


def facts_of(verification: Verification, release: str | None) -> dict[str, Any]:
    """What a build writes onto the version: verdict, scores, served variant, reasons, and the release made from it.

    Args:
        verification: of the version's variants.
        release: digest of the artifact; ``None`` if nothing was packed.
    """
    facts: dict[str, Any] = {
        "verdict": "passed" if release else "refused",
        "serving": verification.chosen,
        "release": release,
        "verified": verification.created,
    }
    served = verification.chosen or "fp32"
    for entry in verification.variants:
        name = entry.variant.name
        if name == served:
            facts |= {f"score.{split}": score for split, score in entry.scores.items()}
        if not entry.passed:
            facts[f"refused.{name}"] = "; ".join(entry.reasons) or entry.problem
    return {f"{_PREFIX}{name}": value for name, value in facts.items() if value is not None}


def weights_among(files: Iterable[str], address: str) -> tuple[str, str | None]:
    """Choose the checkpoint of a version, and the record of its run.

    Args:
        files: paths in the version.
        address: of the version, for the error.

    Returns:
        The path of the ``.safetensors`` file, or else of the one that torch.save wrote, and of the ``.run.json`` next
        to it or ``None``.

    Raises:
        CheckpointError: it has no such file, or several.
    """
    names = [name for name in files if ".." not in PurePosixPath(name).parts and not name.startswith("/")]
    found = [name for name in names if name.endswith(".safetensors")] or [name for name in names if _is_torch(name)]
    if len(found) != 1:
        held = ", ".join(sorted(PurePosixPath(name).name for name in found or names)[:5]) or "no file"
        raise CheckpointError(
            f"{address} must have one file of weights (.safetensors, or {', '.join(TORCH_SUFFIXES)}), and has "
            f"{len(found)} ({held}): log the checkpoint that `lading train` wrote, with its .run.json"
        )
    record = str(PurePosixPath(found[0]).with_suffix(".run.json"))
    return found[0], record if record in names else None


def _is_torch(name: str) -> bool:
    return PurePosixPath(name).suffix in TORCH_SUFFIXES


class WandbVersion:
    """One version of a W&B artifact, fetched with the login of ``wandb login`` or ``WANDB_API_KEY``.

    Args:
        name: ``ENTITY/PROJECT/NAME:ALIAS``, or without the entity. The default alias is ``latest``.
        folder: where to put the weights.

    Raises:
        CheckpointError: see :func:`fetch_version`.
    """

    def __init__(self, name: str, folder: Path) -> None:
        import wandb

        from lading.build.train.loggers import wandb_mode

        self._asked = f"wandb:{name}"
        self._errors = (wandb.Error, ValueError, OSError)
        if wandb_mode(os.environ) != "online":
            raise CheckpointError(
                f"{self._asked} needs a W&B login: run `wandb login` or set WANDB_API_KEY, and leave WANDB_MODE unset"
            )
        try:
            # A short timeout; the client retries for minutes otherwise.
            self._artifact = wandb.Api(timeout=30).artifact(name if ":" in name else f"{name}:latest")
            collection = str(self._artifact.name).rsplit(":", 1)[0]
            place = f"{self._artifact.entity}/{self._artifact.project}/{collection}"
            self.address = f"wandb:{place}:{self._artifact.version}"
            weights, record = weights_among(self._artifact.manifest.entries, self.address)
            own = folder / f"{collection}-{self._artifact.version}"
            for file in (record, weights) if record else (weights,):
                self._artifact.get_entry(file).download(root=str(own))
        except self._errors as error:
            raise CheckpointError(clipped(f"{self._asked} cannot be fetched: {error}")) from None
        self.checkpoint = own / weights

    def report(self, facts: dict[str, Any], *, passed: bool) -> None:
        """Write facts into the version's metadata. See :class:`Version`."""
        kept = {name: value for name, value in self._artifact.metadata.items() if not name.startswith(_PREFIX)}
        self._artifact.metadata = kept | facts
        others = [alias for alias in self._artifact.aliases if alias != VERIFIED]
        self._artifact.aliases = [*others, VERIFIED] if passed else others
        try:
            self._artifact.save()
        except self._errors as error:
            raise CheckpointError(clipped(f"the verdict cannot be written onto {self.address}: {error}")) from None


class MlflowVersion:
    """One version of a registered model on the MLflow server of ``MLFLOW_TRACKING_URI`` or ``MLFLOW_REGISTRY_URI``.

    Args:
        uri: ``models:/NAME@ALIAS`` or ``models:/NAME/NUMBER``.
        folder: where to put the weights.

    Raises:
        CheckpointError: see :func:`fetch_version`; also if MLflow's client is not installed.
    """

    def __init__(self, uri: str, folder: Path) -> None:
        match = _MLFLOW.match(uri)
        if match is None:
            raise CheckpointError(f"mlflow:{uri} is not mlflow:models:/NAME@ALIAS, nor mlflow:models:/NAME/NUMBER")
        try:
            from mlflow import MlflowClient, artifacts
            from mlflow.exceptions import MlflowException
        except ImportError:
            raise CheckpointError(f"mlflow:{uri} needs MLflow's client: pip install 'lading[mlflow]'") from None
        self._errors = (MlflowException, OSError, ValueError)
        self._client = MlflowClient()
        self._name = match["name"]
        try:
            if match["alias"]:
                found = self._client.get_model_version_by_alias(self._name, match["alias"])
            else:
                found = self._client.get_model_version(self._name, match["number"])
            self._number = str(found.version)
            self.address = f"mlflow:models:/{self._name}/{self._number}"
            source = self._client.get_model_version_download_uri(self._name, self._number)
            weights, record = weights_among(_files(artifacts, source), self.address)
            own = folder / f"{self._name}-{self._number}"
            own.mkdir(parents=True, exist_ok=True)
            for file in (record, weights) if record else (weights,):
                got = artifacts.download_artifacts(artifact_uri=f"{source.rstrip('/')}/{file}", dst_path=str(own))
        except self._errors as error:
            raise CheckpointError(clipped(f"mlflow:{uri} cannot be fetched: {error}")) from None
        self.checkpoint = Path(got)

    def report(self, facts: dict[str, Any], *, passed: bool) -> None:
        """Write facts as tags of the version. See :class:`Version`."""
        try:
            found = self._client.get_model_version(self._name, self._number)
            for tag in found.tags:
                if tag.startswith(_PREFIX) and tag not in facts:
                    self._client.delete_model_version_tag(self._name, self._number, tag)
            for tag, value in facts.items():
                self._client.set_model_version_tag(self._name, self._number, tag, str(value))
            if passed:
                self._client.set_registered_model_alias(self._name, VERIFIED, self._number)
            elif VERIFIED in found.aliases:
                self._client.delete_registered_model_alias(self._name, VERIFIED)
        except self._errors as error:
            raise CheckpointError(clipped(f"the verdict cannot be written onto {self.address}: {error}")) from None


def _files(artifacts: Any, uri: str) -> list[str]:
    """Paths of all files below a source, relative to it."""
    found, folders = list[str](), [""]
    while folders:
        folder = folders.pop()
        for one in artifacts.list_artifacts(artifact_uri=f"{uri.rstrip('/')}/{folder}".rstrip("/")):
            # Stores list paths from the root of the run or from the source; the last parts are the same.
            name = f"{folder}/{Path(one.path).name}".lstrip("/")
            (folders if one.is_dir else found).append(name)
    return found
