"""Channels are removed from a network, and it is checked that it still runs."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch_pruning
from torch import nn

from lading.build.examples import real_examples
from lading.build.optional import unless_required
from lading.build.train.checkpoint import load_again
from lading.errors import PruneError, SpecError
from lading.spec import ModelSpec
from lading.tensors.ragged import collate

STEPS = 200
"""Steps from the whole network to nothing. With many small steps, pruning stops close to the requested share."""
MAX_LAYER_SHARE = 0.8
"""Largest share of its channels that a layer may lose. Without a limit the narrowest layers would vanish."""
ROUND_TO = 16
"""Channels are left in multiples of this, as in train.yaml: the block of the AVX-512 kernels of ONNX Runtime."""
TRIAL_STEPS = 8
"""As ``STEPS``, for a trial: half of the work of a network is gone after three of them."""
_PRUNABLE = (nn.modules.conv._ConvNd, nn.Linear)


def try_pruning(spec: ModelSpec, module: nn.Module, shares: Collection[float], *, round_to: int) -> dict[float, str]:
    """Try whether a network can be pruned as the variants need it, before anything is trained.

    Which layers there are decides that, and not their weights.

    Args:
        spec: gives an example input, the layers not to prune, and the variants.
        module: the network; it is left as it is.
        shares: of the multiply-accumulates to remove.
        round_to: the number of channels left in a layer is a multiple of this.

    Returns:
        By share, why it cannot be removed: the reason that the variants will be refused for.

    Raises:
        PruneError: a required variant needs what cannot be removed.
        SpecError: ``prune_protect`` names no submodule.
    """
    problems: dict[float, str] = {}
    for share in sorted(shares, reverse=True):
        with unless_required(spec, share, problems):
            tried = copy.deepcopy(module)
            remove_channels(spec, tried, share, round_to=round_to, steps=TRIAL_STEPS)
            check_pruned(spec, tried)
            break  # where this much can be removed, less can
    return problems


def remove_channels(spec: ModelSpec, module: nn.Module, share: float, *, round_to: int = 8, steps: int = STEPS) -> None:
    """Remove the channels of smallest magnitude in the whole network, until a share of its work is removed.

    The importance of a channel is the L2 norm of all weights that go with it, as DepGraph groups them
    (arXiv:2301.12900).

    Args:
        spec: gives an example input and the layers not to prune.
        module: changed in place.
        share: of the multiply-accumulates to remove.
        round_to: the number of channels left in a layer is a multiple of this.
        steps: from the whole network to nothing. The fewer, the more is removed beyond the share.

    Raises:
        PruneError: the share cannot be reached, or torch-pruning does not know how to prune the network.
        SpecError: ``prune_protect`` names no submodule.
    """
    protected = list(_protected(spec, module))
    try:
        removed = _remove(spec, module.eval(), share, protected, round_to=round_to, steps=steps)
    except Exception as error:  # torch-pruning and torch raise any error where they do not know a layer or an operator.
        reason = f"torch-pruning does not know a layer or an operator of it ({_first_line(error)})"
        raise PruneError(f"{spec.name} cannot be pruned: {reason}") from error
    if removed < share:
        raise PruneError(
            f"{spec.name}: only {removed:.0%} of the multiply-accumulates can be removed, but {share:.0%} are "
            f"requested: protect fewer layers, or lower round_to from {round_to}"
        )


def _remove(
    spec: ModelSpec, module: nn.Module, share: float, protected: list[nn.Module], *, round_to: int, steps: int
) -> float:
    """Remove channels step by step. Returns the share of the multiply-accumulates that is gone."""
    inputs = example_inputs(spec)
    before = count_macs(spec, module)
    pruner = torch_pruning.BasePruner(
        module,
        inputs,
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
        global_pruning=True,
        pruning_ratio=1.0,
        max_pruning_ratio=MAX_LAYER_SHARE,
        iterative_steps=steps,
        ignored_layers=[*_heads(module, inputs), *protected],
        round_to=round_to,
    )
    for _ in range(steps):
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
