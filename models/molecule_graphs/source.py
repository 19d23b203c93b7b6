"""The source of molecules: generated, or QM9, behind one interface."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lading.spec import TensorSpec
from models.molecule_graphs.generated import generated
from models.molecule_graphs.molecule_split import MoleculeSplit
from models.molecule_graphs.properties import COMPUTED, QM9
from models.molecule_graphs.qm9 import qm9


class Source:
    """One data set.

    Args:
        data: ``generated`` or ``qm9``.
        count: generated molecules, of all splits.
        root: folder of QM9.
    """

    def __init__(self, data: Literal["generated", "qm9"], count: int, root: str | None) -> None:
        self.data, self.count, self.root = data, count, root
        self.properties = QM9 if data == "qm9" else tuple(COMPUTED)

    def split(self, name: str) -> MoleculeSplit:
        """The molecules of ``train``, ``valid`` or ``test``."""
        if self.data == "qm9":
            return qm9(name, Path(self.root) if self.root else None)
        return generated(name, self.count)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """One float32 (batch,) a property, with its unit."""
        return tuple(
            TensorSpec(name=p.name, dtype="float32", shape=("batch",), unit=p.unit, description=p.description)
            for p in self.properties
        )

    @cached_property
    def statistics(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation of each property over the training split."""
        return self.split("train").statistics()
