"""The models of one server, by name, version and variant; loading and unloading them while others are served."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import structlog

from lading.artifact import Artifact
from lading.errors import ArtifactError, ForbiddenError, LadingError, SettingsError, UnknownModelError, UntrustedError
from lading.errors.sentences import meant, shown
from lading.serve.engine.artifacts import (
    accept,
    accept_one,
    artifact_folders,
    artifact_name,
    leave_message,
    named_artifacts,
    version_order,
)
from lading.serve.engine.engine import Engine
from lading.serve.engine.model import ServedModel
from lading.serve.telemetry.metrics import Metrics
from lading.settings import Settings
from lading.signing.keys import short

log = structlog.get_logger("lading.repository")

UNLOADED = "it was unloaded"
Versions = dict[str, dict[str, ServedModel]]
"""The variants of each version of a model, the one that is served by default first."""


class Repository:
    """Finds the model that a request names, and holds the state of each.

    Args:
        settings: which artifacts and variants; whether clients may load and unload.
        metrics: where models record.
        engine: drains a model before it is unloaded.
        artifacts: served instead of those that the settings name.

    Raises:
        SettingsError: no artifact is named.
        ArtifactError: an artifact is incomplete or edited, has no such variant, or not the digest of LADING_DIGEST.
        GateRefusedError: the variant to serve is one that verify refused.
    """

    def __init__(
        self, settings: Settings, metrics: Metrics, engine: Engine, artifacts: Sequence[Artifact] = ()
    ) -> None:
        self._settings, self._metrics, self._engine = settings, metrics, engine
        self._models: dict[str, Versions] = {}
        engine.models = self.all
        self._loading = asyncio.Lock()
        self.watch: Callable[[ServedModel], object] | None = None
        """Called in a thread with what a model is served by by default, before it takes requests."""
        artifacts = artifacts or accept(named_artifacts(settings), settings)
        for artifact in artifacts:
            self._add(artifact)
            metrics.show_trust(artifact.manifest.name, artifact.refused)
        self.default = artifacts[0].manifest.name
        self._first_path = artifacts[0].path
        self.stopping = False
        """The server is about to stop: it is not ready any more, and answers what still comes."""
        self._served_first = list(self.all())
        self._by_request: dict[tuple[str | None, str | None, str | None], ServedModel] = {}
        for model in self.all():
            model.metrics.show()
        self._show_ready()

    def all(self) -> Iterator[ServedModel]:
        """Every variant of every version of every model."""
        for versions in self._models.values():
            for variants in versions.values():
                yield from variants.values()

    @property
    def ready(self) -> bool:
        """True when every model that was named at the start has been loaded and verified, until the server stops."""
        return not self.not_ready_because

    @property
    def not_ready_because(self) -> str:
        """Why :attr:`ready` is false; empty when it is not."""
        if self.stopping or self._engine.draining:
            return "the server is shutting down"
        return next(
            (
                model.not_ready_because
                for model in self._served_first
                if not model.ready and model.not_ready_because != UNLOADED
            ),
            "",
        )

    def find(self, name: str | None = None, version: str | None = None, variant: str | None = None) -> ServedModel:
        """The model that a request names; the server's first, its latest version and its chosen variant by default.

        Raises:
            UnknownModelError: there is none of that name, version or variant; says which there are.
        """
        key = (name, version, variant)
        found = self._by_request.get(key)
        if found is None:
            found = self._find(name or self.default, version or None, variant or None)
            # Only what exists is remembered, so clients cannot fill this.
            self._by_request[key] = found
        return found

    def named(self, query: Mapping[str, str]) -> ServedModel:
        """The model that an address names: ``model``, ``version`` and ``variant``, as :meth:`find`."""
        return self.find(query.get("model"), query.get("version"), query.get("variant"))

    def versions(self, name: str) -> tuple[str, ...]:
        """The versions of a model, oldest first.

        Raises:
            UnknownModelError: there is no such model.
        """
        if name not in self._models:
            near, names = meant(name, list(self._models)), ", ".join(self._models)
            raise UnknownModelError(f"no model {shown(name)} is served here{near} the models are: {names}")
        return _ordered(self._models[name])

    def variants(self, model: ServedModel) -> tuple[str, ...]:
        """The loaded variants of a model's version, the one served by default first."""
        return tuple(self._models[model.name][model.version])

    async def start(self) -> None:
        """Load every model, one after another. One that cannot be loaded stays not ready and says why."""
        for versions in list(self._models.values()):
            default = _default(versions)
            for model in [model for variants in versions.values() for model in variants.values()]:
                await self._load(model, watched=model is default)

    async def load(self, name: str) -> None:
        """Load a model of the models folder, or one that was unloaded, from its files again.

        Raises:
            ForbiddenError: ``LADING_MODEL_CONTROL`` is off.
            UnknownModelError: there is no such model.
            ArtifactError, NotReadyError: it cannot be served; what was served of it before still is.
        """
        self._may_control()
        paths = [path for path in self._known_paths() if artifact_name(path) == name]
        if not paths:
            raise UnknownModelError(f"this server has no artifact of a model {shown(name)}, loaded or in LADING_MODELS")
        async with self._loading:  # each one takes memory
            fresh: Versions = {}
            for path in paths:
                try:
                    artifact = await asyncio.to_thread(accept_one, path, self._settings, first=path == self._first_path)
                except UntrustedError as error:
                    self._metrics.show_trust(name, error)
                    raise
                fresh[artifact.manifest.version] = self._variants(artifact)
            for variants in fresh.values():
                for model in variants.values():
                    await asyncio.to_thread(self._open, model, watched=model is _default(fresh))
            self._replace(name, fresh)
        self._metrics.show_trust(name, None)
        log.info("loaded", model=name, versions=list(_ordered(fresh)))

    async def unload(self, name: str) -> None:
        """Take no more requests for a model, and return when those accepted are answered, or after ``LADING_DRAIN_S``.

        Raises:
            ForbiddenError: ``LADING_MODEL_CONTROL`` is off.
            UnknownModelError: there is no such model.
        """
        self._may_control()
        self.versions(name)
        for variants in self._models[name].values():
            for model in variants.values():
                model.close(UNLOADED)
        self._show_ready()
        log.info("unloaded", model=name)
        for variants in self._models[name].values():
            for model in variants.values():
                await self._engine.idle(model, self._settings.drain_s)

    def index(self) -> list[dict[str, str]]:
        """Name, version, state and reason of every model: those that are served, and those that may be loaded."""
        found = {(model.name, model.version): "" if model.ready else model.not_ready_because for model in self.all()}
        for path in self._known_paths():
            name = artifact_name(path)
            if name and name not in self._models:
                found[name, ""] = "it was not loaded"
        return [
            {"name": name, "version": version, "state": "UNAVAILABLE" if reason else "READY", "reason": reason}
            for (name, version), reason in sorted(found.items())
        ]

    def stop(self) -> None:
        """Free the models once the engine has drained."""
        for model in self.all():
            model.close("the server is shutting down")
        self._show_ready()

    def _replace(self, name: str, fresh: Versions) -> None:
        """Serve other versions and variants of a model from now on."""
        before = self._models.get(name, {})
        self._models[name] = fresh
        self._by_request.clear()
        for variants in before.values():
            for model in variants.values():
                model.close(UNLOADED)
                model.metrics.hide()
        for variants in fresh.values():
            for model in variants.values():
                model.metrics.show()
        self._show_ready()

    def _show_ready(self) -> None:
        """``lading_ready`` of a variant is 1 when all its versions take requests."""
        ready: dict[tuple[str, str], bool] = {}
        for model in self.all():
            labels = (model.name, model.variant)
            ready[labels] = ready.get(labels, True) and model.ready
        self._metrics.show_ready(ready)

    def _find(self, name: str, version: str | None, variant: str | None) -> ServedModel:
        versions = self.versions(name)
        version = version or versions[-1]
        if version not in versions:
            raise UnknownModelError(f"model {name!r} has no version {shown(version)}; it has: {', '.join(versions)}")
        variants = self._models[name][version]
        if variant is None:
            return next(iter(variants.values()))
        if variant not in variants:
            raise UnknownModelError(
                f"model {name!r} is not served as variant {shown(variant)}; the variants loaded are: "
                f"{', '.join(variants)} (LADING_VARIANTS loads more)"
            )
        return variants[variant]

    def _add(self, artifact: Artifact) -> None:
        versions = self._models.setdefault(artifact.manifest.name, {})
        if artifact.manifest.version in versions:
            raise SettingsError(
                f"{artifact.path} is model {artifact.manifest.name!r}, version {artifact.manifest.version!r}, which "
                "another artifact is too: give them different names or versions"
            )
        versions[artifact.manifest.version] = self._variants(artifact)

    def _variants(self, artifact: Artifact) -> dict[str, ServedModel]:
        first = artifact.variant(self._settings.variant).variant.name
        more = self._settings.variants
        if "*" in more:
            more = tuple(packed.variant.name for packed in artifact.manifest.variants)
        return {
            name: ServedModel(
                artifact,
                name,
                self._metrics,
                threads=self._settings.threads,
                max_batch=self._settings.max_batch,
            )
            for name in dict.fromkeys((first, *more))
        }

    def _open(self, model: ServedModel, *, watched: bool) -> None:
        """Load a model, and begin to watch it for drift. Blocks.

        Raises:
            ArtifactError, NotReadyError: it cannot be served.
        """
        if model.artifact.refused is not None:
            raise model.artifact.refused
        try:
            if watched and self.watch is not None:
                self.watch(model)
            model.load()
        except LadingError:
            raise
        except Exception as error:
            log.exception("a model cannot be loaded", model=model.name)
            raise ArtifactError(f"the model cannot be loaded: {type(error).__name__}") from error

    async def _load(self, model: ServedModel, *, watched: bool) -> None:
        try:
            await asyncio.to_thread(self._open, model, watched=watched)
        except LadingError as error:
            model.not_ready_because = str(error)
            leave_message(f"{model.name} is not ready: {error}")
            log.error("not ready", model=model.name, reason=str(error))
            return
        self._show_ready()
        log.info(
            "ready",
            model=model.name,
            version=model.version,
            variant=model.variant,
            digest=model.artifact.digest[:19],
            **({"signed_by": short(model.artifact.signed_by)} if model.artifact.signed_by else {}),
            lanes=self._engine.lanes,
            batch=model.batch,
        )

    def _may_control(self) -> None:
        if not self._settings.model_control:
            raise ForbiddenError("models are not loaded or unloaded by clients here: LADING_MODEL_CONTROL is off")

    def _known_paths(self) -> list[Path]:
        return list(dict.fromkeys([*(model.artifact.path for model in self.all()), *artifact_folders(self._settings)]))


def _ordered(versions: Mapping[str, object]) -> tuple[str, ...]:
    """Versions, oldest first."""
    return tuple(sorted(versions, key=version_order))


def _default(versions: Versions) -> ServedModel:
    """What answers requests that name the model alone."""
    return next(iter(versions[_ordered(versions)[-1]].values()))
