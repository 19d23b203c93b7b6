"""What a user writes about a model, and the frozen types that everything else reads.

This module imports neither torch nor ONNX Runtime: the serving image reads ``TensorSpec`` and ``Variant`` too.
"""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from lading.errors import SpecError

if TYPE_CHECKING:
    import torch

Array = NDArray[Any]
Example = tuple[Mapping[str, Array], Mapping[str, Array]]
"""One item of a data set: inputs by name and targets by name, both without the batch dim."""

DType = Literal[
    "bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64"
]
Dim = int | str
BATCH = "batch"

_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")


class Frozen(BaseModel):
    """Base of the value types: immutable, and a misspelt field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TensorSpec(Frozen):
    """One named tensor of a model, batch dim included.

    ``shape`` mixes sizes and symbolic names. ``"batch"`` leads a tensor that stacks a row a request. Any other leading
    name ("nodes", "edges") is ragged: requests are concatenated along it, and a tensor with ``indexes="nodes"`` is
    shifted by each request's offset into that dim.
    """

    name: str
    dtype: DType
    shape: tuple[Dim, ...]
    labels: tuple[str, ...] | None = None
    """Names of the last dim's entries."""
    content: str | None = None
    """What encoded files a request may carry instead of numbers: ``image`` is a JPEG, PNG or WebP file.

    The types are the files of ``lading/content/``, which check dtype and shape when a spec or an artifact is loaded."""
    indexes: str | None = None
    """The ragged dim that this integer tensor's values point into."""
    owner_of: str | None = None
    """This int64 vector names, for each row of the ragged dim given here, its request; the server fills it."""
    minimum: float | None = None
    maximum: float | None = None
    max_rows: int | None = Field(default=None, ge=1)
    """Largest size of the ragged dim in one example: what a request may make the model compute."""
    unit: str | None = None
    sensitive: bool = False
    """Its values are never logged, only its shape."""
    description: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> TensorSpec:
        where = f"tensor {self.name!r}"
        if not _NAME.match(self.name):
            raise ValueError(f"{where}: a name is a letter or _ and up to 63 letters, digits, '_', '-' or '.'")
        if not self.shape:
            raise ValueError(f"{where}: the shape needs at least the {BATCH!r} dim")
        for dim in self.shape:
            if isinstance(dim, int) and dim < 1:
                raise ValueError(f"{where}: the size {dim} in shape {self.shape} must be at least 1")
            if isinstance(dim, str) and not _NAME.match(dim):
                raise ValueError(f"{where}: {dim!r} is not a name for a symbolic dim")
        if not self.symbolic_dims:
            raise ValueError(
                f"{where}: shape {self.shape} has neither {BATCH!r} nor a ragged dim, so it cannot be batched"
            )
        if self.labels is not None and self.shape[-1] != len(self.labels):
            raise ValueError(f"{where}: {len(self.labels)} labels for a last dim of {self.shape[-1]}")
        if (self.indexes or self.owner_of) and self.dtype != "int64":
            raise ValueError(f"{where}: a tensor of indexes is int64, not {self.dtype}")
        if self.max_rows is not None and self.batched:
            raise ValueError(f"{where}: max_rows bounds a ragged dim, and {self.shape} has none in front of it")
        return self

    @cached_property
    def numpy_dtype(self) -> np.dtype[Any]:
        return np.dtype(self.dtype)

    @property
    def symbolic_dims(self) -> tuple[str, ...]:
        return tuple(dim for dim in self.shape if isinstance(dim, str))

    @cached_property
    def batched(self) -> bool:
        """True when requests stack along a leading ``batch`` dim; False when the tensor is ragged."""
        return self.shape[0] == BATCH

    @cached_property
    def ragged_axis(self) -> int:
        """The dim along which requests are concatenated: the first symbolic one (``edge_index`` is (2, "edges"))."""
        return next(axis for axis, dim in enumerate(self.shape) if isinstance(dim, str))

    @property
    def example_shape(self) -> tuple[Dim, ...]:
        """The shape of one request's tensor: without ``batch``; a ragged tensor keeps its own dims."""
        return self.shape[1:] if self.batched else self.shape


class Quantization(Frozen):
    """How a graph's numbers are made smaller; ``None`` in a variant means float32."""

    method: str
    """``static`` (int8 with calibration), ``dynamic`` (int8 without), ``int4`` (weights only) or ``fp16``.

    Checked when a build starts, against ``lading/build/quantize/recipes.py``. A server reads the graph alone, so it
    also serves methods that are newer than itself."""
    calibration: Literal["minmax", "entropy", "percentile"] = "minmax"
    calibration_examples: int = Field(default=128, ge=1)
    per_channel: bool = True
    reduce_range: bool = False
    """Keep weights to 7 bits, so that x86 without VNNI does not saturate."""
    exclude: tuple[str, ...] = ()
    """Node names kept in float32, as regular expressions."""
    sensitivity_search: bool = True
    """Find the layers whose quantization costs most and keep them in float32 until the score drop is allowed."""


