"""Parts of a network that fine-tuning leaves as they are: it is faster, and what they learned is kept."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from lading.errors import SpecError


def frozen_parts(module: nn.Module, names: Sequence[str]) -> list[nn.Module]:
    """Take the weights of submodules out of training.

    Their norms must stay in evaluation mode too, or their statistics would move: :func:`keep_frozen`.

    Args:
        module: the network.
        names: of submodules, as ``named_modules`` has them, such as ``backbone.features.0``.

    Raises:
        SpecError: no submodule has that name.
    """
    known = dict(module.named_modules())
    for name in names:
        if not name or name not in known:
            near = ", ".join(list(dict(module.named_children()))) or "none"
            raise SpecError(f"optimizer.freeze names {name!r}, which is no submodule; the outermost ones are: {near}")
        known[name].requires_grad_(False)
    return keep_frozen([known[name] for name in names])


def keep_frozen(parts: list[nn.Module]) -> list[nn.Module]:
    """Put frozen parts back into evaluation mode after the whole network was put into training mode."""
    for part in parts:
        part.eval()
    return parts
