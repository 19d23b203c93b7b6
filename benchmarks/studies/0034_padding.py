"""When do texts of different lengths share a run? Decision 34: where T(rows, length) says that one run is cheaper.

    python -m benchmarks.studies.0034_padding

A transformer encoder with random weights answers texts that wait, eight at a time, in four ways: each alone, all in one
run, the same with the length rounded up to a power of two, and in the groups that take the least time by the times that
verify measures: runs of one and of four texts at a few lengths. Times are CPU time of the one thread that runs it, so
other programs on the machine hardly change them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import numpy as np
import onnxruntime as ort
import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import nn

from benchmarks.run_times import run_milliseconds
from examples.text_encoder import Layer
from lading.artifact.manifest import CostTable, LengthCost
from lading.predictor import open_session
from lading.spec import Array
from lading.tensors.padded import cheapest_groups

WAITING = 8
"""Texts that wait when a lane is free."""
BATCH = 4
"""Texts of the larger run of each length, as in verify."""
VOCABULARY = 1000
Groups = Sequence[Sequence[int]]


class Encoder(nn.Module):
    """int64 tokens and mask (batch, tokens) to float32 (batch, 2)."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, width)
        self.layers = nn.ModuleList(Layer(width) for _ in range(layers))
        self.head = nn.Linear(width, 2)

    def forward(self, text: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden = self.tokens(text)
        for layer in self.layers:
            hidden = layer(hidden, mask)
        answer: torch.Tensor = self.head(hidden[:, 0])
        return answer


def main(
    width: int = 64,
    layers: int = 2,
    longest: Annotated[int, typer.Option(help="tokens")] = 256,
    turns: Annotated[int, typer.Option(help="times that texts wait")] = 20,
    rounds: int = 3,
) -> None:
    """Compare ways to share runs, and the times that decide with those of other runs."""
    session = opened(width, layers)
    lengths = [length for length in (8, 32, 128) if length < longest] + [longest]
    table = CostTable({}, [cost(session, length, rounds) for length in lengths])
    console = Console()
    console.print(errors(session, table, longest, rounds))
    rng = np.random.default_rng(0)
    mixes = {
        "8 to 24 tokens": rng.integers(8, 25, size=(turns, WAITING)),
        # Half of all texts have fewer than 24 tokens, and one in ten more than 150.
        f"3 to {longest} tokens": np.clip(np.exp(rng.normal(np.log(24), 1.45, size=(turns, WAITING))), 3, longest),
    }
    for name, drawn in mixes.items():
        console.print(compared(session, table, name, drawn.astype(int), longest=longest, rounds=rounds))


def compared(
    session: ort.InferenceSession, table: CostTable, mix: str, drawn: Array, *, longest: int, rounds: int
) -> Table:
    """The ways, in turns, for the same texts: lengths int (turns, waiting)."""
    turns = len(drawn)
    ways: dict[str, Callable[[list[int]], tuple[Groups, Callable[[int], int]]]] = {
        "each alone": lambda waiting: ([[one] for one in range(len(waiting))], int),
        "all in one run": lambda waiting: ([range(len(waiting))], int),
        "all in one run, to a power of two": lambda waiting: (
            [range(len(waiting))],
            lambda length: min(longest, 1 << (length - 1).bit_length()),
        ),
        "in the cheapest groups": lambda waiting: (
            cheapest_groups([(1, length) for length in waiting], WAITING, table.seconds),
            int,
        ),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    runs = dict.fromkeys(ways, 0)
    for _ in range(rounds):
        for name, way in ways.items():
            taken = 0.0
            for waiting in drawn.tolist():
                begin = time.thread_time()
                groups, rounded = way(waiting)
                for group in groups:
                    answer(session, [waiting[one] for one in group], rounded)
                taken += time.thread_time() - begin
                runs[name] += len(groups)
            seconds[name].append(taken)
    shown = Table(f"eight texts of {mix} wait", "CPU ms a text", "runs")
    for name, took in seconds.items():
        shown.add_row(name, f"{1e3 * statistics.median(took) / drawn.size:.2f}", f"{runs[name] / rounds / turns:.1f}")
    return shown


def opened(width: int, layers: int) -> ort.InferenceSession:
    """The encoder as ONNX, on one thread."""
    torch.manual_seed(0)
    example = torch.ones(2, 5, dtype=torch.int64)
    dims = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens")}
    program = torch.onnx.export(
        Encoder(width, layers).eval(), (example, example), input_names=["text", "mask"], output_names=["answer"],
        dynamo=True, dynamic_shapes=(dims, dims), verbose=False,
    )  # fmt: skip
    assert program is not None
    return open_session(program.model_proto.SerializeToString())


def feed(lengths: Sequence[int], longest: int) -> Mapping[str, Array]:
    mask = (np.arange(longest) < np.array(lengths)[:, None]).astype(np.int64)
    return {"text": np.arange(mask.size).reshape(mask.shape) % VOCABULARY * mask, "mask": mask}


def answer(session: ort.InferenceSession, lengths: Sequence[int], rounded: Callable[[int], int]) -> None:
    session.run(None, feed(lengths, rounded(max(lengths))))


def milliseconds(session: ort.InferenceSession, rows: int, length: int, rounds: int) -> float:
    """Median CPU time of a run of texts that are equally long."""
    return run_milliseconds(session, feed([length] * rows, length), rounds)


def cost(session: ort.InferenceSession, length: int, rounds: int) -> LengthCost:
    alone, together = (milliseconds(session, rows, length, rounds) for rows in (1, BATCH))
    return LengthCost(length=length, batch=BATCH, alone_ms=alone, batch_ms=together)


def errors(session: ort.InferenceSession, table: CostTable, longest: int, rounds: int) -> Table:
    """Runs that were not measured beforehand: what they were thought to take, and what they take."""
    shown = Table("texts", "tokens", "CPU ms expected", "CPU ms measured")
    for rows, length in ((2, 20), (8, 20), (3, 80), (8, 80), (2, 200), (8, 200)):
        if length < longest:
            expected, measured = 1e3 * table.seconds(rows, length), milliseconds(session, rows, length, rounds)
            shown.add_row(str(rows), str(length), f"{expected:.2f}", f"{measured:.2f}")
    return shown


if __name__ == "__main__":
    typer.run(main)
