"""Change the sizes of a module's layers to those of its weights, for networks that were pruned."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn


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
                tensor.data = torch.empty_like(wanted, dtype=tensor.dtype)


def _fit_convolution(layer: nn.modules.conv._ConvNd, weight: torch.Tensor) -> None:
    layer.out_channels = weight.shape[0]
    if layer.groups > 1 and weight.shape[1] == 1:
        layer.groups = weight.shape[0]
    layer.in_channels = weight.shape[1] * layer.groups
