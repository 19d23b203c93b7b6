"""Types that a weights file may name besides tensors: options and numbers that trainers save next to the weights.

Most are replaced by a stand-in that keeps nothing, because only tensors are read. So none of their code runs either,
and they need not be installed.
"""

from __future__ import annotations

import collections
from typing import Any

import numpy as np


class Ignored:
    """Stands for an object whose content is not read."""

    def __new__(cls, *_: Any) -> Ignored:
        return object.__new__(cls)

    def __setstate__(self, state: Any) -> None:
        """Keep nothing."""


def _mapping(*_: Any) -> dict[Any, Any]:
    # A plain mapping: the reader fills no other kind.
    return {}


_IGNORED = (
    "argparse.Namespace",
    "types.SimpleNamespace",
    *(f"{module}.{name}" for module in ("pathlib", "pathlib._local") for name in ("PosixPath", "WindowsPath")),
    *(f"pathlib.{name}" for name in ("Path", "PurePath", "PurePosixPath", "PureWindowsPath")),
    *(f"datetime.{name}" for name in ("datetime", "date", "time", "timedelta", "timezone")),
    *("decimal.Decimal", "fractions.Fraction", "uuid.UUID", "typing.Any", "builtins.slice", "builtins.range"),
    *(f"builtins.{name}" for name in ("dict", "list", "tuple", "int", "float", "str", "bool", "bytes", "frozenset")),
    *("omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig", "omegaconf.base.Metadata"),
    *("omegaconf.base.ContainerMetadata", "omegaconf.base.Node", "omegaconf.base.SCMode"),
    *(
        f"omegaconf.nodes.{kind}Node"
        for kind in ("Any", "String", "Integer", "Float", "Boolean", "Bytes", "Path", "Enum", "InterpolationResult")
    ),
    "torch.torch_version.TorchVersion",
)
_MAPPINGS = (
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "lightning.pytorch.utilities.parsing.AttributeDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "pytorch_lightning.utilities.data.AttributeDict",
)
_NUMPY = tuple(
    (made.__reduce__()[0], f"numpy.{core}.multiarray.{name}")
    for core in ("core", "_core")
    for made, name in ((np.float64(0), "scalar"), (np.empty(0), "_reconstruct"))
)
_DTYPES = tuple({type(np.dtype(code)) for code in "?bBhHiIlLqQefdFD"})

HARMLESS: tuple[Any, ...] = (
    *((Ignored, name) for name in _IGNORED),
    *((dict, name) for name in _MAPPINGS),
    (_mapping, "collections.defaultdict"),
    *_NUMPY,
    *(np.dtype, np.ndarray, *_DTYPES),
    collections.OrderedDict,
)
"""What torch.serialization.safe_globals takes: a type, or what stands for a name."""
