"""How much of what ONNX Runtime serves does a bare graph's reader take? Decision 32: 1,436 of 1,519 node tests.

    python -m benchmarks.studies.0032_onnx_node_tests

Reads ONNX's own node tests, and compares the answers of what would be served with those of the original. It takes about
six minutes on one core.
"""

from __future__ import annotations

import re
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from onnx.backend.test.case.node import collect_testcases

from benchmarks.server.bench import console
from lading.build.onnx_reader import read_bare
from lading.build.onnx_trial import run
from lading.errors import ArtifactError, WrapError
from lading.predictor import open_session
from lading.progress import progress_bars
from lading.spec import Array
from lading.tensors.agreement import max_abs_difference

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
CLOSE = 1e-3
"""Largest difference from the original's answer, as a share of the largest value. The runtime may order sums anew."""


def outcome(file: Path, given: list[Array]) -> tuple[str, str]:
    """What becomes of one graph, and why."""
    try:
        original = open_session(file)
    except ArtifactError:
        return "ONNX Runtime does not open it", ""
    try:
        bare = read_bare(file)
    except WrapError as error:
        return "refused", _kind(str(error))
    how = "served one by one" if bare.one_by_one else "served in batches"
    try:
        wanted = run(original, {node.name: array for node, array in zip(original.get_inputs(), given, strict=True)})
    except Exception:  # ONNX Runtime's exceptions share no public base class.
        return f"{how}, the original does not run", ""
    served = open_session(bare.model.SerializeToString())
    feed = {
        spec.name: array[None] if array.ndim < len(spec.shape) else array
        for spec, array in zip(bare.inputs, given, strict=True)
    }
    answers = run(served, feed, [spec.name for spec in bare.outputs])
    return f"{how}, {'equal' if _equal(answers, wanted) else 'another answer'}", ""


@app.command(help=__doc__)
def main(every: Annotated[int, typer.Option(min=1, help="take every n-th test")] = 1) -> None:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # numpy's, where the tests compute what to expect
        cases = collect_testcases(None)[::every]
    found: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, progress_bars() as progress:
        file = Path(folder) / "model.onnx"
        for case in progress.track(cases, description="node tests"):
            if not case.data_sets or not all(isinstance(array, np.ndarray) for array in case.data_sets[0][0]):
                found["its inputs are no tensors"] += 1
                continue
            assert case.model is not None
            file.write_bytes(case.model.SerializeToString())
            what, why = outcome(file, list(case.data_sets[0][0]))
            found[what] += 1
            if why:
                reasons[why] += 1
    console.print(f"{len(cases)} node tests")
    for what, count in found.most_common():
        console.print(f"{count:5}  {what}")
    for why, count in reasons.most_common(12):
        console.print(f"{count:5}  refused: {why}", markup=False)


def _equal(answers: list[Array], wanted: list[Array]) -> bool:
    pairs = [
        (np.asarray(one).reshape(-1), np.asarray(other).reshape(-1)) for one, other in zip(answers, wanted, strict=True)
    ]
    return all(
        max_abs_difference(one, other)
        <= CLOSE * float(np.abs(other[np.isfinite(other)]).astype(np.float64).max(initial=1e-3))
        if other.dtype.kind == "f"
        else np.array_equal(one, other)
        for one, other in pairs
    )


def _kind(sentence: str) -> str:
    """The sentence without the names and numbers of one graph."""
    kind = re.search(r"is ((?:tensor|seq|map|optional|sparse)\S*\)), which", sentence)
    return kind.group(1) if kind else re.sub(r"'[^']*'|/\S+|\(\[.*|\d+", "...", sentence)[:100]


if __name__ == "__main__":
    app()
