"""Which operators take the time of a run? Decision 7: remove work that the CPU does slowly, then quantize.

python -m benchmarks.studies.0007_operator_times build/cards/variants/fp32.onnx
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnxruntime as ort
import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Share:
    """What one kind of operator takes of a run."""

    operator: str
    nodes: int
    milliseconds: float
    """Sum of the medians of all nodes."""


@app.command()
def profile(
    graphs: Annotated[list[Path], typer.Argument(help="ONNX files, for example build/cards/variants/*.onnx")],
    runs: Annotated[int, typer.Option(min=1, help="runs, after as many that are not counted")] = 300,
) -> None:
    """Run each graph on one thread at batch 1, and show which kinds of operators take how long."""
    console = Console()
    for graph in graphs:
        console.print(table(graph.stem, shares(graph, runs)))


def shares(graph: Path, runs: int) -> list[Share]:
    """Profile a graph as it is served (one thread, nothing spins), slowest kind first.

    Operators are those that ONNX Runtime executes after its own fusions, not those of the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "run")
        session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        feed = {one.name: _values(one.shape, one.type) for one in session.get_inputs()}
        for _ in range(2 * runs):
            session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_text())
    return by_operator(events, runs)


def by_operator(events: Iterable[Mapping[str, Any]], runs: int) -> list[Share]:
    """Sum the medians of each node's last ``runs`` times by its operator; events as ONNX Runtime writes them."""
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            times[kind(event["args"]), event["name"]].append(event["dur"] / 1000)
    kinds: dict[str, list[float]] = defaultdict(list)
    for (operator, _), found in times.items():
        kinds[operator].append(float(np.median(found[-runs:])))
    found_shares = [Share(operator, len(medians), sum(medians)) for operator, medians in kinds.items()]
    return sorted(found_shares, key=lambda share: -share.milliseconds)


def kind(arguments: Mapping[str, Any]) -> str:
    """The operator; of a convolution also its kernel, and whether it is depthwise or sees one pixel alone."""
    operator = str(arguments["op_name"])
    shapes = [next(iter(one.values())) for one in arguments.get("input_type_shape", ())]
    if not operator.endswith("Conv") or len(shapes) < 2 or len(shapes[1]) != 4:
        return operator
    picture, (_, channels, rows, columns) = shapes[0], shapes[1]
    sort = " of one pixel" if picture[2:] == [1, 1] else " depthwise" if channels == 1 and picture[1] > 1 else ""
    return f"{operator} {rows}x{columns}{sort}"


def table(name: str, found: Sequence[Share]) -> Table:
    """One line an operator, and their sum."""
    total = sum(share.milliseconds for share in found)
    shown = Table("operator", title=name)
    for head in ("nodes", "ms", "share"):
        shown.add_column(head, justify="right")
    for share in found:
        part = share.milliseconds / total if total else 0.0
        shown.add_row(share.operator, str(share.nodes), f"{share.milliseconds:.3f}", f"{part:.0%}")
    shown.add_section()
    shown.add_row("sum", str(sum(share.nodes for share in found)), f"{total:.3f}", "")
    return shown


def _values(shape: Sequence[int | str | None], dtype: str) -> np.ndarray[Any, Any]:
    kind = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64"}
    size = [side if isinstance(side, int) else 1 for side in shape]
    whole = kind.get(dtype, dtype.removeprefix("tensor(").removesuffix(")"))
    return np.random.default_rng(0).integers(0, 2, size=size).astype(whole)


if __name__ == "__main__":
    app()
