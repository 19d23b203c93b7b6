"""``lading prepare``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def prepare(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="file.py:Class, for example models/cards.py:Cards")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="training configuration; model.* is read")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file to write sizes and fingerprints to")] = None,
) -> None:
    """Get every split of a model's data ready to be read many times: download, draw or pack what is missing.

    Example: `lading prepare models/cards.py:Cards model.train_examples=2120 --out data/cards.json`
    """
    from lading.checkpoint import spec_of
    from lading.config import compose, plain
    from lading.import_string import load_spec
    from lading.train import prepared

    spec = spec_of(load_spec(model), plain(compose(model, overrides or []).model))
    ready = {}
    for split in ("train", "valid", *spec.test_splits):
        dataset = prepared(spec, split)
        ready[split] = {"examples": len(dataset), "fingerprint": getattr(dataset, "fingerprint", None)}
        typer.echo(f"{split}: {len(dataset)} examples")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(ready, indent=2) + "\n")