class Variant(Frozen):
    """One way to make the model smaller or faster, with what it may cost."""

    name: str
    pruning: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the multiply-accumulates removed, 0 to 1."""
    quantization: Quantization | None = None
    max_score_drop: float = Field(default=0.01, ge=0.0)
    """Largest allowed loss against fp32, in units of the score."""
    device: Literal["cpu", "gpu"] = "cpu"
    required: bool = False
    """The build fails with exit code 3 when this variant is refused."""


VARIANTS: tuple[Variant, ...] = (
    Variant(name="fp32", max_score_drop=0.0, required=True),
    Variant(name="int8", quantization=Quantization(method="static")),
    Variant(name="int8-entropy", quantization=Quantization(method="static", calibration="entropy")),
    Variant(name="int8-percentile", quantization=Quantization(method="static", calibration="percentile")),
    Variant(name="int8-dynamic", quantization=Quantization(method="dynamic")),
    Variant(name="fp16", quantization=Quantization(method="fp16"), device="gpu"),
    Variant(name="pruned30", pruning=0.3),
    Variant(name="pruned50", pruning=0.5),
    Variant(name="pruned30-int8", pruning=0.3, quantization=Quantization(method="static")),
    Variant(name="pruned50-int8", pruning=0.5, quantization=Quantization(method="static")),
)
"""The variants that a build makes unless the spec says otherwise. Data, in one place."""


class Budget(Frozen):
    """What every variant must hold to, besides its own allowed score drop."""

    min_score: float | None = None
    """The least score that fp32 itself must reach."""
    min_speedup: float = Field(default=1.0, ge=0.0)
    """Median latency of fp32 over the variant's, at batch 1 on one thread; beyond noise, whatever the number."""
    max_size_mib: float | None = Field(default=None, gt=0)
    max_latency_ms: float | None = Field(default=None, gt=0)
    """Largest p99 of one inference at batch 1 on one thread, in milliseconds."""


class Dataset(Protocol):
    """Anything with a length and items: a list will do, and so will a ``torch.utils.data.Dataset``."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Example: ...


@runtime_checkable
class Grouped(Protocol):
    """A data set that says which of its examples belong together: pictures of one deck, rows of one client."""

    def group(self, index: int, /) -> Hashable: ...


class Evaluated(ABC):
    """A model that can be run and scored: what quantize, verify and pack need. A bare ONNX file is one.

    A field is stated in the class, or set in ``__init__`` where it depends on an option.
    """

    name: str
    version: str = "1"
    description: str = ""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    variants: tuple[Variant, ...] = VARIANTS
    budget: Budget = Budget()
    score_name: str = "score"
    test_splits: tuple[str, ...] = ("test",)
    """Splits that verify reports; the gates read the first."""

    @abstractmethod
    def dataset(self, split: str) -> Dataset:
        """Return the examples of ``train``, ``valid``, or one of ``test_splits``."""

    @abstractmethod
    def score(self, outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
        """Return how good the outputs are over a whole split; higher is better, and budgets are in its units."""

    def reference(self) -> Dataset:
        """Return what live requests are compared with; ``valid`` by default, since a model is more certain of what it
        was trained on than it will be of anything live.

        A data set that also has ``group(index)`` says which examples are alike (:class:`Grouped`): the thresholds of
        drift then allow for requests that come in such groups. Many groups of a few examples say more than a few large
        ones.
        """
        return self.dataset("valid")


class ModelSpec(Evaluated):
    """Everything Lading must be told about a model, in one class of one file.

    A subclass states ``name``, ``inputs``, ``outputs`` and four methods. Constructor arguments with defaults become the
    ``model.*`` keys of the training configuration. ``build()`` returns a ``torch.nn.Module`` whose ``forward`` takes
    the inputs in order, batched, and returns the outputs in order as the client shall see them: scaling, normalising
    and softmax belong inside.
    """

    prune_protect: tuple[str, ...] = ()
    """Names of submodules that pruning leaves whole, beside every module that makes an output."""

    @abstractmethod
    def build(self) -> torch.nn.Module:
        """Return a fresh, untrained module."""

    @abstractmethod
    def loss(self, outputs: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the scalar that training makes smaller. Targets are batched as the inputs are."""

    def adapt(self, module: torch.nn.Module) -> None:
        """Set what a fresh module takes from the training data before it is trained, such as the statistics that it
        normalises with; the default leaves it as it is. Keep them in buffers, so that they travel with the weights."""

    def augment(self, inputs: Mapping[str, Array], _rng: np.random.Generator) -> Mapping[str, Array]:
        """Change one training example at random; the default leaves it as it is."""
        return inputs

    def checkpoint(self, pruning: float = 0.0) -> Path:
        """Where the reference checkpoint lies: beside the model's file, named for the model.

        A pruned one's name ends with the percentage of multiply-accumulates removed: ``cards-pruned50.safetensors``.
        """
        suffix = f"-pruned{round(pruning * 100)}" if pruning else ""
        return Path(inspect.getfile(type(self))).with_name(f"{self.name}{suffix}.safetensors")


def check_spec(spec: Evaluated) -> None:
    """Refuse a spec whose tensors or variants contradict each other.

    Raises:
        SpecError: lists the first contradiction, by tensor or variant name.
    """
    where = f"model {spec.name!r}"
    if not _NAME.match(spec.name):
        raise SpecError(f"{where}: a model's name is a letter or _ and up to 63 letters, digits, '_', '-' or '.'")
    _refuse_duplicates(where, "tensor", [tensor.name for tensor in (*spec.inputs, *spec.outputs)])
    _refuse_duplicates(where, "variant", [variant.name for variant in spec.variants])
    if not any(variant.pruning == 0 and variant.quantization is None for variant in spec.variants):
        raise SpecError(f"{where}: the variants need a plain fp32 one, which all others are compared with")
    dims = {dim for tensor in spec.inputs for dim in tensor.symbolic_dims}
    for tensor in spec.inputs:
        for pointed in (tensor.indexes, tensor.owner_of):
            if pointed is not None and pointed not in dims:
                raise SpecError(f"{where}: tensor {tensor.name!r} points into {pointed!r}, a dim that no input has")


def _refuse_duplicates(where: str, kind: str, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SpecError(f"{where}: two {kind}s are named {twice[0]!r}")
