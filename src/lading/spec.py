"""What a user writes about a model, and the frozen types that all other modules read.

This module imports neither torch nor ONNX Runtime, because servers read ``TensorSpec`` and ``Variant`` too.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np
from pydantic import Field

from lading.errors import SpecError
from lading.tensor_spec import BATCH, NAME, Array, Dim, DType, Frozen, Padding, TensorSpec

if TYPE_CHECKING:
    import torch

__all__ = [
    "BATCH",
    "VARIANTS",
    "Array",
    "Budget",
    "DType",
    "Dataset",
    "Described",
    "Dim",
    "Evaluated",
    "Example",
    "Frozen",
    "Grouped",
    "ModelSpec",
    "Padding",
    "Quantization",
    "TensorSpec",
    "Variant",
    "check_spec",
]

Example = tuple[Mapping[str, Array], Mapping[str, Array]]
"""An item of a data set: inputs by name and targets by name, both without the batch dim."""


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
    search_seconds: float = Field(default=300.0, ge=0.0)
    """Most seconds of that search. When they are over, the best that it has found is kept."""
    form: Literal["measured", "thick", "all", "elementwise", "but-first"] = "measured"
    """Which operators static int8 quantizes: the fastest of the others by measurement, convolutions of four and more
    channels, all, all with the elementwise operators between them, or these but for the first."""


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


@runtime_checkable
class ReadsFiles(Protocol):
    """A data set that reads a photo of its own kind: the inputs of one example, without the batch dim."""

    def read(self, file: Path, /) -> Mapping[str, Array]: ...


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
    if not NAME.match(spec.name):
        raise SpecError(f"{where}: a model's name is a letter or _ and up to 63 letters, digits, '_', '-' or '.'")
    _refuse_duplicates(where, "tensor", [tensor.name for tensor in (*spec.inputs, *spec.outputs)])
    for tensor in spec.outputs:  # an answer is an object by label
        _refuse_duplicates(f"{where}: output {tensor.name!r}", "label", tensor.labels or ())
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
    strings = [tensor.name for tensor in (*spec.inputs, *spec.outputs) if tensor.dtype == "string"]
    if strings and isinstance(spec, ModelSpec):
        raise SpecError(
            f"{where}: torch has no strings, and {strings[0]!r} is one: declare an integer with categories=(...), "
            "which a request names by strings"
        )
    columns = [column.name for tensor in spec.inputs for column in tensor.columns]
    _refuse_duplicates(where, "input column", [*(tensor.name for tensor in spec.inputs), *columns])
    dims = {dim for tensor in spec.inputs for dim in tensor.symbolic_dims}
    for tensor in spec.inputs:
        for pointed in (tensor.indexes, tensor.owner_of):
            if pointed is not None and pointed not in dims:
                raise SpecError(f"{where}: tensor {tensor.name!r} points into {pointed!r}, but no input has that dim")
    padded = [tensor.padded_dim for tensor in spec.inputs if tensor.padding]
    required = {dim for tensor in spec.inputs if not tensor.optional for dim in tensor.symbolic_dims}
    for tensor in spec.inputs:
        if tensor.mask_of is not None and tensor.mask_of not in padded:
            raise SpecError(f"{where}: tensor {tensor.name!r} is the mask of {tensor.mask_of!r}, which no input pads")
        if tensor.default is not None and not required.issuperset(tensor.symbolic_dims):
            raise SpecError(f"{where}: tensor {tensor.name!r} has a default, and a dim that no required input has")
    if len(padded) > len(set(padded)):
        raise SpecError(f"{where}: two inputs pad the same dim: give one of them the padding")


def _refuse_duplicates(where: str, kind: str, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SpecError(f"{where}: two {kind}s are named {twice[0]!r}")
