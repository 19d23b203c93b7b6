"""Batch norm over the batches of all processes, so that training does not depend on their number."""

from __future__ import annotations

from typing import Any

import torch
from torch import distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm


def synced(module: nn.Module, *, on_gpu: bool) -> nn.Module:
    """Replace every batch norm by one over the whole batch. Parameters and buffers stay the same objects."""
    if on_gpu:
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return converted
    for name, child in module.named_children():
        setattr(module, name, synced(child, on_gpu=False))
    return SyncedBatchNorm.of(module) if isinstance(module, _BatchNorm) else module


class SyncedBatchNorm(_BatchNorm):
    """Batch norm over the examples of all processes. torch's own SyncBatchNorm does not run on CPUs."""

    @classmethod
    def of(cls, layer: _BatchNorm) -> SyncedBatchNorm:
        made = cls(layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats)
        made._parameters, made._buffers = layer._parameters, layer._buffers
        return made.train(layer.training)

    def _check_input_dim(self, input: torch.Tensor) -> None:
        """Any shape (batch, channels, ...)."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(input)
        dims = [0, *range(2, input.ndim)]
        shape = (1, -1, *[1] * (input.ndim - 2))
        count = torch.full((1,), float(input.numel() // input.shape[1]), dtype=input.dtype, device=input.device)
        total = _sum_of_all(torch.cat([input.sum(dims), count]))
        mean = total[:-1] / total[-1]
        # Two passes: the difference of two large sums would lose digits of the variance.
        centred = input - mean.view(shape)
        variance = _sum_of_all(centred.square().sum(dims)) / total[-1]
        if self.running_mean is not None and self.running_var is not None:
            self._keep(mean.detach(), variance.detach() * total[-1].detach() / (total[-1].detach() - 1))
        normal = centred * torch.rsqrt(variance + self.eps).view(shape)
        return normal * self.weight.view(shape) + self.bias.view(shape) if self.affine else normal

    def _keep(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        # Without momentum, the running statistics are means over all batches.
        factor = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, factor)
        self.running_var.lerp_(variance, factor)


class _SumOfAll(torch.autograd.Function):
    """Sum over all processes. The gradient is summed too, because each sum is part of the loss of every process."""

    @staticmethod
    def forward(_context: Any, tensor: torch.Tensor) -> torch.Tensor:
        total = tensor.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_context: Any, gradient: torch.Tensor) -> torch.Tensor:
        total = gradient.clone()
        distributed.all_reduce(total)
        return total


def _sum_of_all(tensor: torch.Tensor) -> torch.Tensor:
    total: torch.Tensor = _SumOfAll.apply(tensor)
    return total
