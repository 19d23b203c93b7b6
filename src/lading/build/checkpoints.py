"""The weights of a build: those that a user brings are used as they are, those that Lading makes are made of today's
source, options and data.

Each one that is used gets a sentence: that it is fresh, what is stale about it, or why it is used again.
"""

from __future__ import annotations

import inspect
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from lading.build.facts import Facts, digest_of, listed
from lading.build.fingerprint import Fingerprint, Fingerprints
from lading.build.given_weights import LACKING, differs, parentage
from lading.build.made_weights import made_unless_fresh, record_of
from lading.build.optional import unless_required
from lading.errors import CheckpointError, SpecError
from lading.spec import ModelSpec

ONLY_PRUNED = "pruning reads prune.lr and prune.max_epochs, and takes the model's options from the weights"


def find_checkpoints(
    spec: ModelSpec,
    target: str,
    *,
    work: Path,
    checkpoint: Path | None,
    overrides: Sequence[str],
    problems: MutableMapping[float, str],
    console: Console,
) -> dict[float, Path]:
    """Return a checkpoint for every pruning share that the spec's variants need, making what is missing or stale.

    Args:
        spec: the model, with the options of ``overrides``.
        target: its import string.
        work: the folder of the build; trained weights are in ``train``, pruned ones in ``prune``.
        checkpoint: the user's weights; default: the reference checkpoint next to the model.
        overrides: training configuration.
        problems: gets the reason, by share, why a network that no required variant needs cannot be pruned.
        console: gets a sentence for each checkpoint.

    Raises:
        SpecError: an option would have no effect, or a dry run finds that model, data, loss and score do not fit.
        PruneError: a required variant cannot be pruned.
        CheckpointError: a record next to the user's weights is corrupt, or belongs to other weights.
        OccupiedError: there are weights in the work folder that Lading did not make.
    """
    from lading.build.dry_run import dry_run
    from lading.build.train.config import compose

    found = Weights(spec, target, work, checkpoint, console)
    found.refuse_options(overrides)
    config = compose(target, overrides)
    shares = [share for share in found.shares if not found.shipped(share)]
    # Also where the weights are there already: the stages after training take longer.
    for sentence in dry_run(spec, shares=shares, round_to=config.prune.round_to):
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    return found.make(config, problems)


def existing_checkpoints(
    spec: ModelSpec, target: str, *, work: Path, checkpoint: Path | None, console: Console
) -> dict[float, Path]:
    """The same from what is there. Nothing is trained or pruned.

    Raises:
        SpecError: weights are missing; the sentence has the command that makes them.
    """
    from lading.build.train.config import compose

    found = Weights(with_options(spec, target, (), checkpoint), target, work, checkpoint, console)
    config = compose(target)
    paths = {0.0: found.existing_base(config)}
    return paths | {share: found.existing_pruned(paths[0.0], share, config) for share in found.shares}


def existing_base(spec: ModelSpec, target: str, *, work: Path, checkpoint: Path | None, console: Console) -> Path:
    """The weights before pruning, from what is there.

    Raises:
        SpecError: they are missing; the sentence has the command that makes them.
    """
    from lading.build.train.config import compose

    spec = with_options(spec, target, (), checkpoint)
    return Weights(spec, target, work, checkpoint, console).existing_base(compose(target))


def with_options(spec: ModelSpec, target: str, overrides: Sequence[str], checkpoint: Path | None) -> ModelSpec:
    """The model with the ``model.*`` options of weights that Lading trains: its other stages read the same data.

    The user's weights have options of their own, and the model stays as it is.
    """
    from lading.build.train.checkpoint import spec_of
    from lading.build.train.config import compose

    if checkpoint or spec.checkpoint().is_file():
        return spec
    defaults = {name: one.default for name, one in inspect.signature(type(spec)).parameters.items()}
    config = compose(target, overrides)
    chosen = {str(name): value for name, value in config.model.items() if defaults.get(str(name)) != value}
    return spec_of(spec, chosen) if chosen else spec


