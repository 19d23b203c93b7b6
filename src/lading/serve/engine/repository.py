"""The models of one server, by name, version and variant; loading and unloading them while others are served."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import structlog

from lading.artifact import Artifact
from lading.errors import ForbiddenError, LadingError, SettingsError, UnknownModelError
from lading.serve.engine.artifacts import _name_of, _natural, _subfolders, accept, leave_message, named_artifacts
from lading.serve.engine.engine import Engine
from lading.serve.engine.model import ServedModel
from lading.serve.metrics import Metrics
from lading.settings import Settings

log = structlog.get_logger("lading.repository")

UNLOADED = "it was unloaded"


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
        self._models: dict[str, dict[str, dict[str, ServedModel]]] = {}
        artifacts = artifacts or accept(named_artifacts(settings), settings)
        for artifact in artifacts:
            self._add(artifact)
        self.default = artifacts[0].manifest.name
        self.stopping = False
        """The server is about to stop: it is not ready any more, and answers what still comes."""
        self._served_first = list(self.all())
        self._by_request: dict[tuple[str | None, str | None, str | None], ServedModel] = {}

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

    def versions(self, name: str) -> tuple[str, ...]:
        """The versions of a model, oldest first.

        Raises:
            UnknownModelError: there is no such model.
        """
        if name not in self._models:
            raise UnknownModelError(f"no model {name!r} is served here; the models are: {', '.join(self._models)}")
        return tuple(sorted(self._models[name], key=_natural))

    def variants(self, model: ServedModel) -> tuple[str, ...]:
        """The loaded variants of a model's version, the one served by default first."""
        return tuple(self._models[model.name][model.version])

    async def start(self) -> None:
        """Load every model, one after another. One that cannot be loaded stays not ready and says why."""
        for model in list(self.all()):
            await self._load(model)

    async def load(self, name: str) -> None:
        """Load a model of the models folder, or one that was unloaded, from its files again.

        Raises:
            ForbiddenError: ``LADING_MODEL_CONTROL`` is off.
            UnknownModelError: there is no such model.
            ArtifactError, NotReadyError: it cannot be served; what was served of it before still is.
        """
        self._may_control()
        paths = [path for path in self._known_paths() if _name_of(path) == name]
        if not paths:
            raise UnknownModelError(f"no artifact of a model {name!r} lies where this server looks")
        fresh: dict[str, dict[str, ServedModel]] = {}
        for path in paths:
            artifact = await asyncio.to_thread(Artifact.load, path)
            variants = fresh[artifact.manifest.version] = self._variants(artifact)
            for model in variants.values():
                await asyncio.to_thread(model.load)
        before = self._models.get(name, {})
        self._models[name] = fresh
        self._by_request.clear()
        for variants in before.values():
            for model in variants.values():
                model.close(UNLOADED)

    async def unload(self, name: str) -> None:
        """Take no more requests for a model, and return when those accepted are answered and its memory is free.

        Raises:
            ForbiddenError: ``LADING_MODEL_CONTROL`` is off.
            UnknownModelError: there is no such model.
        """
        self._may_control()
        self.versions(name)
        for variants in self._models[name].values():
            for model in variants.values():
                model.close(UNLOADED)
        for variants in self._models[name].values():
            for model in variants.values():
                await self._engine.idle(model)

    def index(self) -> list[dict[str, str]]:
        """Name, version, state and reason of every model: those that are served, and those that may be loaded."""
        found = {(model.name, model.version): "" if model.ready else model.not_ready_because for model in self.all()}
        for path in self._known_paths():
            name = _name_of(path)
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

    def _find(self, name: str, version: str | None, variant: str | None) -> ServedModel:
        versions = self.versions(name)
        version = version or versions[-1]
        if version not in versions:
            raise UnknownModelError(f"model {name!r} has no version {version!r}; it has: {', '.join(versions)}")
        variants = self._models[name][version]
        if variant is None:
            return next(iter(variants.values()))
        if variant not in variants:
            raise UnknownModelError(
                f"model {name!r} is not served as variant {variant!r}; the variants loaded are: "
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

    async def _load(self, model: ServedModel) -> None:
        try:
            await asyncio.to_thread(model.load)
        except LadingError as error:
            model.not_ready_because = str(error)
        except Exception as error:
            model.not_ready_because = f"the model cannot be loaded: {type(error).__name__}"
            log.exception("not ready", model=model.name)
            leave_message(f"{model.name} is not ready: {model.not_ready_because}")
            return
        if not model.ready:
            leave_message(f"{model.name} is not ready: {model.not_ready_because}")
            log.error("not ready", model=model.name, reason=model.not_ready_because)
            return
        log.info(
            "ready",
            model=model.name,
            version=model.version,
            variant=model.variant,
            digest=model.artifact.digest[:19],
            lanes=self._engine.lanes,
            batch=model.batch,
        )

    def _may_control(self) -> None:
        if not self._settings.model_control:
            raise ForbiddenError("models are not loaded or unloaded by clients here: LADING_MODEL_CONTROL is off")

    def _known_paths(self) -> list[Path]:
        return list(dict.fromkeys([*(model.artifact.path for model in self.all()), *_subfolders(self._settings)]))
