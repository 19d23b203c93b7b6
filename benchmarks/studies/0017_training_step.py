"""What makes a training step cheaper? Decision 17: frozen blocks and ``torch.compile`` are options of a run.

    python -m benchmarks.studies.0017_training_step

Forms take turns, one step each, so that a slow phase of the machine affects all of them. Batches are random:
``0017_loader`` measures loading.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from lading.build.train.module import answer_by_name, frozen_parts
from models.cards import Cards


@dataclass(frozen=True)
class Form:
    """One way to train: which order of memory, whether compiled, and how many of the first blocks stay as they are."""

    channels_last: bool = True
    compiled: bool = False
    frozen: int = 0


EAGER = "eager"
FORMS = {
    EAGER: Form(),
    "eager, default order of memory": Form(channels_last=False),
    "eager, three blocks frozen": Form(frozen=3),
    "compiled": Form(compiled=True),
    "compiled, three blocks frozen": Form(compiled=True, frozen=3),
}


def stepper(form: Form, batch: int) -> Callable[[], None]:
    """A call that does one step: forward, loss, backward, clipping and update, as `lading train` does them."""
    spec = Cards()
    module = spec.build().train()
    if form.channels_last:
        module = module.to(memory_format=torch.channels_last)
    frozen_parts(module, [f"backbone.features.{number}" for number in range(form.frozen)])
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=1e-3, fused=True)
    images = torch.randint(0, 256, (batch, 224, 224, 3), dtype=torch.uint8)
    targets = {tensor.name: torch.randint(0, len(tensor.labels or ()), (batch,)) for tensor in spec.outputs}

    def forward(image: torch.Tensor) -> dict[str, torch.Tensor]:
        return answer_by_name(spec, module, [image])

    answer = torch.compile(forward) if form.compiled else forward

    def step() -> None:
        loss = spec.loss(answer(images), targets)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()

    return step


def main(
    turns: Annotated[int, typer.Option(help="steps of each form", min=2)] = 20,
    batch: Annotated[int, typer.Option(help="photos in a step")] = 64,
    only: Annotated[
        list[str] | None, typer.Option(help="a form, as the table names it; repeatable; default: all")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="of torch; default: its own choice")] = None,
) -> None:
    """Measure, and show a table."""
    if threads:
        torch.set_num_threads(threads)
    steps = {name: stepper(form, batch) for name, form in FORMS.items() if name == EAGER or not only or name in only}
    for step in steps.values():
        step()
        step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(turns):
        for name, step in steps.items():
            begin = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - begin)
    table = Table("form", "median s", "quartiles", "times eager", title=f"a training step of {batch} photos")
    first = median(seconds[EAGER])
    for name, row in seconds.items():
        low, middle, high = quantiles(row, n=4)
        table.add_row(name, f"{middle:.3f}", f"{low:.3f} to {high:.3f}", f"{first / middle:.2f}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
