"""What a user writes about a model, and the frozen types that all other modules read.

This module imports neither torch nor ONNX Runtime, because servers read ``TensorSpec`` and ``Variant`` too.
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
"""An item of a data set: inputs by name and targets by name, both without the batch dim."""

DType = Literal[
    "bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64"
]
Dim = int | str
BATCH = "batch"

_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")


class Frozen(BaseModel):
    """Base of the value types: immutable, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TensorSpec(Frozen):
    """One named tensor of a model, batch dim included.

    ``shape`` mixes sizes and symbolic names. A first dim ``"batch"`` stacks one row per request. Any other first name
    ("nodes", "edges") is ragged: requests are concatenated along it. A tensor with ``indexes="nodes"`` is then shifted
    by the number of nodes in the requests before.
    """

    name: str
    dtype: DType
    shape: tuple[Dim, ...]
    labels: tuple[str, ...] | None = None
    """Name of each entry of the last dim."""
    alias: str | None = None
    """Its name in the file that the graph came from. A request may use it, too."""
    content: str | None = None
    """Of an input: the files that a request may carry instead of numbers, such as ``image``; see ``lading.content``.
    Of an output: what its numbers stand for, such as ``embedding``; see ``lading.answers``.

    Dtype and shape are checked against it when a spec or an artifact is loaded."""
    classes: tuple[str, ...] | None = None
    """Names of the classes that an output of content ``boxes`` or ``mask`` has as values."""
    rate: int | None = Field(default=None, ge=1_000, le=768_000)
    """Samples per second of a tensor with content ``audio``. Files of another rate are resampled."""
    fit: Literal["start", "middle", "refuse"] = "start"
    """Which part of a longer recording is kept, or that it is refused. A shorter one is padded with zeros: at its end,
    or on both sides for ``middle``."""
    indexes: str | None = None
    """The ragged dim that the values of this integer tensor are indexes into."""
    owner_of: str | None = None
    """The ragged dim whose rows this int64 vector assigns to requests. The server fills it in."""
    minimum: float | None = None
    maximum: float | None = None
    max_rows: int | None = Field(default=None, ge=1)
    """Largest size of the ragged dim in one example. It limits the work that a request can cause."""
    missing: bool = False
    """NaN stands for a missing value (in JSON: null). Otherwise it is refused, as infinities always are."""
    unit: str | None = None
    sensitive: bool = False
    """Log the shape only, never the values."""
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
        if self.content is None and (self.rate is not None or self.fit != "start"):
            raise ValueError(f"{where}: rate and fit are for recordings, and it has no content")
        if self.missing and not self.dtype.startswith("float"):
            raise ValueError(f"{where}: only floats can be missing, and it is {self.dtype}")
        if self.max_rows is not None and self.batched:
            raise ValueError(f"{where}: max_rows bounds a ragged dim, and {self.shape} has none in front of it")
        return self

    @cached_property
    def numpy_dtype(self) -> np.dtype[Any]:
        return np.dtype(self.dtype)

    @cached_property
    def scores_labels(self) -> bool:
        """True if the last dim scores the labels as classes; otherwise the labels, if any, name numbers."""
        return self.labels is not None and self.unit is None and self.dtype.startswith("float")

    @property
    def symbolic_dims(self) -> tuple[str, ...]:
        return tuple(dim for dim in self.shape if isinstance(dim, str))

    @cached_property
    def batched(self) -> bool:
        """True if the first dim is ``batch``; False if the tensor is ragged."""
        return self.shape[0] == BATCH

    @cached_property
    def ragged_axis(self) -> int:
        """Index of the dim along which requests are concatenated: the first symbolic one. It is 1 for (2, "edges")."""
        return next(axis for axis, dim in enumerate(self.shape) if isinstance(dim, str))

    @property
    def example_shape(self) -> tuple[Dim, ...]:
        """Shape of one example: without ``batch``. A ragged tensor keeps all dims."""
        return self.shape[1:] if self.batched else self.shape


class Quantization(Frozen):
    """How the numbers of a graph are made smaller. A variant without it is float32."""

    method: str
    """``static`` (int8 with calibration), ``dynamic`` (int8 without), ``int4`` (weights only) or ``fp16``.

    Checked when a build starts, against ``lading/build/quantize/recipes.py``. A server reads the graph alone, so it
    also serves methods that are newer than itself."""
    calibration: Literal["minmax", "entropy", "percentile"] = "minmax"
    calibration_examples: int = Field(default=128, ge=1)
    per_channel: bool = True
    reduce_range: bool = False
    """Use 7 bits for weights, so that sums do not saturate on x86 without VNNI."""
    exclude: tuple[str, ...] = ()
    """Regular expressions. A node with a matching name stays in float32."""
    sensitivity_search: bool = True
    """If the score drops too far, find the layers that cost most and keep them in float32."""


class Variant(Frozen):
    """One way to make the model smaller or faster, and the largest loss it may cause."""

    name: str
    pruning: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the multiply-accumulates removed, 0 to 1."""
    quantization: Quantization | None = None
    max_score_drop: float = Field(default=0.01, ge=0.0)
    """Largest allowed drop from the score of fp32, in units of the score. The 95 % interval of the drop must end below.

    With few test examples that takes a larger one: a share of right answers needs 370 examples for 0.01, even if not a
    single answer changes."""
    device: Literal["cpu", "gpu"] = "cpu"
    required: bool = False
    """If this variant is refused, the build fails with exit code 3."""


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
"""The variants that a build makes unless the spec sets its own."""


class Budget(Frozen):
    """Limits for every variant, in addition to its own allowed score drop."""

    min_score: float | None = None
    """Minimum score of fp32."""
    min_speedup: float = Field(default=1.0, ge=0.0)
    """Minimum of fp32's median latency divided by the variant's, at batch 1 on one thread.

    A variant must always be faster by more than noise, even if this is 0."""
    max_size_mib: float | None = Field(default=None, gt=0)
    max_latency_ms: float | None = Field(default=None, gt=0)
    """Maximum p99 of one inference at batch 1 on one thread, in milliseconds."""
    max_shared: float = Field(default=0.01, ge=0.0, le=1.0)
    """Maximum share of the test examples whose inputs are also in ``train``. Raise it where few inputs are possible."""


class Dataset(Protocol):
    """Anything with a length and items, such as a list or a ``torch.utils.data.Dataset``."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Example: ...


