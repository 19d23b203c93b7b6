"""Structured pruning: remove channels from the network, then fine-tune it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch_pruning
from omegaconf import DictConfig
from torch import nn

from lading.build.examples import real_examples
from lading.build.facts import digest_of
from lading.build.train.checkpoint import RunCard, load_again, load_checkpoint, spec_of
from lading.build.train.train import CONFIG, fit, use_threads
from lading.errors import PruneError, SpecError
from lading.files import claim, finish
from lading.spec import ModelSpec
from lading.tensors.ragged import collate

STEPS = 200
"""Steps from the whole network to nothing. With many small steps, pruning stops close to the requested share."""
MAX_LAYER_SHARE = 0.8
"""Largest share of its channels that a layer may lose. Without a limit the narrowest layers would vanish."""
_PRUNABLE = (nn.modules.conv._ConvNd, nn.Linear)


def prune(
    spec: ModelSpec, share: float, checkpoint: Path, config: DictConfig, out: Path, *, resume: bool = False
) -> Path:
    """Remove at least a share of the multiply-accumulates, fine-tune, and write a checkpoint of the smaller shapes.

    Args:
        spec: the model; its outputs' layers and ``prune_protect`` stay whole.
        share: of the multiply-accumulates to remove, 0 to 1.
        checkpoint: the trained weights to start from.
        config: configuration of the fine-tuning. ``config.prune`` overrides ``config.optimizer`` and
            ``config.trainer``. The options of the model come from the checkpoint.
        out: folder to write ``<name>-pruned<percent>.safetensors`` and the run to.
        resume: the interrupted fine-tuning in ``out``.

    Returns:
        The checkpoint.

    Raises:
        PruneError: the network cannot be pruned, or not by this share.
    """
    weights = f"{spec.name}-pruned{round(share * 100)}.safetensors"
    claim(out, (weights,), known_by=CONFIG)
    use_threads(config)
    module, card = load_checkpoint(spec, checkpoint)
    spec = spec_of(spec, card.config.get("model", {}))
    before = count_macs(spec, module)
    remove_channels(spec, module, share, round_to=config.prune.round_to)
    check_pruned(spec, module)
    after = count_macs(spec, module)
    tuned = of_fine_tuning(config, card)
    pruned = fit(
        spec,
        module.train(),
        tuned,
        out,
        checkpoint=weights,
        resume=resume,
        started_from=digest_of(checkpoint),
        share=share,
        pruning=share,
        macs=after,
        parent=card,
        facts={"macs before": float(before), "macs removed": 1 - after / before},
    )
    finish(out)
    return pruned


def of_fine_tuning(config: DictConfig, card: RunCard | None) -> DictConfig:
    """The configuration of a fine-tuning: its own options, and those of the model that the weights have."""
    tuned = copy.deepcopy(config)
    tuned.model = {**config.model, **(card.config.get("model", {}) if card else {})}
    tuned.optimizer.lr = config.prune.lr
    tuned.trainer.max_epochs = config.prune.max_epochs
    return tuned


def remove_channels(spec: ModelSpec, module: nn.Module, share: float, *, round_to: int = 8) -> None:
    """Remove the channels of smallest magnitude in the whole network, until a share of its work is removed.

    The importance of a channel is the L2 norm of all weights that go with it, as DepGraph groups them
    (arXiv:2301.12900).

    Args:
        spec: gives an example input and the layers not to prune.
        module: changed in place.
        share: of the multiply-accumulates to remove.
        round_to: the number of channels left in a layer is a multiple of this.

    Raises:
        PruneError: the share cannot be reached, or torch-pruning does not know how to prune the network.
        SpecError: ``prune_protect`` names no submodule.
    """
    protected = list(_protected(spec, module))
    try:
        removed = _remove(spec, module.eval(), share, protected, round_to)
    except Exception as error:  # torch-pruning and torch raise any error where they do not know a layer or an operator.
        reason = f"torch-pruning does not know a layer or an operator of it ({_first_line(error)})"
        raise PruneError(f"{spec.name} cannot be pruned: {reason}") from error
    if removed < share:
        raise PruneError(
            f"{spec.name}: only {removed:.0%} of the multiply-accumulates can be removed, but {share:.0%} are "
            f"requested: protect fewer layers, or lower round_to from {round_to}"
        )


def _remove(spec: ModelSpec, module: nn.Module, share: float, protected: list[nn.Module], round_to: int) -> float:
    """Remove channels in small steps. Returns the share of the multiply-accumulates that is gone."""
    inputs = example_inputs(spec)
    before = count_macs(spec, module)
    pruner = torch_pruning.BasePruner(
        module,
        inputs,
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
        global_pruning=True,
        pruning_ratio=1.0,
        max_pruning_ratio=MAX_LAYER_SHARE,
        iterative_steps=STEPS,
        ignored_layers=[*_heads(module, inputs), *protected],
        round_to=round_to,
    )
    for _ in range(STEPS):
        pruner.step()
        if count_macs(spec, module) <= (1 - share) * before:
            break
    return 1 - count_macs(spec, module) / before


def check_pruned(spec: ModelSpec, module: nn.Module) -> None:
    """Check that a pruned module still runs, and can be loaded again, before it is fine-tuned for minutes.

    Raises:
        PruneError: it does not; some layers keep sizes that torch-pruning does not know.
    """
    inputs = example_inputs(spec)
    try:
        again = load_again(spec, module.eval())
        with torch.inference_mode():
            answers, repeated = (
                one if isinstance(one, tuple | list) else (one,) for one in (module(*inputs), again(*inputs))
            )
    except Exception as error:  # torch raises any error for a layer whose sizes do not fit.
        raise PruneError(f"{spec.name} does not run once it is pruned: {_first_line(error)}") from error
    if not all(torch.allclose(one, other, equal_nan=True) for one, other in zip(answers, repeated, strict=True)):
        raise PruneError(f"{spec.name} gives other answers once its pruned weights are saved and loaded")


def count_macs(spec: ModelSpec, module: nn.Module) -> int:
    """Multiply-accumulates of one example."""
    macs, _ = torch_pruning.utils.count_ops_and_params(module, example_inputs(spec))
    return int(macs)


def example_inputs(spec: ModelSpec) -> tuple[torch.Tensor, ...]:
    """One real request as a batch of one, in the order of the spec's inputs."""
    batch = collate(spec.inputs, real_examples(spec, 1))
    return tuple(torch.from_numpy(np.ascontiguousarray(batch[tensor.name])) for tensor in spec.inputs)


