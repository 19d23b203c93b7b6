"""Networks of torchvision, timm, transformers and plain torch, with random weights and small inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
import torchvision
from torch import nn

from benchmarks.studies.kinds.kind import CLASSES, EXAMPLES, FEW, Kind, Network
from lading.spec import TensorSpec

SIDE, TOKENS, WORDS, SAMPLES = 64, 24, 200, 4000
LABELS = tuple(f"class {number}" for number in range(CLASSES))
KIND = TensorSpec(name="kind", dtype="float32", shape=("batch", CLASSES), labels=LABELS)


def networks() -> Iterator[Kind]:
    """All of them. A module is built when its kind is made."""
    for name in (
        "resnet18",
        "mobilenet_v2",
        "mobilenet_v3_small",
        "efficientnet_b0",
        "squeezenet1_1",
        "shufflenet_v2_x0_5",
        "regnet_y_400mf",
        "mnasnet0_5",
        "densenet121",
    ):
        yield picture(name, "torchvision", partial(getattr(torchvision.models, name), num_classes=CLASSES))
    yield picture("vit", "torchvision", _vit)
    yield Kind("lraspp segmentation", "torchvision", lambda _: _mask())
    yield Kind("ssdlite detection", "torchvision", lambda _: _boxes())
    for name in ("resnet10t", "convnext_atto", "efficientvit_b0", "ghostnet_050", "mobilevit_xxs", "mobileone_s0"):
        yield picture(name, "timm", partial(_timm, name))
    for name in ("Bert", "DistilBert", "Electra", "GPT2"):
        yield Kind(name.lower(), "transformers", partial(_text, name))
    yield Kind("wav2vec2", "transformers", lambda _: _sound(_wav2vec2))
    yield Kind("segformer", "transformers", lambda _: _picture(_segformer))
    yield Kind("lstm", "torch", lambda _: _series(_lstm))
    yield Kind("lstm of any length", "torch", lambda _: _series(_lstm, "time"))
    yield Kind("gru of two directions", "torch", lambda _: _series(_gru))
    yield Kind("transformer encoder of any length", "torch", lambda _: _series(Encoder, "time"))
    yield Kind("audio by 1-D convolutions", "torch", lambda _: _sound(_waveform))
    yield Kind("table with embeddings", "torch", lambda _: _table())
    yield Kind("autoencoder", "torch", lambda _: _autoencoder())


def picture(name: str, library: str, build: Callable[[], nn.Module]) -> Kind:
    return Kind(name, library, lambda _: _picture(build))


def _classes() -> Any:
    return np.arange(EXAMPLES) % CLASSES


def _noisy(shape: tuple[int, ...]) -> Any:
    """A pattern for each class, with noise: float32 (EXAMPLES, *shape)."""
    rng = np.random.default_rng(0)
    patterns, noise = rng.standard_normal((CLASSES, *shape)), rng.standard_normal((EXAMPLES, *shape))
    return (patterns[_classes()] + 0.5 * noise).astype(np.float32)


def _classifier(build: Callable[[], nn.Module], tensor: TensorSpec, examples: Any) -> Network:
    return Network(build, (tensor,), (KIND,), {tensor.name: examples}, _classes())


def _picture(build: Callable[[], nn.Module]) -> Network:
    tensor = TensorSpec(name="pixels", dtype="float32", shape=("batch", 3, SIDE, SIDE))
    return _classifier(build, tensor, _noisy((3, SIDE, SIDE)))


def _series(build: Callable[[], nn.Module], time: str | int = TOKENS) -> Network:
    tensor = TensorSpec(name="steps", dtype="float32", shape=("batch", time, 8))
    return _classifier(build, tensor, _noisy((TOKENS, 8)))


def _sound(build: Callable[[], nn.Module]) -> Network:
    tensor = TensorSpec(name="samples", dtype="float32", shape=("batch", SAMPLES))
    return _classifier(build, tensor, _noisy((SAMPLES,)))


def _vit() -> nn.Module:
    network: nn.Module = torchvision.models.VisionTransformer(
        image_size=SIDE, patch_size=16, num_layers=4, num_heads=4, hidden_dim=128, mlp_dim=256, num_classes=CLASSES
    )
    return network


def _timm(name: str) -> nn.Module:
    import timm

    module: nn.Module = timm.create_model(name, pretrained=False, num_classes=CLASSES)
    return module


class Taken(nn.Module):
    """One tensor of what a library's network returns, by a function of it."""

    def __init__(self, network: nn.Module, take: Callable[[Any], torch.Tensor], **options: Any) -> None:
        super().__init__()
        self.network, self.take, self.options = network, take, options

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return self.take(self.network(given, **self.options))