@runtime_checkable
class Grouped(Protocol):
    """A data set that tells which examples belong together, such as pictures of one deck or rows of one client."""

    def group(self, index: int, /) -> Hashable: ...


@runtime_checkable
class Described(Protocol):
    """A data set that knows drift features of its examples better than their tensors show them."""

    def described(self, index: int, /) -> Mapping[str, Array]: ...


class Evaluated(ABC):
    """A model that can be run and scored. Quantize, verify and pack need no more; a bare ONNX file is one.

    Set a field in the class, or in ``__init__`` if it depends on an option.
    """

    name: str
    version: str = "1"
    description: str = ""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    variants: tuple[Variant, ...] = VARIANTS
    budget: Budget = Budget()
    score_name: str = "score"
    max_batch: int | None = None
    """Most examples in one run of a bare graph; ``None``: any number, as of every model that is exported here."""
    test_splits: tuple[str, ...] = ("test",)
    """Splits that verify scores. The gates use the first."""

    @abstractmethod
    def dataset(self, split: str) -> Dataset:
        """Return the examples of ``train``, ``valid``, or one of ``test_splits``."""

    @abstractmethod
    def score(self, outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
        """Score the outputs of a whole split. Higher is better; budgets are in the same units."""

    def reference(self) -> Dataset:
        """Return the examples that live requests are compared with.

        The default is ``valid``: a model is more certain about its training data than about any live request.

        A data set with ``group(index)`` tells which examples belong together (:class:`Grouped`). The drift thresholds
        then allow for requests that arrive in such groups. Many small groups are better than a few large ones.
        """
        return self.dataset("valid")

    def at_most(self, batch: int) -> int:
        """The batch size, or the largest that the graph takes."""
        return min(batch, self.max_batch or batch)


class ModelSpec(Evaluated):
    """Everything that Lading needs to know about a model, in one class in one file.

    A subclass sets ``name``, ``inputs`` and ``outputs``, and defines four methods. Constructor arguments with defaults
    become the ``model.*`` keys of the training configuration. ``build()`` returns a ``torch.nn.Module``. Its
    ``forward`` takes the batched inputs in order and returns the outputs in order, as the client sees them: scaling,
    normalising and softmax belong inside.
    """

    prune_protect: tuple[str, ...] = ()
    """Names of submodules that are not pruned. Layers that make an output never are."""

    @abstractmethod
    def build(self) -> torch.nn.Module:
        """Return a fresh, untrained module."""

    @abstractmethod
    def loss(self, outputs: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the scalar that training minimises. Targets are batched like the inputs."""

    def adapt(self, module: torch.nn.Module) -> None:
        """Set what a new module takes from the training data, such as the statistics that it normalises with.

        Called before training; the default does nothing. Use buffers, so that the values are saved with the weights.
        """

    def augment(self, inputs: Mapping[str, Array], _rng: np.random.Generator) -> Mapping[str, Array]:
        """Change one training example at random. The default returns it unchanged."""
        return inputs

    def checkpoint(self, pruning: float = 0.0) -> Path:
        """Path of the reference checkpoint: next to the model's file, with the name of the model.

        With pruning, the name ends with the percentage of multiply-accumulates removed: ``cards-pruned50.safetensors``.
        """
        suffix = f"-pruned{round(pruning * 100)}" if pruning else ""
        return Path(inspect.getfile(type(self))).with_name(f"{self.name}{suffix}.safetensors")


def check_spec(spec: Evaluated) -> None:
    """Check that the tensors and variants of a spec fit together.

    Raises:
        SpecError: they do not; the message names the tensor or variant.
    """
    where = f"model {spec.name!r}"
    if not _NAME.match(spec.name):
        raise SpecError(f"{where}: a model's name is a letter or _ and up to 63 letters, digits, '_', '-' or '.'")
    _refuse_duplicates(where, "tensor", [tensor.name for tensor in (*spec.inputs, *spec.outputs)])
    _refuse_duplicates(where, "variant", [variant.name for variant in spec.variants])
    if not any(variant.pruning == 0 and variant.quantization is None for variant in spec.variants):
        raise SpecError(
            f"{where}: add a variant without pruning and quantization (fp32): all others are compared with it"
        )
    if spec.max_batch is not None and isinstance(spec, ModelSpec):
        raise SpecError(
            f"{where}: max_batch is for a bare graph, and an exported model takes any batch: leave it out, or export "
            "the graph yourself and `lading pack` it"
        )
    dims = {dim for tensor in spec.inputs for dim in tensor.symbolic_dims}
    for tensor in spec.inputs:
        for pointed in (tensor.indexes, tensor.owner_of):
            if pointed is not None and pointed not in dims:
                raise SpecError(f"{where}: tensor {tensor.name!r} points into {pointed!r}, but no input has that dim")


def _refuse_duplicates(where: str, kind: str, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SpecError(f"{where}: two {kind}s are named {twice[0]!r}")