@dataclass
class Weights:
    """The weights of one build."""

    spec: ModelSpec
    target: str
    work: Path
    checkpoint: Path | None
    console: Console
    data: Fingerprints = field(init=False)

    def __post_init__(self) -> None:
        self.data = Fingerprints(self.spec)

    @property
    def given(self) -> Path | None:
        """The user's weights, named or next to the model's file; ``None`` where Lading trains."""
        own = self.spec.checkpoint()
        return self.checkpoint or (own if own.is_file() else None)

    @property
    def shares(self) -> list[float]:
        """The pruning shares of the variants, ascending, without 0."""
        return sorted({variant.pruning for variant in self.spec.variants} - {0.0})

    def refuse_options(self, words: Sequence[str]) -> None:
        """Refuse options that no training or pruning of this build reads."""
        from lading.build.train.made_of import OF_PRUNING, is_how
        from lading.build.train.without_effect import refuse_without_effect

        if self.given is None:
            why = f"no variant of {self.spec.name} is pruned. Leave it out, or add a variant with pruning to the model"
            if not self.shares:
                refuse_without_effect(self.target, words, lambda key: key.startswith(OF_PRUNING), why)
            return
        none_made = all(self.shipped(share) for share in self.shares)
        why = (
            f"the weights {_short(self.given)} are used as they are, and "
            f"{'nothing is trained' if none_made else ONLY_PRUNED}. Leave it out, or train with it "
            f"(`lading train {self.target} KEY=VALUE`) and name the new weights with --checkpoint"
        )
        refuse_without_effect(
            self.target, words, (lambda key: not is_how(key)) if none_made else no_effect_on_pruning, why
        )

    def make(self, config: DictConfig, problems: MutableMapping[float, str]) -> dict[float, Path]:
        """Use, train or prune what the variants need."""
        base = self._as_given(self.given, config) if self.given else self._trained(config)
        found = {0.0: base}
        for share in self.shares:
            if shipped := self.shipped(share):
                found[share] = self._shown_shipped(shipped, base)
                continue
            with unless_required(self.spec, share, problems):
                found[share] = self._pruned(base, share, config)
            if share in problems:
                self.console.print(f"there is no variant with {share:.0%} pruned: {problems[share]}", markup=False)
        return found

    def existing_base(self, config: DictConfig) -> Path:
        """The user's weights, or those of an earlier build, with a sentence of what is stale."""
        if self.given:
            return self._as_given(self.given, config)
        path = self.work / "train" / self.spec.checkpoint().name
        if not path.is_file():
            raise SpecError(
                f"{self.spec.name} has no weights: neither {_short(self.spec.checkpoint())} nor {path} exists. "
                f"`lading train {self.target} --out {path.parent}` makes them, or name them with --checkpoint"
            )
        self._say_existing(path, self._facts(config))
        return path

    def existing_pruned(self, base: Path, share: float, config: DictConfig) -> Path:
        """Pruned weights that were made before of the base."""
        from lading.build.train.made_of import PARENT, START

        if shipped := self.shipped(share):
            return self._shown_shipped(shipped, base)
        path = self.work / "prune" / self.spec.checkpoint(share).name
        record = record_of(path) if path.is_file() else None
        if record is None or record.get(START, {}).get(PARENT) != digest_of(base):
            what = "does not exist" if not path.is_file() else f"was not pruned from {base}"
            option = f" --checkpoint {self.checkpoint}" if self.checkpoint else ""
            raise SpecError(
                f"a variant of {self.spec.name} is pruned by {share:.0%}, and {path} {what}: "
                f"`lading prune {self.target} --share {share:g}{option} --out {path.parent}` makes it"
            )
        self._say_existing(path, self._pruned_facts(base, share, config))
        return path

    def _say_existing(self, path: Path, facts: Facts) -> None:
        """State what changed since a checkpoint was made. This command has no training options to compare."""
        from lading.build.train.made_of import DATA, SOURCE, START, changed

        record = record_of(path)
        changes = changed(record, facts, SOURCE, DATA, START) if record else [LACKING]
        self._say(path, f"stale: {listed(changes)}; used as it is: this command does not train" if changes else "fresh")

    def _as_given(self, path: Path, config: DictConfig) -> Path:
        from lading.build.train.checkpoint import read_own_card

        if not path.is_file():
            raise CheckpointError(f"there is no checkpoint {path}: `lading train {self.target}` makes one")
        card = read_own_card(path)
        self._say(path, f"used as given; {differs(card, self._facts(config)) if card else LACKING}")
        return path

    def _shown_shipped(self, path: Path, base: Path) -> Path:
        self._say(path, f"used as given, with the weights next to it; {parentage(path, base)}")
        return path

    def _trained(self, config: DictConfig) -> Path:
        from lading.build.train.train import train

        path = self.work / "train" / self.spec.checkpoint().name

        def make(resume: bool) -> Path:
            return train(self.spec, config, path.parent, resume=resume, tried=True)

        return made_unless_fresh(path, self._facts(config), "trained", make, partial(self._say, path))

    def _pruned(self, base: Path, share: float, config: DictConfig) -> Path:
        from lading.build.prune import prune

        path = self.work / "prune" / self.spec.checkpoint(share).name

        def make(resume: bool) -> Path:
            return prune(self.spec, share, base, config, path.parent, resume=resume)

        facts = self._pruned_facts(base, share, config)
        return made_unless_fresh(path, facts, "pruned", make, partial(self._say, path))

    def _facts(self, config: DictConfig) -> dict[str, Any]:
        from lading.build.train.made_of import weights_facts

        start = Path(config.init) if config.init else None
        parent = digest_of(start) if start and start.is_file() else None
        return weights_facts(self.spec, config, self._data(), parent=parent)

    def _pruned_facts(self, base: Path, share: float, config: DictConfig) -> dict[str, Any]:
        from lading.build.prune import of_fine_tuning
        from lading.build.train.checkpoint import read_card, spec_of
        from lading.build.train.made_of import weights_facts

        card = read_card(base)
        spec = spec_of(self.spec, card.config.get("model", {}) if card else {})
        data = self._data() if spec is self.spec else {split: Fingerprints(spec).of(split) for split in self._data()}
        return weights_facts(spec, of_fine_tuning(config, card), data, parent=digest_of(base), share=share)

    def _data(self) -> dict[str, Fingerprint]:
        return {split: self.data.of(split) for split in ("train", "valid")}

    def shipped(self, share: float) -> Path | None:
        """Pruned weights next to the reference checkpoint belong to it. Other weights are pruned here."""
        path = self.spec.checkpoint(share)
        return path if self.checkpoint is None and self.given and path.is_file() else None

    def _say(self, path: Path, sentence: str) -> None:
        self.console.print(f"weights {_short(path)}: {sentence}", markup=False, highlight=False, soft_wrap=True)


def no_effect_on_pruning(key: str) -> bool:
    """Whether pruning reads nothing of an option: the weights decide the model, and ``prune.*`` replaces others."""
    from lading.build.train.made_of import REPLACED

    return key in (*REPLACED, "init") or key.startswith("model.")


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_absolute() and path.is_relative_to(Path.cwd()) else path
