"""Checkpoints: weights as safetensors, and next to them a record of the run that made them."""

from __future__ import annotations

import inspect
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from lading import __version__
from lading.errors import CheckpointError, SpecError
from lading.files import write_atomically
from lading.spec import Frozen, ModelSpec

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
    parent: RunCard | None = None
    """The run that made the initial weights."""


def save_checkpoint(path: Path, module: nn.Module, card: RunCard) -> Path:
    """Write ``<stem>.safetensors`` (floats as float32) and ``<stem>.run.json``, each in one move.

    Returns:
        ``path``.
    """
    # Cloned, because safetensors refuses tensors that share memory, such as tied weights.
    state = {name: _stored(tensor).clone() for name, tensor in _state(module).items()}
    # The record is written first: new weights must never be next to the record of an older run.
    write_atomically(card_file(path), card.model_dump_json(indent=2) + "\n")
    write_atomically(path, save(state))
    return path


def load_checkpoint(spec: ModelSpec, path: Path) -> tuple[nn.Module, RunCard]:
    """Build the spec's module in the shapes found in the file, and load its weights.

    Args:
        spec: its class is constructed again, with the options recorded in the run.
        path: a ``.safetensors`` file. Without a run next to it, the spec is used as it is.

    Returns:
        The module in evaluation mode, and the run.

    Raises:
        CheckpointError: the file is missing or corrupt, or a tensor does not fit the module; the message names it.
    """
    state = _read(path)
    card = read_card(path)
    module = _load(spec_of(spec, card.config.get("model", {})) if card else spec, state, path)
    if card is None:
        parameters = sum(parameter.numel() for parameter in module.parameters())
        card = RunCard(spec=spec.name, parameters=parameters, created=_now())
    return module, card


def load_weights(spec: ModelSpec, path: Path) -> nn.Module:
    """Load a checkpoint's weights into the module of the spec, whatever options its run had.

    Raises:
        CheckpointError: the file is missing or corrupt, or belongs to another network; the message names the tensor.
    """
    return _load(spec, _read(path), path)


def _read(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}: `lading train` makes one")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors: {error}") from None


def _load(spec: ModelSpec, state: Mapping[str, torch.Tensor], path: Path) -> nn.Module:
    module = spec.build()
    fit_shapes(module, state)
    missing = sorted(_state(module).keys() - state.keys())
    unknown = sorted(state.keys() - _state(module).keys())
    if missing or unknown:
        raise CheckpointError(
            f"{path} does not fit {spec.name}: "
            + (f"it lacks {missing[0]!r} and {len(missing) - 1} more" if missing else f"{unknown[0]!r} is not in it")
            + "; was it made by another backbone or an older model file?"
        )
    try:
        module.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit {spec.name}: {str(error).splitlines()[-1].strip()}") from None
    return module.eval()


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


def card_file(path: Path) -> Path:
    return path.with_suffix(".run.json")


def new_card(spec: ModelSpec, module: nn.Module, **fields: Any) -> RunCard:
    """Make the record of a run: parameters, packages, git state and time, unless given in ``fields``."""
    return RunCard(
        spec=spec.name,
        parameters=sum(parameter.numel() for parameter in module.parameters()),
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
    return type(spec)(**options) if options else spec


def fit_shapes(module: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Resize convolutions, batch norms and linear layers to the tensors that will be loaded into them.

    A depthwise convolution keeps one channel per group. Layers with the right shape are left as they are.
    """
    for name, layer in module.named_modules():
        weight = state.get(f"{name}.weight" if name else "weight")
        own = getattr(layer, "weight", None)
        if weight is None or own is None or own.shape == weight.shape:
            continue
        if isinstance(layer, nn.modules.conv._ConvNd) and not layer.transposed:
            _fit_convolution(layer, weight)
        elif isinstance(layer, nn.Linear):
            layer.out_features, layer.in_features = weight.shape
        elif isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.num_features = weight.shape[0]
        else:
            continue
        for key, tensor in (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)):
            wanted = state.get(f"{name}.{key}" if name else key)
            if wanted is not None:
                tensor.data = torch.empty_like(wanted)


def _fit_convolution(layer: nn.modules.conv._ConvNd, weight: torch.Tensor) -> None:
    layer.out_channels = weight.shape[0]
    if layer.groups > 1 and weight.shape[1] == 1:
        layer.groups = weight.shape[0]
    layer.in_channels = weight.shape[1] * layer.groups


def _state(module: nn.Module) -> dict[str, torch.Tensor]:
    # The batch counter is only for cumulative averages, which nothing here uses.
    return {key: tensor for key, tensor in module.state_dict().items() if not key.endswith("num_batches_tracked")}


def _stored(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.float() if tensor.is_floating_point() else tensor


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


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
