"""How do photos of different sizes share runs? Decision 39: with those of the same size, in runs of bounded pixels.

    python -m benchmarks.studies.0039_shapes

The network of examples/segmentation.py, with random weights, answers photos of a few sizes that wait, eight at a time,
in four ways: each alone; those of one size that follow each other in one run; those of one size in the groups that take
the least time; and all in one run, filled up to the largest. Times are CPU time of the one thread that runs it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Annotated

import numpy as np
import onnxruntime as ort
import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.run_times import run_milliseconds
from examples.segmentation import UNet
from lading.artifact.manifest import CostTable, LengthCost
from lading.predictor import open_session
from lading.preprocess import Preprocess
from lading.spec import Array, TensorSpec
from lading.tensors.ragged import CheckedInputs, group_requests, join_requests

WAITING = 8
"""Photos that wait when a lane is free."""
BATCH = 4
Groups = Sequence[Sequence[int]]


def main(
    largest: Annotated[int, typer.Option(help="pixels of the longest side")] = 256,
    turns: Annotated[int, typer.Option(help="times that photos wait")] = 10,
    rounds: int = 5,
) -> None:
    """Compare ways to share runs."""
    session = opened()
    how = Preprocess(fit="keep", longest=largest, multiple=8, layout="NCHW", scale=1 / 255)
    spec = TensorSpec(
        name="photo", dtype="float32", shape=("batch", 3, "height", "width"), content="image", preprocess=how
    )
    sides = [largest // 4, largest // 2, largest]
    table = CostTable({}, [cost(session, side, how.most_pixels, rounds) for side in sides])
    small, half = largest // 4, largest // 2
    shapes = {
        "four small sizes": [(small, small), (small, half), (half, small), (half, half)],
        "small and large": [(small, small), (small, small), (small, half), (largest, largest)],
    }
    rng = np.random.default_rng(0)
    for name, sizes in shapes.items():
        drawn = [[sizes[place] for place in rng.integers(len(sizes), size=WAITING)] for _ in range(turns)]
        Console().print(compared(session, spec, table, name, drawn, rounds=rounds))


def compared(
    session: ort.InferenceSession,
    spec: TensorSpec,
    table: CostTable,
    mix: str,
    drawn: list[list[tuple[int, int]]],
    *,
    rounds: int,
) -> Table:
    """The ways, in turns, for the same photos."""
    ways: dict[str, Callable[[list[CheckedInputs]], Groups]] = {
        "each alone": lambda waiting: [[place] for place in range(len(waiting))],
        "neighbours of one size": neighbours,
        "one size, cheapest groups": lambda waiting: group_requests([spec], waiting, WAITING, table.seconds),
        "all, filled up to the largest": lambda waiting: [range(len(waiting))],
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    runs = dict.fromkeys(ways, 0)
    for _ in range(rounds):
        for name, way in ways.items():
            taken = 0.0
            for sizes in drawn:
                waiting = [request(*size) for size in sizes]
                begin = time.thread_time()
                groups = way(waiting)
                for group in groups:
                    session.run(None, {"photo": joined(spec, [waiting[one] for one in group])})
                taken += time.thread_time() - begin
                runs[name] += len(groups)
            seconds[name].append(taken)
    shown = Table(f"eight photos of {mix} wait", "CPU ms a photo", "runs")
    count = sum(map(len, drawn))
    for name, took in seconds.items():
        shown.add_row(name, f"{1e3 * statistics.median(took) / count:.2f}", f"{runs[name] / rounds / len(drawn):.1f}")
    return shown


def neighbours(waiting: list[CheckedInputs]) -> Groups:
    groups: list[list[int]] = []
    for place, one in enumerate(waiting):
        if groups and waiting[groups[-1][0]].sizes == one.sizes:
            groups[-1].append(place)
        else:
            groups.append([place])
    return groups


def request(height: int, width: int) -> CheckedInputs:
    array = np.random.default_rng(height * width).random((1, 3, height, width), np.float32)
    return CheckedInputs({"photo": array}, {"batch": 1, "height": height, "width": width}, 1)


def joined(spec: TensorSpec, requests: list[CheckedInputs]) -> Array:
    tall, wide = (max(one.sizes[dim] for one in requests) for dim in ("height", "width"))
    if all(one.sizes["height"] == tall and one.sizes["width"] == wide for one in requests):
        return join_requests([spec], requests)["photo"]
    filled = np.zeros((len(requests), 3, tall, wide), np.float32)
    for row, one in zip(filled, requests, strict=True):
        row[:, : one.sizes["height"], : one.sizes["width"]] = one.arrays["photo"][0]
    return filled


def opened() -> ort.InferenceSession:
    """The network as ONNX, on one thread."""
    torch.manual_seed(0)
    height, width = (8 * torch.export.Dim(name, max=128) for name in ("rows", "columns"))
    program = torch.onnx.export(
        UNet().eval(), (torch.rand(2, 3, 32, 48),), input_names=["photo"], output_names=["mask"],
        dynamo=True, dynamic_shapes=({0: torch.export.Dim("batch"), 2: height, 3: width},), verbose=False,
    )  # fmt: skip
    assert program is not None
    return open_session(program.model_proto.SerializeToString())


def milliseconds(session: ort.InferenceSession, rows: int, side: int, rounds: int) -> float:
    """Median CPU time of a run of square photos."""
    return run_milliseconds(session, {"photo": np.ones((rows, 3, side, side), np.float32)}, rounds)


def cost(session: ort.InferenceSession, side: int, most: int, rounds: int) -> LengthCost:
    batch = min(BATCH, most // side**2)
    alone, together = (milliseconds(session, rows, side, rounds) for rows in (1, batch))
    return LengthCost(length=side**2, batch=batch, alone_ms=alone, batch_ms=together)


if __name__ == "__main__":
    typer.run(main)
