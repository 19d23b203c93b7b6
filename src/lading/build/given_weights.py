"""How weights that a user brings differ from those that would be made today. They are used all the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lading.build.facts import Facts, data_facts, digest_of, listed
from lading.build.fingerprint import Fingerprint

if TYPE_CHECKING:
    from lading.build.train.checkpoint import RunCard

LACKING = "it has no record of what it was made of"


def differs(card: RunCard, today: Facts) -> str:
    """How weights differ from what would be trained today, in words.

    Args:
        card: the record next to them. One of an older version has some options, and perhaps the data.
        today: facts about weights that would be trained now.
    """
    from lading.build.train.lineage import changed_weights
    from lading.build.train.made_of import DATA, OPTIONS, SOURCE, changed

    made = changed_weights(card)
    before, lacking = dict(made.made_of), ""
    if not before:
        before = _of_older_record(made, today)
        today = {
            group: {name: value for name, value in today[group].items() if name in before[group]} for group in before
        }
        lacking = "not recorded: " + ", ".join([SOURCE, *(group for group in before if not before[group])])
    # What they started from is the user's affair.
    changes = changed(before, today, SOURCE, OPTIONS, DATA)
    if not changes and not lacking:
        return "fresh: made of today's source, options and data"
    return "; ".join(filter(None, (f"stale: {listed(changes)}" if changes else "", lacking)))


def parentage(pruned: Path, base: Path) -> str:
    """Whether the record of pruned weights says that they were pruned from the base."""
    from lading.build.train.checkpoint import read_own_card

    card, digest = read_own_card(pruned), digest_of(base).partition(":")[2]
    if card is None:
        return LACKING
    before, parent = [], card.parent
    while parent is not None:
        before.append(parent.weights)
        parent = parent.parent
    return f"pruned from {base.name}" if digest in before else f"stale: it was not pruned from this {base.name}"


def _of_older_record(card: RunCard, today: Facts) -> dict[str, Facts]:
    from lading.build.train.lineage import newest_training
    from lading.build.train.made_of import DATA, OPTIONS, options_of

    trained = newest_training(card)
    seen = trained.data_fingerprint if trained else None
    data = data_facts({"train": Fingerprint(own=seen)}) if seen else {}
    options = options_of(card.config, pruning=False)
    return {OPTIONS: {name: value for name, value in options.items() if name in today[OPTIONS]}, DATA: data}
