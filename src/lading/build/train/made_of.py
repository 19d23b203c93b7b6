"""What trained weights are made of: source, options, data, and the weights that they started from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from lading.build.facts import Facts, data_facts, differences, flat, listed, source_facts
from lading.build.fingerprint import Fingerprint, fingerprint_of
from lading.build.train.config import plain
from lading.files import check_unused, write_atomically
from lading.spec import Dataset, Evaluated

SOURCE, OPTIONS, DATA, START = GROUPS = ("source", "options", "data", "start")
PARENT = "initial weights"
SHARE = "pruned share"
BEGUN = "begun.json"
"""What the run in a folder is made of, written when it begins: an interrupted one is resumed only for the same."""
RESUMED = "changes when it was resumed"
_HOW = ("data.workers", "data.prefetch", "data.shared", "trainer.threads", "trainer.progress", "logger.")
"""Options of how a run is done. Weights do not depend on them, apart from rounding."""
_OTHERS = ("target", "averaged_with.")
"""Entries of a run's configuration that are no options: the model's import string, and the runs behind a mean."""
_NAMED = ("init",)
"""Options that name a file; its digest is compared."""
OF_PRUNING = "prune."
REPLACED = ("optimizer.lr", "trainer.max_epochs")
"""Options that pruning takes from ``prune.lr`` and ``prune.max_epochs`` instead."""


def weights_facts(
    spec: Evaluated,
    config: DictConfig,
    data: Mapping[str, Fingerprint],
    *,
    parent: str | None = None,
    share: float | None = None,
) -> dict[str, Any]:
    """What weights are made of that are trained, or pruned and fine-tuned, as configured.

    Args:
        spec: the model.
        config: of the run.
        data: fingerprints of the splits ``train`` and ``valid``.
        parent: digest of the weights to start from.
        share: of the multiply-accumulates to remove; ``None`` for a training.
    """
    return {
        SOURCE: source_facts(spec),
        OPTIONS: options_of(plain(config), pruning=share is not None) | ({} if share is None else {SHARE: share}),
        DATA: data_facts(data),
        START: {PARENT: parent},
    }


def changed(before: Facts, now: Facts, *groups: str) -> list[str]:
    """What has changed of the facts about weights, one entry a fact; by default of all groups of them."""
    return differences(
        *(
            {name: one for group in groups or GROUPS for name, one in facts.get(group, {}).items()}
            for facts in (before, now)
        )
    )


def options_of(config: Mapping[str, Any], *, pruning: bool) -> dict[str, Any]:
    """The options of a run that decide its weights, by dotted name."""
    return {name: value for name, value in flat(config).items() if not _is_unused(name, pruning=pruning)}


def is_how(name: str) -> bool:
    """Whether an option is about how a run is done. It is accepted everywhere, since no result depends on it."""
    return name.startswith(_HOW)


def data_of(train: Dataset, valid: Dataset) -> dict[str, Fingerprint]:
    """The fingerprints of the splits that training reads: ``valid`` decides which epoch is kept."""
    return {"train": fingerprint_of(train), "valid": fingerprint_of(valid)}


def begin(folder: Path, facts: Facts, *, resume: bool) -> dict[str, Any]:
    """Record what the run in a folder is made of, before its first step.

    Returns:
        The facts. A run that was resumed with other options has them, too: its weights are made of both.
    """
    found = dict(facts)
    before = begun(folder)
    if resume and before is not None:
        earlier = before.get(START, {}).get(RESUMED)
        changes = changed(before, facts, SOURCE, OPTIONS, DATA)
        if changes or earlier:
            found[START] = {**found[START], RESUMED: "; ".join(filter(None, (earlier, listed(changes))))}
    write_atomically(folder / BEGUN, json.dumps(found, indent=2) + "\n")
    return found


def begun(folder: Path) -> dict[str, Any] | None:
    """What the run in a folder was made of, whether it ended or not; ``None`` if that is not recorded."""
    try:
        found = json.loads((folder / BEGUN).read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.keys() >= set(GROUPS) else None


def check_begun(folder: Path) -> None:
    """Refuse a folder that has a file of the record's name which is not Lading's.

    Raises:
        OccupiedError: it has.
    """
    if begun(folder) is None:
        check_unused(folder / BEGUN)


def _is_unused(name: str, *, pruning: bool) -> bool:
    if is_how(name) or name.startswith(_OTHERS) or name in _NAMED:
        return True
    return name in REPLACED if pruning else name.startswith(OF_PRUNING)
