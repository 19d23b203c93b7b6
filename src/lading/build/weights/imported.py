"""``lading import``: a weights file from elsewhere becomes a checkpoint, with a record of the file."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import nn

from lading.build.train.checkpoint import (
    IMPORTED,
    RunCard,
    bring,
    card_file,
    command_line,
    new_card,
    read_card,
    save_checkpoint,
)
from lading.build.weights.file import INDEX, SAFETENSORS, shards_of
from lading.build.weights.load import Loaded, load_into
from lading.errors import CheckpointError, OccupiedError
from lading.spec import ModelSpec


def import_weights(
    spec: ModelSpec, path: Path, out: Path, *, part: str | None = None, drop: Collection[str] = ()
) -> list[str]:
    """Write a checkpoint with the weights of a file, and its record.

    Args:
        spec: the model that the weights are for.
        path: safetensors, or what torch.save wrote.
        out: the ``.safetensors`` file to write. One that an import wrote before is replaced.
        part: name under which the weights lie in the file, where it holds several that fit.
        drop: names inside the network that the file may have and the model need not.

    Returns:
        A sentence for each kind of change that made the file fit.

    Raises:
        CheckpointError: the file cannot be read, or does not fit whole.
        OccupiedError: another file is at ``out``.
    """
    check_free(out)
    module, card, loaded = bring(spec, path, part, drop)
    save_checkpoint(out, module, import_card(spec, module, path, loaded, card))
    return loaded.sentences()


def taken(spec: ModelSpec, path: Path, folder: Path) -> tuple[Path, list[str]]:
    """What every ``--checkpoint`` does with its file: one that Lading would write is used, any other is imported.

    Args:
        spec: the model that the weights are for.
        path: safetensors, or what torch.save wrote.
        folder: where to put what is imported. The same file is imported once.

    Returns:
        A checkpoint, and a sentence for each kind of change that made the file fit.

    Raises:
        CheckpointError: the file cannot be read, or does not fit whole.
        OccupiedError: ``folder`` has another file of that name.
    """
    module, card, loaded = bring(spec, path)
    if loaded.exact and loaded.format == SAFETENSORS:
        return path, []
    out = folder / spec.checkpoint().name
    if not (out.is_file() and _is_of(out, path)):
        check_free(out)
        save_checkpoint(out, module, import_card(spec, module, path, loaded, card))
    return out, loaded.sentences()


def taken_aloud(spec: ModelSpec, path: Path | None, folder: Path, console: Console) -> Path | None:
    """As :func:`taken`, with the sentences printed; ``None`` for no file."""
    if path is None:
        return None
    checkpoint, lines = taken(spec, path, folder)
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return checkpoint


def start_from(spec: ModelSpec, path: Path) -> tuple[nn.Module, RunCard | None]:
    """The module with the weights to start from, whoever wrote the file, and where they come from if that is known."""
    card, module = read_card(path), spec.build()
    loaded = load_into(module, path, spec.name, resize=card is not None)
    if card is None and not (loaded.exact and loaded.format == SAFETENSORS):
        card = import_card(spec, module, path, loaded, None)
    return module, card


def import_card(spec: ModelSpec, module: nn.Module, path: Path, loaded: Loaded, parent: RunCard | None) -> RunCard:
    """The record of an import: the file, and what was changed to make it fit."""
    about: dict[str, Any] = {
        "file": path.name,
        "sha256": _sha256(path),
        "format": loaded.format,
        "renamed": dict(loaded.renamed),
        "added": dict(loaded.tied),
        "dropped": dict(loaded.dropped),
        "converted": dict(loaded.cast),
    }
    options = parent.config.get("model", {}) if parent else {}
    kept = {"pruning": parent.pruning, "macs": parent.macs, "parent": parent} if parent else {}
    # The weights were made elsewhere: the commit of this folder says nothing about them.
    config = {"model": options, IMPORTED: about}
    return new_card(spec, module, command=command_line(), config=config, git_commit=None, git_dirty=None, **kept)


def check_free(out: Path) -> None:
    """Refuse a place where something lies that no import wrote.

    Raises:
        OccupiedError: a file or folder is there.
    """
    there = [place for place in (out, card_file(out)) if place.exists()]
    if there and not _is_of(out):
        raise OccupiedError(
            f"{there[0]} is there, and `lading import` did not write it: give another file, or move it away"
        )


def _is_of(out: Path, path: Path | None = None) -> bool:
    """Whether an import wrote these weights; with ``path``, from this file."""
    try:
        card = read_card(out)
    except CheckpointError:
        return False
    about = card.config.get(IMPORTED) if card else None
    if card is None or about is None:
        return False
    # A record without weights is left by an import that was interrupted.
    whole = not out.exists() or (out.is_file() and _sha256(out) == card.weights)
    return whole and (path is None or about.get("sha256") == _sha256(path))


def _sha256(path: Path) -> str:
    """Of a file; of an index of shards, that of its own hash and theirs."""
    if path.name.endswith(INDEX):
        own = hashlib.sha256(path.read_bytes()).hexdigest()
        return hashlib.sha256(
            " ".join([own, *(_sha256(path.parent / shard) for shard in shards_of(path))]).encode()
        ).hexdigest()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
