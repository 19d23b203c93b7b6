"""Decide whether requests to a bare graph can share a run, or are served one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from lading.build.batch_axis import add_batch, real_inputs, shape_of
from lading.build.examples import open_graph
from lading.build.onnx_tensors import input_specs, output_specs
from lading.build.onnx_trial import Trial, UntriedError, batching_problem, filling_problem, find_trial, run
from lading.errors import LadingError, RequestError, WrapError
from lading.spec import BATCH, Array, TensorSpec
from lading.tensors.checks import check_inputs

REEXPORT = (
    "to batch requests, export it again with a symbolic first dim: torch.onnx.export(..., dynamic_shapes="
    "({0: 'batch'},)), or tf2onnx with an input signature of [None, ...]; or name the axis that the batch has with "
    "--batch-axis"
)


Declare = Callable[[tuple[TensorSpec, ...], ort.InferenceSession], tuple[TensorSpec, ...]]
"""What is known about the inputs of a graph besides what it says itself, before it is tried."""


def _nothing(inputs: tuple[TensorSpec, ...], _: ort.InferenceSession) -> tuple[TensorSpec, ...]:
    return inputs


@dataclass(frozen=True)
class BareModel:
    """A graph with a description of its tensors.

    Attributes:
        model: the graph. Every input and output has the batch in front.
        inputs, outputs: of the graph.
        trial: inputs at which it runs.
        one_by_one: why it cannot be batched; ``None`` if it can.
    """

    model: onnx.ModelProto
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    trial: Trial
    one_by_one: str | None = None

    @property
    def found_dims(self) -> list[str]:
        """Dims of outputs whose size no input tells, such as the number of objects in a picture."""
        known = {dim for spec in self.inputs for dim in spec.symbolic_dims}
        return sorted({dim for spec in self.outputs for dim in spec.symbolic_dims} - known)


def batched(
    file: Path, model: onnx.ModelProto, real: Mapping[str, Array] | None, declare: Declare = _nothing
) -> BareModel | str:
    """The graph with a first dim ``batch`` everywhere, or why that is no batch.

    Raises:
        WrapError: the examples do not fit it.
    """
    served = real_inputs(model.graph)
    if any(not value.type.tensor_type.shape.dim for value in served):
        return "an input is a scalar"
    freed = _copy(model)
    fixed = sorted({value.type.tensor_type.shape.dim[0].dim_value for value in served} - {0})
    for value in (*real_inputs(freed.graph), *freed.graph.output):
        if dims := value.type.tensor_type.shape.dim:
            dims[0].dim_param = BATCH
    try:
        session = open_graph(freed)
    except LadingError as error:
        return _first_line(error)
    if real is not None and _one_dim_more(session, real):
        return "its examples have one dim more than its inputs"
    inputs = _inputs(file, freed, session, real, declare)
    trial = find_trial(session, inputs, real)
    problem = trial if isinstance(trial, str) else batching_problem(session, trial)
    if isinstance(trial, str) or problem is not None:
        return (
            f"its batch size is fixed at {fixed[0]}, and its nodes depend on it ({problem})" if fixed else f"{problem}"
        )
    # Rows of one length can share a run, but then only requests of one row of any length are safe.
    return BareModel(freed, inputs, output_specs(session, trial, inputs), trial, filling_problem(session, trial))


def one_by_one(
    file: Path, model: onnx.ModelProto, real: Mapping[str, Array] | None, problem: str, declare: Declare = _nothing
) -> BareModel:
    """The graph with a first dim of 1 everywhere. What has none gets one.

    Raises:
        WrapError: the examples do not fit it, or no inputs were found at which it runs.
    """
    single = _copy(model)
    add_batch(single, _without_batch(model, real))
    session = open_graph(single)
    inputs = _inputs(file, single, session, real, declare)
    trial = find_trial(session, inputs, real, rows=1)
    if isinstance(trial, str):
        made_up = (
            "its examples do not run"
            if real is not None
            else ("the made-up inputs did not run: give real ones with --calibration")
        )
        raise WrapError(f"{file} cannot be described: {made_up} ({trial})")
    symbols = {value.type.tensor_type.shape.dim[0].dim_param for value in real_inputs(single.graph)} | {""}
    answers = dict(zip([node.name for node in session.get_outputs()], run(session, trial.feed(1)), strict=True))
    flat = [
        value.name
        for value in single.graph.output
        if answers[value.name].shape[:1] != (1,)
        or (value.type.tensor_type.shape.dim and value.type.tensor_type.shape.dim[0].dim_param not in symbols)
    ]
    add_batch(single, flat)
    session = open_graph(single)
    return BareModel(single, inputs, output_specs(session, trial, inputs, rows=1), trial, problem)


def _without_batch(model: onnx.ModelProto, real: Mapping[str, Array] | None) -> list[str]:
    """The inputs that have no dim for a batch in front."""
    shapes = {value.name: shape_of(value) or [] for value in real_inputs(model.graph)}
    if real is not None:
        return [name for name, shape in shapes.items() if name in real and real[name].ndim == len(shape) + 1]
    firsts = {shape[0] for shape in shapes.values() if shape and isinstance(shape[0], str)}
    whole = len(firsts) > 1 or _rows_meet(model)
    return [
        name
        for name, shape in shapes.items()
        if not shape or (whole and not isinstance(shape[0], int)) or (isinstance(shape[0], int) and shape[0] > 1)
    ]


def _rows_meet(model: onnx.ModelProto) -> bool:
    """Whether rows are answered together: with as many rows, or with outputs of a fixed size for all of them.

    Another number of rows is what was found in one picture; such a picture is a request.
    """
    try:
        session = open_graph(model)
        trial = find_trial(session, input_specs(model, session))
        answers = run(session, trial.feed(2)) if isinstance(trial, Trial) else []
    except UntriedError:
        raise
    except Exception:  # ONNX Runtime's exceptions share no public base class; a fixed batch ends here
        return False
    fixed = [not node.shape or isinstance(node.shape[0], int) for node in session.get_outputs()]
    return bool(answers) and all(
        array.shape[:1] == (2,) or of_all for array, of_all in zip(answers, fixed, strict=True)
    )


def _one_dim_more(session: ort.InferenceSession, real: Mapping[str, Array]) -> bool:
    nodes = session.get_inputs()
    return any(node.name in real and real[node.name].ndim == len(node.shape) + 1 for node in nodes)


def _inputs(
    file: Path,
    model: onnx.ModelProto,
    session: ort.InferenceSession,
    real: Mapping[str, Array] | None,
    declare: Declare,
) -> tuple[TensorSpec, ...]:
    """The inputs as the graph, the examples and the user describe them."""
    inputs = declare(input_specs(model, session), session)
    if real is None:
        return inputs
    holes = {name for name, array in real.items() if array.dtype.kind == "f" and np.isnan(array).any()}
    inputs = tuple(
        spec.model_copy(update={"missing": spec.name in holes and spec.dtype.startswith("float")}) for spec in inputs
    )
    try:
        count = check_inputs(inputs, real)[BATCH]
    except RequestError as error:
        raise WrapError(f"the calibration data do not fit {file}: {error}") from None
    if count < 2:
        raise WrapError(f"the calibration data hold {count} example: some calibrate, others check; give at least 2")
    return inputs


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