def _text(name: str, _: object) -> Network:
    import transformers

    sizes: dict[str, dict[str, Any]] = {
        "DistilBert": {"dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128},
        "GPT2": {"n_embd": 64, "n_layer": 2, "n_head": 4, "pad_token_id": 0},
    }
    bert = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    config = getattr(transformers, f"{name}Config")(vocab_size=WORDS, num_labels=CLASSES, **sizes.get(name, bert))
    rng = np.random.default_rng(0)
    words = rng.integers(1, WORDS // CLASSES, (EXAMPLES, TOKENS)) + _classes()[:, None] * (WORDS // CLASSES)
    tensor = TensorSpec(name="tokens", dtype="int64", shape=("batch", "tokens"), minimum=1, maximum=WORDS - 1)

    def build() -> nn.Module:
        network = getattr(transformers, f"{name}ForSequenceClassification")(config)
        return Taken(network, lambda answer: answer[0], return_dict=False)

    return _classifier(build, tensor, words)


def _wav2vec2() -> nn.Module:
    import transformers

    config = transformers.Wav2Vec2Config(
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        conv_dim=(32, 32, 32),
        conv_stride=(5, 4, 4),
        conv_kernel=(10, 8, 4),
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        classifier_proj_size=32,
        num_labels=CLASSES,
    )
    network = transformers.Wav2Vec2ForSequenceClassification(config)
    return Taken(network, lambda answer: answer[0], return_dict=False)


def _segformer() -> nn.Module:
    import transformers

    config = transformers.SegformerConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[16, 32, 48, 64], num_attention_heads=[1, 2, 3, 4], num_labels=CLASSES
    )
    network = transformers.SegformerForImageClassification(config)
    return Taken(network, lambda answer: answer[0], return_dict=False)


def _mask() -> Network:
    tensor = TensorSpec(name="pixels", dtype="float32", shape=("batch", 3, SIDE, SIDE))
    mask = TensorSpec(name="mask", dtype="float32", shape=("batch", CLASSES, SIDE, SIDE))

    def build() -> nn.Module:
        network = torchvision.models.segmentation.lraspp_mobilenet_v3_large(
            weights=None, weights_backbone=None, num_classes=CLASSES
        )
        return Taken(network, lambda answer: answer["out"])

    return Network(build, (tensor,), (mask,), {"pixels": _noisy((3, SIDE, SIDE))[:FEW]})


class Detector(nn.Module):
    """The boxes of one picture, before those that overlap are removed."""

    def __init__(self) -> None:
        super().__init__()
        self.network = torchvision.models.detection.ssdlite320_mobilenet_v3_large(
            weights=None, weights_backbone=None, num_classes=CLASSES
        )

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = self.network.head(list(self.network.backbone(pixels).values()))
        return found["bbox_regression"], found["cls_logits"].softmax(-1)


def _boxes() -> Network:
    tensor = TensorSpec(name="pixels", dtype="float32", shape=("batch", 3, 2 * SIDE, 2 * SIDE))
    outputs = (
        TensorSpec(name="boxes", dtype="float32", shape=("batch", 522, 4)),
        TensorSpec(name="scores", dtype="float32", shape=("batch", 522, CLASSES)),
    )
    return Network(Detector, (tensor,), outputs, {"pixels": _noisy((3, 2 * SIDE, 2 * SIDE))[:FEW]})


class Recurrent(nn.Module):
    def __init__(self, layer: nn.LSTM | nn.GRU) -> None:
        super().__init__()
        self.layer = layer
        self.head = nn.Linear(layer.hidden_size * (2 if layer.bidirectional else 1), CLASSES)

    def forward(self, steps: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.head(self.layer(steps)[0].mean(1))
        return answer


def _lstm() -> nn.Module:
    return Recurrent(nn.LSTM(8, 32, batch_first=True))


def _gru() -> nn.Module:
    return Recurrent(nn.GRU(8, 32, batch_first=True, bidirectional=True))


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
        self.start, self.encoder = nn.Linear(8, 64), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(64, CLASSES)

    def forward(self, steps: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.head(self.encoder(self.start(steps)).mean(1))
        return answer


def _waveform() -> nn.Module:
    layers: list[nn.Module] = [nn.Unflatten(1, (1, SAMPLES))]
    for before, after in ((1, 32), (32, 48), (48, 64)):
        layers += [nn.Conv1d(before, after, 9, stride=4), nn.BatchNorm1d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(64, CLASSES))


class Tabular(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cities, self.days = nn.Embedding(50, 8), nn.Embedding(7, 4)
        self.layers = nn.Sequential(nn.Linear(22, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, CLASSES))

    def forward(self, numbers: torch.Tensor, city: torch.Tensor, day: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.layers(torch.cat([numbers, self.cities(city), self.days(day)], 1))
        return answer


def _table() -> Network:
    rng = np.random.default_rng(0)
    inputs = (
        TensorSpec(name="numbers", dtype="float32", shape=("batch", 10)),
        TensorSpec(name="city", dtype="int64", shape=("batch",), minimum=0, maximum=49),
        TensorSpec(name="day", dtype="int64", shape=("batch",), minimum=0, maximum=6),
    )
    examples = {
        "numbers": _noisy((10,)),
        "city": rng.integers(0, 50, EXAMPLES),
        "day": rng.integers(0, 7, EXAMPLES),
    }
    return Network(Tabular, inputs, (KIND,), examples, _classes())


def _autoencoder() -> Network:
    tensor = TensorSpec(name="pixels", dtype="float32", shape=("batch", 3, SIDE, SIDE))

    def build() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 24, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(24, 48, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(48, 24, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(24, 3, 4, 2, 1),
        )

    restored = TensorSpec(name="restored", dtype="float32", shape=("batch", 3, SIDE, SIDE))
    return Network(build, (tensor,), (restored,), {"pixels": _noisy((3, SIDE, SIDE))[:FEW]})
