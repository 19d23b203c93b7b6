"""The trained module in torch: the baseline for speed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from lading.build.train.checkpoint import load_checkpoint
from lading.build.verify.timing import COMPILED
from lading.spec import Array, ModelSpec

Runner = Callable[[], object]


class TorchBaselines:
    """Runs one checkpoint eagerly and compiled, on a given number of threads.

    Raises:
        CheckpointError: the weights cannot be loaded.
    """

    def __init__(self, spec: ModelSpec, checkpoint: Path) -> None:
        self.spec = spec
        self.module, _ = load_checkpoint(spec, checkpoint)
        self.absent: dict[str, str] = {}
        """Why a baseline cannot be run, by name."""
        self._compiled: Callable[..., object] | None = None

    def eager(self, inputs: Mapping[str, Array], threads: int) -> Runner:
        """Return a call that runs one batch as ``module(*inputs)`` would in a notebook."""
        return _runner(self.module, self._tensors(inputs), threads)

    def compiled(self, inputs: Mapping[str, Array], threads: int) -> Runner | None:
        """The same with ``torch.compile``; ``None`` if it cannot compile, with the reason in ``absent``."""
        if COMPILED in self.absent:
            return None
        self._compiled = self._compiled or torch.compile(self.module)
        run = _runner(self._compiled, self._tensors(inputs), threads)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the compiler's own deprecations
                run()
        except Exception as error:  # A missing compiler, a C++ error or an unsupported operator.
            self.absent[COMPILED] = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"
            return None
        return run

    def _tensors(self, inputs: Mapping[str, Array]) -> list[torch.Tensor]:
        return [torch.from_numpy(np.ascontiguousarray(inputs[tensor.name])) for tensor in self.spec.inputs]


def _runner(module: Callable[..., object], tensors: list[torch.Tensor], threads: int) -> Runner:
    def run() -> object:
        # The number belongs to the process, and runners with another number take turns with this one.
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        with torch.inference_mode():
            return module(*tensors)

    return run
