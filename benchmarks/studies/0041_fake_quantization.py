"""Does training with fake quantization rescue static int8? Decision 41: no; like ranges of channels do.

    python -m benchmarks.studies.0041_fake_quantization

Small networks of depthwise convolutions tell turned and noisy digits apart. Each is made int8 as it is, after more
epochs, and after as many epochs in which inputs and weights of every layer, sum and product are rounded as int8 would
round them (straight-through gradients, ranges as moving averages). ``unequal`` is a trained network whose channels were
multiplied by up to a hundred, and the weights that read them divided: its float32 answers are the same. The score is
the better one of calibration by minimum and maximum and by percentiles, of the form that has it. It takes some tens of
minutes on one core.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import torch
import typer
from rich.progress import track
from rich.table import Table
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from benchmarks.server.bench import console
from lading.build.examples import open_graph
from lading.build.export.export import export_module
from lading.build.quantize.calibration import Method, float_activations, observe
from lading.build.quantize.equalize import equalized
from lading.build.quantize.static_int8 import ELEMENTWISE, FORMS, prepare, quantizable_layers, quantize_static
from lading.spec import Array, Example, ModelSpec, Quantization, TensorSpec

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
SIDE, BATCH = 32, 64
METHODS: tuple[Method, ...] = ("minmax", "percentile")
Pictures = tuple[torch.Tensor, torch.Tensor]
"""float32 (n, 1, 32, 32) and int64 (n,)."""


def digits(first: int, last: int, copies: int, seed: int) -> Pictures:
    """Scanned digits, turned, moved, enlarged and noisy."""
    given, random = load_digits(), torch.Generator().manual_seed(seed)
    order = torch.randperm(len(given.target), generator=torch.Generator().manual_seed(0))[first:last].repeat(copies)
    pixels = torch.tensor(given.images, dtype=torch.float32)[order][:, None] / 16
    count = len(order)
    angle = (torch.rand(count, generator=random) - 0.5) * 0.9
    size, moved = 1 + 0.6 * torch.rand(count, generator=random), (torch.rand(count, 2, generator=random) - 0.5) * 0.5
    turned = torch.stack([size * angle.cos(), -size * angle.sin(), size * angle.sin(), size * angle.cos()], 1)
    affine = torch.cat([turned.view(-1, 2, 2), moved[:, :, None]], 2)
    grid = functional.affine_grid(affine, [count, 1, SIDE, SIDE], align_corners=False)
    pictures = functional.grid_sample(pixels, grid, align_corners=False)
    return pictures + 0.25 * torch.randn(pictures.shape, generator=random), torch.tensor(given.target)[order]


def convolution(before: int, after: int, size: int, activation: type[nn.Module] | None, **more: int) -> nn.Sequential:
    layer = nn.Conv2d(before, after, size, padding=size // 2, bias=False, **more)  # type: ignore[arg-type]
    return nn.Sequential(layer, nn.BatchNorm2d(after), *([activation()] if activation else []))


class Block(nn.Module):
    """An inverted residual of MobileNet, with squeeze-and-excitation where ``gated``."""

    def __init__(self, before: int, after: int, stride: int, activation: type[nn.Module], *, gated: bool) -> None:
        super().__init__()
        wide = 4 * before
        self.expand = convolution(before, wide, 1, activation)
        self.depthwise = convolution(wide, wide, 3, activation, stride=stride, groups=wide)
        self.gate = nn.Sequential(nn.Conv2d(wide, 8, 1), nn.ReLU(), nn.Conv2d(8, wide, 1)) if gated else None
        self.project = convolution(wide, after, 1, None)
        self.residual = stride == 1 and before == after

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        wide = self.depthwise(self.expand(given))
        if self.gate is not None:
            wide = wide * self.gate(wide.mean((2, 3), keepdim=True)).sigmoid()
        answer: torch.Tensor = self.project(wide)
        return given + answer if self.residual else answer


def network(width: int, activation: type[nn.Module], *, gated: bool = False) -> nn.Module:
    torch.manual_seed(0)
    shapes = [(1, 1, 1), (1, 2, 2), (2, 2, 1), (2, 2, 1), (2, 3, 2), (3, 3, 1)]
    blocks = [Block(width * a, width * b, stride, activation, gated=gated) for a, b, stride in shapes]
    return nn.Sequential(
        convolution(1, width, 3, activation, stride=2),
        *blocks,
        convolution(3 * width, 6 * width, 1, activation),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6 * width, 10),
    )


NETWORKS: Mapping[str, Callable[[], nn.Module]] = {
    "relu": lambda: network(4, nn.ReLU),
    "silu, gated": lambda: network(4, nn.SiLU, gated=True),
    "unequal": lambda: network(8, nn.ReLU),
}


def unbalance(module: nn.Module) -> None:
    """Multiply channels between convolutions, and divide the weights that read them."""
    random = torch.Generator().manual_seed(1)
    for block in (layer for layer in module.modules() if isinstance(layer, Block)):
        for one, other in ((block.expand, block.depthwise), (block.depthwise, block.project)):
            norm, reads = one[1], other[0]
            assert isinstance(norm, nn.BatchNorm2d)
            assert isinstance(reads, nn.Conv2d)
            factor = torch.exp(1.5 * torch.randn(norm.num_features, generator=random))
            with torch.no_grad():
                norm.weight.mul_(factor)
                norm.bias.mul_(factor)
                reads.weight /= factor.view(-1, 1, 1, 1) if reads.groups > 1 else factor.view(1, -1, 1, 1)


class _Rounded(torch.autograd.Function):
    """Rounds to steps. The gradient of what is within range passes as it is."""

    @staticmethod
    def forward(context: Any, values: torch.Tensor, step: torch.Tensor, low: torch.Tensor, steps: int) -> torch.Tensor:
        zero = torch.round(-low / step)
        found = torch.round(values / step) + zero
        context.save_for_backward((found >= 0) & (found <= steps))
        return (found.clamp(0, steps) - zero) * step

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> Any:
        (within,) = context.saved_tensors
        return gradient * within, None, None, None


def _step(low: torch.Tensor, high: torch.Tensor, steps: int) -> torch.Tensor:
    return ((high - low) / steps).clamp(min=1e-8)


class FakeQuantized(TorchFunctionMode):
    """Rounds what layers, sums and products read: uint8 with one scale, weights int8 with one a channel."""

    def __init__(self) -> None:
        super().__init__()
        self.ranges: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.calls = 0

    def _activation(self, values: torch.Tensor) -> torch.Tensor:
        low, high = values.detach().min().clamp(max=0), values.detach().max().clamp(min=0)
        if self.calls < len(self.ranges):
            low, high = (old.lerp(new, 0.1) for old, new in zip(self.ranges[self.calls], (low, high), strict=True))
            self.ranges[self.calls] = low, high
        else:
            self.ranges.append((low, high))
        self.calls += 1
        return _rounded(values, low, high)

    def __torch_function__(self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        if function in (torch.conv2d, functional.linear):
            largest = args[1].detach().abs().flatten(1).amax(1).view(-1, *[1] * (args[1].ndim - 1))
            args = [self._activation(args[0]), _rounded(args[1], -largest, largest, 254), *args[2:]]
        elif function in (torch.Tensor.add, torch.Tensor.mul):
            args = [self._activation(one) if isinstance(one, torch.Tensor) else one for one in args]
        return function(*args, **(kwargs or {}))


def _rounded(values: torch.Tensor, low: torch.Tensor, high: torch.Tensor, steps: int = 255) -> torch.Tensor:
    found: torch.Tensor = _Rounded.apply(values, _step(low, high, steps), low, steps)
    return found


def fit(module: nn.Module, given: Pictures, epochs: int, rate: float, mode: FakeQuantized | None = None) -> nn.Module:
    optimizer = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=0.01)
    steps = len(given[0]) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps * epochs, pct_start=0.2)
    random = torch.Generator().manual_seed(5)
    module.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(given[0]), generator=random)[: steps * BATCH].view(steps, BATCH):
            if mode is None:
                answer = module(given[0][rows])
            else:
                mode.calls = 0
                with mode:
                    answer = module(given[0][rows])
            loss = functional.cross_entropy(answer, given[1][rows], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return module.eval()


class Digits(ModelSpec):
    """What the export needs of a model."""

    name = "digits"
    inputs = (TensorSpec(name="pixels", dtype="float32", shape=("batch", 1, SIDE, SIDE)),)
    outputs = (TensorSpec(name="digit", dtype="float32", shape=("batch", 10)),)

    def __init__(self, given: Pictures) -> None:
        self.given = given

    def build(self) -> nn.Module:
        raise NotImplementedError

    def dataset(self, _split: str) -> list[Example]:
        return [({"pixels": self.given[0][row].numpy()}, {"digit": np.zeros((), np.int64)}) for row in range(BATCH)]

    def loss(self, outputs: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor]) -> torch.Tensor:
        raise NotImplementedError

    def score(self, outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
        raise NotImplementedError


def exported(module: nn.Module, training: Pictures) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "fp32.onnx"
        export_module(Digits(training), module, file)
        return prepare(file)


def right(model: onnx.ModelProto, testing: Pictures) -> float:
    """Share of right answers."""
    answer = open_graph(model).run(None, {"pixels": testing[0].numpy()})[0]
    return float(np.mean(answer.argmax(1) == testing[1].numpy()))


def of_int8(model: onnx.ModelProto, training: Pictures, testing: Pictures) -> float:
    """The best share of right answers that int8 has."""
    feeds = [{"pixels": training[0][row : row + 4].numpy()} for row in range(0, 2 * BATCH, 4)]
    seen = observe(model, float_activations(model, ELEMENTWISE), feeds, histograms=True)
    return max(_of_forms(model, {m: {name: one.range(m) for name, one in seen.items()} for m in METHODS}, testing))


def _of_forms(model: onnx.ModelProto, ranges: Mapping[str, Any], testing: Pictures) -> Iterator[float]:
    for own in ranges.values():
        for form in FORMS:
            layers = quantizable_layers(model, own, (), form)
            yield right(quantize_static(model, own, Quantization(method="static"), layers=layers, form=form), testing)


@app.command(help=__doc__)
def main(
    epochs: Annotated[int, typer.Option(min=1, help="of training; half as many follow")] = 6,
    copies: Annotated[int, typer.Option(min=1, help="of each digit in training")] = 3,
    only: Annotated[str, typer.Option(help="one of the networks; default: all")] = "",
) -> None:
    torch.set_num_threads(1)
    training, testing = digits(0, 900, copies, 1), digits(1200, 1797, 2, 3)
    table = Table(
        "network", "fp32", "int8", "int8, equalized", "more epochs: fp32", "int8", "rounded epochs: fp32", "int8"
    )
    for name in track([one for one in NETWORKS if not only or one == only], console=console):
        module = fit(NETWORKS[name](), training, epochs, 4e-3)
        if name == "unequal":
            unbalance(module)
        model = exported(module, training)
        even = equalized(model)
        row = [right(model, testing), of_int8(model, training, testing)]
        row.append(of_int8(even, training, testing) if even is not None else row[-1])
        for mode in (None, FakeQuantized()):
            tuned = exported(fit(copy.deepcopy(module), training, max(1, epochs // 2), 1e-3, mode), training)
            row += [right(tuned, testing), of_int8(tuned, training, testing)]
        table.add_row(name, *(f"{one:.3f}" for one in row))
    console.print(table)
    console.print("shares of right answers: in float32 and in int8, before and after more epochs")


if __name__ == "__main__":
    app()
