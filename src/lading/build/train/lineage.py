"""The runs behind some weights, back to the data: trained, pruned, averaged, or only scored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lading.artifact.manifest import LineageRun, RunKind
from lading.build.train.checkpoint import IMPORTED, RunCard


def lineage(card: RunCard) -> tuple[LineageRun, ...]:
    """Every run that the weights of a checkpoint come from.

    Args:
        card: the record next to the checkpoint.

    Returns:
        The checkpoint's own run first, and each run before its parents.
    """
    found: list[LineageRun] = []
    _add(found, card)
    newest = len(found) - 1
    return tuple(
        run.model_copy(update={"parents": tuple(newest - place for place in run.parents)}) for run in reversed(found)
    )


def changed_weights(card: RunCard) -> RunCard:
    """The newest run that made these weights: the card itself, or the one before runs that only scored them."""
    while kind_of(card) == "score" and card.parent is not None:
        card = card.parent
    return card


def newest_training(card: RunCard) -> RunCard | None:
    """The newest run with optimizer steps behind these weights, or ``None`` if no such run is recorded."""
    kind = kind_of(card)
    if kind == "average" and (other := other_of(card)) is not None:
        return newest_training(other)
    if kind in ("average", "score", "import"):
        return newest_training(card.parent) if card.parent else None
    return card


def kind_of(card: RunCard) -> RunKind:
    """What a run did to the weights."""
    if card.other is not None or "averaged_with" in card.config:
        return "average"
    if IMPORTED in card.config:
        return "import"
    if steps_of(card) == 0:
        return "score"
    if card.pruning > card.parent.pruning if card.parent else "prune" in card.command.split():
        return "prune"
    return "train"


def steps_of(card: RunCard) -> int | None:
    """Optimizer steps of a run; ``None`` if they are not recorded."""
    if card.steps is not None:
        return card.steps
    # Records of version 0.1 have only the limit. A limit of zero is the number.
    return 0 if _section(card, "trainer").get("max_steps") == 0 else None


def other_of(card: RunCard) -> RunCard | None:
    """The second of two averaged runs.

    Records of version 0.1 have only some facts about it: command, commit, data fingerprint and time.
    """
    noted = _section(card, "averaged_with")
    if card.other is not None:
        return card.other.model_copy(update={"parent": card.parent}) if noted.get("of_first") else card.other
    if not noted:
        return None
    known = {name: noted[name] for name in ("command", "run_id", "git_commit", "data_fingerprint") if noted.get(name)}
    created = str(noted.get("created", ""))
    return RunCard(spec=card.spec, parameters=card.parameters, created=created, pruning=card.pruning, **known)


def _add(found: list[LineageRun], card: RunCard) -> int:
    """Append the runs before a run, then the run itself, each once. Returns the position of the run."""
    parents = tuple(_add(found, one) for one in (card.parent, other_of(card)) if one is not None)
    kind = kind_of(card)
    trained = kind in ("train", "prune")
    run = LineageRun(
        kind=kind,
        command=card.command,
        run_id=card.run_id or None,
        created=card.created or None,
        git_commit=card.git_commit,
        git_dirty=card.git_dirty,
        steps=steps_of(card),
        options=_section(card, "model"),
        # An average and a score saw no data, whatever the options of the data were.
        data_fingerprint=card.data_fingerprint if trained else None,
        weights=card.weights,
        share=_section(card, "averaged_with").get("share"),
        parents=parents,
        unknown=tuple(_unknown(card, kind)),
    )
    if run not in found:
        found.append(run)
    return found.index(run)


def _unknown(card: RunCard, kind: RunKind) -> Iterator[str]:
    """What the record of a run lacks, in words."""
    trained = kind in ("train", "prune")
    if not card.command:
        yield "the command"
    if trained and card.steps is None:
        yield "the number of optimizer steps"
    if trained and not card.config:
        yield "the configuration, and so the weights that it started from"
    if trained and card.data_fingerprint is None:
        yield "the training data"
    if kind == "import":
        yield from () if card.parent else (f"who trained {_section(card, IMPORTED).get('file')}, and on which data",)
        return
    if card.git_commit is None:
        yield "the commit"
    elif card.git_dirty:
        yield "the code: there were uncommitted changes"
    if card.parent is None and (kind != "train" or card.config.get("init")):
        yield f"the run before it ({card.config.get('init') or 'its initial weights'} had no record)"


def _section(card: RunCard, name: str) -> dict[str, Any]:
    section = card.config.get(name) or {}
    return dict(section) if isinstance(section, Mapping) else {}
