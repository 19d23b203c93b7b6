"""A checkpoint in a build's work folder: used again for what it was made of, otherwise made again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from lading.build.facts import Facts, listed
from lading.build.given_weights import LACKING
from lading.errors import CheckpointError, OccupiedError


def made_unless_fresh(
    path: Path, facts: Facts, done: str, make: Callable[[bool], Path], say: Callable[[str], None]
) -> Path:
    """Return a checkpoint that is made of today's facts.

    Args:
        path: the checkpoint, which may not exist.
        facts: about weights that would be made now.
        done: what ``make`` does to them: ``trained`` or ``pruned``.
        make: makes the checkpoint; its argument is true to resume the interrupted run in the folder.
        say: gets each sentence.

    Raises:
        OccupiedError: the file has no record, so Lading did not write it.
    """
    from lading.build.train.made_of import begun, changed
    from lading.build.train.train import LAST

    if path.is_file():
        changes = _changes(path, facts)
        if not changes:
            say("reused because its source, options, data and initial weights are the same")
            return path
        say(f"stale: {listed(changes)}; it is {done} again, and the old one kept as {_keep(path).name}")
    before = begun(path.parent) if (path.parent / LAST).is_file() else None
    resume = before is not None and not changed(before, facts)
    say(f"{done} now" + (f", resuming the interrupted run in {path.parent}" if resume else ""))
    make(resume)
    say("fresh")
    return path


def record_of(path: Path) -> Facts | None:
    """What a checkpoint of Lading was made of; ``None`` if there is no record next to it."""
    from lading.build.train.checkpoint import read_own_card

    try:
        card = read_own_card(path)
    except CheckpointError:  # a run was interrupted between the record and the weights
        return {}
    return card.made_of if card is not None else None


def _changes(path: Path, facts: Facts) -> list[str]:
    from lading.build.train.made_of import changed

    record = record_of(path)
    if record is None:
        raise OccupiedError(
            f"{path} has no record of what made it, so Lading did not write it: name it with --checkpoint, or move it "
            "away"
        )
    return changed(record, facts) if record else [LACKING]


def _keep(path: Path) -> Path:
    """Copy weights and their record: a user may have trained them for hours."""
    from lading.build.train.checkpoint import card_file

    kept = path.with_name(f"{path.stem}.before{path.suffix}")
    for own, copy in ((path, kept), (card_file(path), card_file(kept))):
        if own.is_file():
            shutil.copy2(own, copy)
    return kept
