"""Score blocks with the same checks and joining of requests as the server. A bad row does not affect others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lading.artifact import Artifact
from lading.artifact.manifest import CostTable
from lading.errors import DataError, LadingError, RequestError
from lading.predictor import Predictor
from lading.protocol.json_values import refuse_not_finite
from lading.score.source import Block
from lading.spec import BATCH, Array, TensorSpec
from lading.tensors.checks import check_inputs
from lading.tensors.padded import fill_in, padded_dims
from lading.tensors.ragged import (
    CheckedInputs,
    count_rows,
    dim_size,
    group_requests,
    join_requests,
    joinable,
    part_outputs,
)

Outcome = Mapping[str, Array] | str
"""Outputs of a row, batch dim included, or the reason why there are none."""


@dataclass(frozen=True)
class Answers:
    """Answers to a block: the outputs of valid rows, and an error for each other row."""

    outputs: dict[str, Array | list[Array]]
    """By output name: one array of all valid rows, or a list of arrays if their shapes differ."""
    errors: list[str | None]
    """Error of every row of the block, or ``None``."""


class Scorer:
    """Scores blocks. Thread-safe.

    Args:
        artifact: what scores.
        variant: its name; the chosen one by default.
        batch: rows of one run; 0: the measured size with the lowest cost per row.
        keep_errors: give a bad row a sentence instead of failing.
    """

    def __init__(
        self, artifact: Artifact, variant: str | None = None, *, batch: int = 0, keep_errors: bool = False
    ) -> None:
        self.predictor = Predictor(artifact, variant)
        self.inputs, self.outputs = self.predictor.inputs, self.predictor.outputs
        self.keep_errors = keep_errors
        self.batch = batch_of(artifact, variant, batch)
        self._cost = CostTable.of(self.predictor.packed.measurement)
        self._padded = padded_dims(self.inputs)
        self.uniform = all(spec.batched and _fixed(spec) for spec in (*self.inputs, *self.outputs))
        """Whether all rows have the same shape, so that a block is one array."""

    def answer(self, block: Block) -> Answers:
        """Score one block.

        Raises:
            DataError: a bad row, unless errors are kept; names its place.
        """
        outputs = self._stacked(block) if self.uniform else None
        if outputs is not None:
            return Answers(dict(outputs), [None] * len(block))
        outcomes = self._row_by_row(block)
        errors = [outcome if isinstance(outcome, str) else None for outcome in outcomes]
        bad = next((index for index, error in enumerate(errors) if error), None)
        if bad is not None and not self.keep_errors:
            raise DataError(f"{block.where(bad)}: {errors[bad]} (--errors keep skips such rows)")
        good = [outcome for outcome in outcomes if not isinstance(outcome, str)]
        return Answers({spec.name: _gather(spec, [row[spec.name] for row in good]) for spec in self.outputs}, errors)

    def _stacked(self, block: Block) -> dict[str, Array] | None:
        """Score all rows together; ``None`` if that fails and each must be checked."""
        try:
            arrays = block.stack()
            if arrays is None:
                return None
            check_inputs(self.inputs, arrays)
            runs = [
                self.predictor.run({name: array[start : start + self.batch] for name, array in arrays.items()})
                for start in range(0, len(block), self.batch)
            ]
            outputs = {spec.name: np.concatenate([run[spec.name] for run in runs]) for spec in self.outputs}
            refuse_not_finite(outputs)
        except Exception:  # ONNX Runtime's exceptions share no public base class.
            return None
        return outputs

    def _row_by_row(self, block: Block) -> list[Outcome]:
        requests = self._read(block)
        outcomes: list[Outcome] = [entry if isinstance(entry, str) else {} for entry in requests]
        good = [(index, entry) for index, entry in enumerate(requests) if not isinstance(entry, str)]
        checked = [entry for _, entry in good]
        for group in group_requests(self.inputs, checked, self.batch, self._cost.seconds):
            for place, outcome in zip(group, self._run([checked[place] for place in group]), strict=True):
                outcomes[good[place][0]] = outcome
        return outcomes

    def _read(self, block: Block) -> list[CheckedInputs | str]:
        try:
            return [self._check(arrays) for arrays in block.rows()]
        except RequestError:
            return [self._one(lambda index=index: self._check(block.row(index))) for index in range(len(block))]  # type: ignore[misc]

    @staticmethod
    def _one(read: Callable[[], CheckedInputs]) -> CheckedInputs | str:
        try:
            return read()
        except RequestError as error:
            return str(error)

    def _check(self, arrays: dict[str, Array]) -> CheckedInputs:
        for spec in self.inputs:
            if spec.owner_of:
                arrays[spec.name] = np.zeros(dim_size(spec.owner_of, self.inputs, arrays), dtype=np.int64)
            elif spec.padding is not None:
                arrays = fill_in(self.inputs, arrays)
        return CheckedInputs(arrays, check_inputs(self.inputs, arrays), count_rows(self.inputs, arrays))

    def _run(self, requests: Sequence[CheckedInputs]) -> list[Outcome]:
        try:
            outputs = self.predictor.run(join_requests(self.inputs, requests))
        except Exception as error:
            if len(requests) > 1:
                return [outcome for request in requests for outcome in self._run([request])]
            reason = (
                str(error) if isinstance(error, LadingError) else f"the model failed on it ({type(error).__name__})"
            )
            return [reason]
        return [_finite(part) for part in part_outputs(self.outputs, outputs, requests, self._padded)]


def batch_of(artifact: Artifact, variant: str | None, asked: int = 0) -> int:
    """Rows of one run: ``asked``, or the size with the lowest measured cost per row; 1 if rows cannot be joined."""
    if not joinable(artifact.manifest.inputs, artifact.manifest.outputs):
        return 1
    measurement = artifact.variant(variant).measurement
    return asked or CostTable.of(measurement).cheapest_batch


def _finite(outputs: Mapping[str, Array]) -> Outcome:
    try:
        refuse_not_finite(outputs)
    except RequestError as error:
        return str(error)
    return outputs


def _gather(spec: TensorSpec, rows: list[Array]) -> Array | list[Array]:
    if spec.batched and _fixed(spec):
        empty = np.zeros((0, *(int(dim) for dim in spec.shape[1:])), dtype=spec.numpy_dtype)
        return np.concatenate(rows) if rows else empty
    return [row[0] if spec.batched else row for row in rows]


def _fixed(spec: TensorSpec) -> bool:
    """Whether the batch dim is the only symbolic one."""
    return spec.shape[0] == BATCH and all(isinstance(dim, int) for dim in spec.shape[1:])
