"""Run the trials of a W&B sweep file on this machine, without a W&B server.

``wandb sweep`` and ``wandb agent`` run the same file; this samples its parameters here, for machines without a network.
"""

from __future__ import annotations

import math
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from omegaconf import OmegaConf
from rich.console import Console

from lading.errors import SpecError

ARGUMENTS = "${args_no_hyphens}"


def read_sweep(file: Path) -> dict[str, Any]:
    """Read a sweep file; its ``${...}`` macros stay as they are."""
    content = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def trials(sweep: Mapping[str, Any], count: int, seed: int = 0) -> Iterator[list[str]]:
    """Sample command lines from a sweep's ``command`` and ``parameters``.

    Args:
        sweep: the parsed file; method ``random``, or ``grid`` over parameters with ``values``.
        count: trials, at most.
        seed: of the sampling.

    Raises:
        SpecError: a method or distribution that is sampled by W&B's server only.
    """
    parameters = sweep["parameters"]
    rng = np.random.default_rng(seed)
    if sweep["method"] == "grid":
        points: Iterator[dict[str, Any]] = _grid(parameters)
    elif sweep["method"] == "random":
        points = ({name: _sample(name, entry, rng) for name, entry in parameters.items()} for _ in range(count))
    else:
        raise SpecError(f"method {sweep['method']!r} needs W&B's server: use `wandb agent`, or method random or grid")
    for point, _ in zip(points, range(count), strict=False):
        arguments = [f"{name}={value}" for name, value in point.items()]
        yield [part for word in sweep["command"] for part in (arguments if word == ARGUMENTS else [word])]


def _grid(parameters: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    sizes = []
    for name, entry in parameters.items():
        if "values" not in entry and "value" not in entry:
            raise SpecError(f"parameter {name!r} has no values, which a grid needs")
        sizes.append(entry.get("values") or [entry["value"]])
    for index in np.ndindex(*(len(values) for values in sizes)):
        yield {name: values[at] for name, values, at in zip(parameters, sizes, index, strict=True)}


def _sample(name: str, entry: Mapping[str, Any], rng: np.random.Generator) -> Any:
    if "value" in entry:
        return entry["value"]
    if "values" in entry:
        return entry["values"][int(rng.integers(len(entry["values"])))]
    kind = entry.get("distribution", "int_uniform" if isinstance(entry["min"], int) else "uniform")
    low, high = entry["min"], entry["max"]
    if kind == "int_uniform":
        return int(rng.integers(low, high + 1))
    if kind == "uniform":
        return float(rng.uniform(low, high))
    if kind == "log_uniform_values":
        return math.exp(rng.uniform(math.log(low), math.log(high)))
    raise SpecError(f"parameter {name!r} has the distribution {kind!r}, which is sampled by W&B's server only")


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def run(
    file: Annotated[Path, typer.Argument(help="a W&B sweep file")],
    extra: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="added to every trial")] = None,
    count: Annotated[int, typer.Option(min=1, help="trials")] = 4,
    seed: int = 0,
) -> None:
    """Run trials one after another; stops at the first that fails."""
    console = Console()
    commands: Sequence[list[str]] = list(trials(read_sweep(file), count, seed))
    for number, command in enumerate(commands, 1):
        words = [*command, *(extra or [])]
        console.rule(f"trial {number} of {len(commands)}")
        console.print(" ".join(words), markup=False, highlight=False)
        finished = subprocess.run(words, check=False)
        if finished.returncode:
            raise typer.Exit(finished.returncode)


if __name__ == "__main__":
    app()
