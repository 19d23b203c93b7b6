"""Checkpoints: weights as safetensors, and next to them a record of the run that made them."""

from __future__ import annotations

import hashlib
import inspect
import shlex
import subprocess
import sys
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, ValidationError
from safetensors.torch import save
from torch import nn

from lading import __version__
from lading.build.collected import as_extended
from lading.build.weights.load import Loaded, fill, load_into, state_of
from lading.build.weights.shapes import fit_shapes
from lading.errors import CheckpointError, SpecError
from lading.files import write_atomically
from lading.spec import Frozen, ModelSpec

IMPORTED = "imported"
"""Section of a record's configuration about the file that the weights came from, where another program wrote it."""
PACKAGES = ("torch", "torchvision", "lightning", "torch-pruning", "numpy")


class RunCard(Frozen):
    """Where weights come from: ``<stem>.run.json``, next to ``<stem>.safetensors``."""

    spec: str
    """Name of the model."""
    command: str = ""
    config: dict[str, Any] = Field(default_factory=dict)
    """Resolved configuration; ``config["model"]`` has the options of the spec."""
    metrics: dict[str, float] = Field(default_factory=dict)
    run_id: str = ""
    git_commit: str | None = None
    git_dirty: bool | None = None
    data_fingerprint: str | None = None
    packages: dict[str, str] = Field(default_factory=dict)
    pruning: float = 0.0
    """Requested share of multiply-accumulates to remove, 0 to 1."""
    macs: int | None = None
    """Multiply-accumulates of one example."""
    parameters: int
    processes: int = 1
    """Number of processes that trained together."""
    created: str
    steps: int | None = None
    """Optimizer steps. A run without any only scored its initial weights."""
    weights: str | None = None
    """SHA-256 in hex of the checkpoint file."""
    made_of: dict[str, Any] = Field(default_factory=dict)
    """Source, options and data that the weights were made of; see ``made_of.py``. Empty for records before 0.2."""
    parent: RunCard | None = None
    """The run that made the initial weights."""
    other: RunCard | None = None
    """The second run, if the weights are the mean of two."""


def save_checkpoint(path: Path, module: nn.Module, card: RunCard) -> Path:
    """Write ``<stem>.safetensors`` (floats as float32) and ``<stem>.run.json``, each in one move.

    Returns:
        ``path``.
    """
    # Cloned, because safetensors refuses tensors that share memory, such as tied weights.
    content = save({name: _stored(tensor).clone() for name, tensor in state_of(module).items()})
    card = card.model_copy(update={"weights": hashlib.sha256(content).hexdigest()})
    # The record is written first: new weights must never be next to the record of an older run.
    write_atomically(card_file(path), card.model_dump_json(indent=2) + "\n")
    write_atomically(path, content)
    return path


def load_checkpoint(spec: ModelSpec, path: Path) -> tuple[nn.Module, RunCard]:
    """Build the spec's module and load the weights of a file, whoever wrote it.

    Args:
        spec: its class is constructed again, with the options recorded in the run.
        path: safetensors, or what torch.save wrote. With a run next to it, the module takes the shapes in the file:
            it may have been pruned. Without one, the spec and its shapes are used as they are.

    Returns:
        The module in evaluation mode, and the run.

    Raises:
        CheckpointError: the file is missing or corrupt, or a tensor does not fit the module; the message names it.
    """
    module, card, _ = bring(spec, path)
    return module, card or RunCard(spec=spec.name, parameters=_count(module), created=_now())


def bring(
    spec: ModelSpec, path: Path, part: str | None = None, drop: Collection[str] = ()
) -> tuple[nn.Module, RunCard | None, Loaded]:
    """As :func:`load_checkpoint`; also what was done to make the file fit.

    Args:
        part: name under which the weights lie in the file, where it holds several that fit.
        drop: names inside the network that the file may have and the module need not.
    """
    card = read_card(path)
    if card is not None:
        spec = spec_of(spec, card.config.get("model", {}))
    module = spec.build()
    loaded = load_into(module, path, spec.name, resize=card is not None, part=part, drop=drop)
    return module.eval(), card, loaded


def load_again(spec: ModelSpec, module: nn.Module) -> nn.Module:
    """What loading the checkpoint of a module would give, without the file.

    Raises:
        CheckpointError: a tensor does not fit a fresh module; the message names it.
    """
    state = {name: _stored(tensor) for name, tensor in state_of(module).items()}
    again = spec.build()
    fit_shapes(again, state)
    try:
        fill(again, state)
    except RuntimeError as error:
        raise CheckpointError(f"the network does not load again: {str(error).splitlines()[-1].strip()}") from None
    return again.eval()


def read_card(path: Path) -> RunCard | None:
    """Read the run next to a checkpoint; ``None`` if there is none.

    Raises:
        CheckpointError: the run is corrupt.
    """
    file = card_file(path)
    if not file.is_file():
        return None
    try:
        return RunCard.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise CheckpointError(f"{file} is not the record of a run: {error.errors()[0]['msg']}") from None


def read_own_card(path: Path) -> RunCard | None:
    """Read the run next to a checkpoint, and check that it is the run of these weights.

    Raises:
        CheckpointError: the run is corrupt, or the record of other weights.
    """
    card = read_card(path)
    if card is not None and card.weights is not None and path.is_file():
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != card.weights:
            raise CheckpointError(
                f"{card_file(path)} is the record of other weights (sha256 {card.weights[:12]}, not {found[:12]}): put "
                f"the record of {path.name} next to it, or delete the record"
            )
    return card


def card_file(path: Path) -> Path:
    return path.with_suffix(".run.json")


def new_card(spec: ModelSpec, module: nn.Module, **fields: Any) -> RunCard:
    """Make the record of a run: parameters, packages, git state and time, unless given in ``fields``."""
    return RunCard(
        spec=spec.name,
        parameters=_count(module),
        packages={"lading": __version__} | {name: metadata.version(name) for name in PACKAGES},
        created=_now(),
        **git_state() | fields,
    )


def spec_of(spec: ModelSpec, options: Mapping[str, Any]) -> ModelSpec:
    """Construct the same class with options. Unknown options are an error.

    Raises:
        SpecError: an unknown option.
    """
    known = inspect.signature(type(spec)).parameters
    unknown = sorted(options.keys() - known.keys())
    if unknown:
        raise SpecError(f"{type(spec).__name__} takes no option {unknown[0]!r}; it takes: {', '.join(known) or 'none'}")
    return as_extended(spec, type(spec)(**options)) if options else spec


def _stored(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.float() if tensor.is_floating_point() else tensor


def command_line() -> str:
    """The command as it was typed, without the folder of the program and the current folder."""
    here, module = f"{Path.cwd()}/", sys.modules["__main__"].__spec__
    program = [Path(sys.argv[0]).name] if module is None else ["python", "-m", module.name.removesuffix(".__main__")]
    return shlex.join([*program, *(word.replace(here, "") for word in sys.argv[1:])])


def git_state() -> dict[str, Any]:
    """The git commit of the current folder, and whether files differ from it; ``None`` if unknown.

    A run asks when it begins: by its end the folder may be at another commit.
    """

    def ask(*arguments: str) -> str | None:
        try:
            result = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=10)
        except (OSError, subprocess.SubprocessError):
            return None
        return result.stdout.strip()

    commit = ask("rev-parse", "HEAD")
    status = ask("status", "--porcelain") if commit else None
    return {"git_commit": commit, "git_dirty": None if status is None else bool(status)}


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
