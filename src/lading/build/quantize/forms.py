"""Which form of static int8 is fastest for a graph, measured on this machine at the batch sizes that are served."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from lading.build.examples import of_one_size
from lading.build.quantize.source import Source
from lading.build.quantize.static_int8 import FORMS, Form, quantizable_layers, quantize_static
from lading.build.verify.timing import Plan, Samples, measure, ratio
from lading.errors import QuantizationError
from lading.predictor import open_session
from lading.spec import Array, Frozen, Quantization
from lading.tensors.ragged import collate

BATCHES: Mapping[int, Plan] = {1: Plan(7, 20.0), 8: Plan(5, 20.0)}
"""A request alone, and a batch as a busy server makes it."""
BEYOND_NOISE = 1.03
"""A form counts as faster than the first one if its interval is above this at all batch sizes together, and as slower
below the inverse. Otherwise it is level, and the order of ``FORMS`` decides: the same graph is made each time."""


class TimedForm(Frozen):
    """One form of a graph, as the report shows it."""

    form: str
    speed: float
    """Times as fast as the first form: the geometric mean over :data:`BATCHES`."""


def ranked_forms(
    source: Source, quantization: Quantization, ranges: Mapping[str, tuple[float, float]]
) -> list[tuple[Form, TimedForm]]:
    """The forms of a graph that differ, fastest first.

    Args:
        source: the graph; examples of its calibration are run.
        quantization: gives what is excluded; the form, if the spec names one.
        ranges: of the activations.

    Raises:
        QuantizationError: there is no layer to quantize, or no form can be made.
    """
    graphs: dict[str, tuple[Form, bytes]] = {}
    problem: QuantizationError | None = None
    for form in FORMS:
        if quantization.form not in ("measured", form.name):
            continue
        layers = quantizable_layers(source.prepared, ranges, quantization.exclude, form)
        try:
            made = quantize_static(source.prepared, ranges, quantization, layers=layers, form=form)
        except QuantizationError as error:
            problem = problem or error
            continue
        graph = made.SerializeToString(deterministic=True)
        if graph not in (known for _, known in graphs.values()):
            graphs[form.name] = form, graph
    if not graphs:
        assert problem is not None
        raise problem
    if len(graphs) == 1:
        return [(form, TimedForm(form=form.name, speed=1.0)) for form, _ in graphs.values()]
    speeds = _speeds(source, quantization, {name: graph for name, (_, graph) in graphs.items()})
    ranked = sorted(speeds, key=lambda name: -_beyond_noise(*speeds[name]))  # stable: level ones stay in order
    return [(graphs[name][0], TimedForm(form=name, speed=round(speeds[name][0], 3))) for name in ranked]


def _beyond_noise(value: float, low: float, high: float) -> float:
    return value if low > BEYOND_NOISE or high < 1 / BEYOND_NOISE else 1.0


def _speeds(
    source: Source, quantization: Quantization, graphs: Mapping[str, bytes]
) -> dict[str, tuple[float, float, float]]:
    """Times as fast as the first graph, with the ends of its interval."""
    sessions = {name: open_session(graph) for name, graph in graphs.items()}
    names = [tensor.name for tensor in source.spec.outputs]
    sizes = [size for size in BATCHES if size == source.spec.at_most(size)]
    task = source.progress.add_task(
        f"timing {len(graphs)} forms of int8", total=sum(BATCHES[size].rounds for size in sizes)
    )
    logs: dict[str, list[list[float]]] = {name: [] for name in graphs}
    for size in sizes:
        feed = _feed(source, quantization, size)
        runners: dict[str, Any] = {name: partial(session.run, names, feed) for name, session in sessions.items()}
        samples = measure(runners, BATCHES[size], after_round=partial(source.progress.advance, task))
        for name, own in samples.items():
            logs[name].append(_logs(next(iter(samples.values())), own))
    return {name: tuple(np.exp(np.mean(values, axis=0)).tolist()) for name, values in logs.items()}


def _logs(first: Samples, own: Samples) -> list[float]:
    found = ratio(first, own)
    return np.log([found.value, found.low, found.high]).tolist()  # type: ignore[no-any-return]


_LOOKED_AT = 32
"""Calibration examples among which pictures of one size are looked for."""


def _feed(source: Source, quantization: Quantization, size: int) -> dict[str, Array]:
    examples = source.data.calibration(quantization.calibration_examples)
    alike = of_one_size(source.spec.inputs, examples[: max(_LOOKED_AT, size)], size)
    return collate(source.spec.inputs, [alike[index % len(alike)][0] for index in range(size)])
