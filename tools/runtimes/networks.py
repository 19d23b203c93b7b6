"""The networks that are exported: one of each family, small, with random weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
import torchvision
from torch import nn

from lading.spec import Example, ModelSpec, TensorSpec

SIDE, STEPS, FEATURES, CLASSES = 64, 12, 16, 10


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.LSTM(FEATURES, 32, batch_first=True), nn.Linear(32, CLASSES)

    def forward(self, steps: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.head(self.layer(steps)[0][:, -1])
        return answer


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(FEATURES, 4, 64, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(FEATURES, CLASSES)

    def forward(self, steps: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.head(self.encoder(steps).mean(1))
        return answer


def _vit() -> nn.Module:
    """torchvision's class; its ``vit_b_16`` has twelve layers of 768."""
    network: nn.Module = torchvision.models.VisionTransformer(
        image_size=SIDE, patch_size=16, num_layers=2, num_heads=4, hidden_dim=64, mlp_dim=128, num_classes=CLASSES
    )
    return network


NETWORKS: Mapping[str, Callable[[], nn.Module]] = {
    "resnet18": lambda: torchvision.models.resnet18(num_classes=CLASSES),
    "mobilenet_v3_small": lambda: torchvision.models.mobilenet_v3_small(num_classes=CLASSES),
    "efficientnet_b0": lambda: torchvision.models.efficientnet_b0(num_classes=CLASSES),
    "vit": _vit,
    "lstm": Recurrent,
    "transformer_encoder": Encoder,
}


class Network(ModelSpec):
    """One of them, for the exporter. It is neither trained nor scored."""

    outputs = (TensorSpec(name="kind", dtype="float32", shape=("batch", CLASSES)),)

    def __init__(self, name: str = "resnet18") -> None:
        self.name = name
        pixels = TensorSpec(name="pixels", dtype="float32", shape=("batch", 3, SIDE, SIDE))
        steps = TensorSpec(name="steps", dtype="float32", shape=("batch", STEPS, FEATURES))
        self.inputs = (steps if name in ("lstm", "transformer_encoder") else pixels,)

    def build(self) -> nn.Module:
        """With statistics of noise in its normalisations and a head that is not zero: each input has another answer."""
        torch.manual_seed(0)
        module = NETWORKS[self.name]()
        head = [layer for layer in module.modules() if isinstance(layer, nn.Linear)][-1]
        nn.init.normal_(head.weight, std=head.in_features**-0.5)
        for layer in module.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                layer.momentum = None  # the mean over all batches
        module.train()
        with torch.no_grad():
            for _ in range(3):
                module(torch.randn(8, *(int(dim) for dim in self.inputs[0].shape[1:])))
        return module.eval()

    def dataset(self, split: str) -> list[Example]:
        rng = np.random.default_rng(len(split))
        shape = [int(dim) for dim in self.inputs[0].shape[1:]]
        given = [rng.standard_normal(shape).astype(np.float32) for _ in range(8)]
        return [({self.inputs[0].name: array}, {"kind": np.asarray(0)}) for array in given]

    def loss(self, outputs: object, targets: object) -> torch.Tensor:
        raise NotImplementedError("it is not trained")

    def score(self, outputs: object, targets: object) -> float:
        raise NotImplementedError("it is not scored")