def _protected(spec: ModelSpec, module: nn.Module) -> Iterator[nn.Module]:
    known = dict(module.named_modules())
    for name in spec.prune_protect:
        if name not in known:
            raise SpecError(f"{spec.name}: prune_protect names {name!r}, but there is no such submodule")
        yield from (layer for layer in known[name].modules() if isinstance(layer, _PRUNABLE))


def _heads(module: nn.Module, inputs: Sequence[torch.Tensor]) -> list[nn.Module]:
    """The last layers with weights before each output: their width is the width of the output."""
    # Pruning one of these would change the shape of an output. They cannot be found by name or position in the module,
    # because forward may call its layers in any order. So run the model once and ask autograd which parameters the
    # outputs depend on directly.
    answer = module(*inputs)
    outputs = answer if isinstance(answer, tuple | list) else (answer,)
    found = {id(parameter) for output in outputs for parameter in _nearest_parameters(output.grad_fn)}
    return [
        layer
        for layer in module.modules()
        if isinstance(layer, _PRUNABLE) and any(id(parameter) in found for parameter in layer.parameters())
    ]


def _nearest_parameters(node: Any) -> Iterator[torch.Tensor]:
    """Walk the autograd graph back from an output, up to the first operations with parameters."""
    waiting, seen = [node], set()
    while waiting:
        current = waiting.pop()
        if current is None or current in seen:
            continue
        seen.add(current)
        parents = [parent for parent, _ in current.next_functions if parent is not None]
        own = [leaf.variable for parent in parents for leaf in _leaves(parent)]
        if own:
            yield from own
        else:
            waiting.extend(parents)


def _leaves(node: Any) -> Iterator[Any]:
    """The parameter behind an edge: direct, or through the transpose in a linear layer."""
    if hasattr(node, "variable"):
        yield node
    elif type(node).__name__ == "TBackward0":
        yield from (parent for parent, _ in node.next_functions if hasattr(parent, "variable"))


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
