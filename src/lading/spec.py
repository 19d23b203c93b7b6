"""What a user writes about a model, and the frozen types that all other modules read.

This module imports neither torch nor ONNX Runtime, because servers read ``TensorSpec`` and ``Variant`` too.
"""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from lading.errors import SpecError
from lading.preprocess import Preprocess

if TYPE_CHECKING:
    import torch

Array = NDArray[Any]
Example = tuple[Mapping[str, Array], Mapping[str, Array]]
"""An item of a data set: inputs by name and targets by name, both without the batch dim."""

DType = Literal[
    "bool",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "float32",
    "float64",
    "string",
]
Dim = int | str
BATCH = "batch"

_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")


class Frozen(BaseModel):
    """Base of the value types: immutable, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Padding(Frozen):
    """How examples of different lengths share a run: each is filled up to the longest of them.

    A mask (``TensorSpec.mask_of``) tells the model what was filled up.
    """

    max_length: int = Field(ge=1)
    """Largest length of one example. It limits the work that a request can cause."""
    value: int = 0
    """What a shorter example is filled up with: the number of the padding token."""
    truncate: bool = False
    """Cut a longer text to ``max_length`` tokens. Otherwise it is refused, as longer lists of numbers always are."""
    buckets: tuple[int, ...] = ()
    """Lengths that a run is rounded up to, ascending, for a graph that takes no others; empty: any length.

    ONNX Runtime runs any length on a CPU, and rounding up costs time (decision 34)."""

    @model_validator(mode="after")
    def _consistent(self) -> Padding:
        if any(low >= high for low, high in pairwise((0, *self.buckets))):
            raise ValueError(f"padding: the buckets {self.buckets} must ascend from 1")
        if self.buckets and self.buckets[-1] != self.max_length:
            raise ValueError(f"padding: the last bucket must be max_length, {self.max_length}, not {self.buckets[-1]}")
        return self

    def run_length(self, length: int) -> int:
        """The length that a run has in which ``length`` is the longest: the next bucket, if there are buckets."""
        return next((bucket for bucket in self.buckets if bucket >= length), length)


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
    """Name of each entry of the last dim. Of an input of shape (batch, n), each may be sent as a column of its own."""
    alias: str | None = None
    """Its name in the file that the graph came from. A request may use it, too."""
    content: str | None = None
    """Of an input: the files that a request may carry instead of numbers, such as ``image``; see ``lading.content``.
    Of an output: what its numbers stand for, such as ``embedding``; see ``lading.answers``.

    Dtype and shape are checked against it when a spec or an artifact is loaded."""
    preprocess: Preprocess | None = None
    """How a picture becomes this tensor; default: it is stretched to uint8 RGB. Training reads photos the same way with
    ``lading.content.image.as_tensor``."""
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
    tokenizer: str | None = None
    """With ``content="text"``, a ``tokenizer.json`` of the package ``tokenizers``.

    In a model's source it is a path, from the folder of the source. In an artifact it is ``sha256:`` and the hash of
    one of the artifact's files."""
    padding: Padding | None = None
    """The first symbolic dim after ``batch`` has another size in each request, and is filled up where requests are
    joined. Outputs with this dim are cut back."""
    mask_of: str | None = None
    """The padded dim of which this (batch, dim) tensor is the mask: 1 for what an example holds, 0 for the filling.

    The server fills it in where a request leaves it out."""
    default: int | None = None
    """Every value of this tensor where a request leaves it out, such as 0 for token types."""
    minimum: float | None = None
    maximum: float | None = None
    max_rows: int | None = Field(default=None, ge=1)
    """Largest size of the ragged dim in one example. It limits the work that a request can cause."""
    missing: bool = False
    """NaN stands for a missing value (in JSON: null). Otherwise it is refused, as infinities always are.

    Of an input with categories, null becomes the code ``unknown``."""
    categories: tuple[str, ...] | None = None
    """Of integers: names of the codes 0, 1, ...; a request may carry a name or a code. Of strings: the known values.

    The model's graph decides about other strings; other names for integers are refused, or become ``unknown``."""
    unknown: int | None = None
    """The code for a category that is not in ``categories``."""
    max_bytes: int = Field(default=4096, ge=1)
    """Most bytes of one string, in UTF-8."""
    unit: str | None = None
    sensitive: bool = False
    """Log the shape only, never the values."""
    description: str = ""

    @model_validator(mode="before")
    @classmethod
    def _codes(cls, given: Any) -> Any:
        """The range of codes follows from the categories."""
        if isinstance(given, dict) and given.get("categories") and given.get("dtype") != "string":
            known = len(given["categories"])
            unknown = given.get("unknown")
            codes = [0, known - 1, *([unknown] if isinstance(unknown, int) else [])]
            return {"minimum": min(codes), "maximum": max(codes)} | given
        return given

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
        if self.missing and not self.dtype.startswith("float") and self.unknown is None:
            raise ValueError(
                f"{where}: only floats can be missing, and categories with a code `unknown`; it is {self.dtype}"
            )
        if self.preprocess is not None and self.content != "image":
            raise ValueError(f"{where}: preprocess is for pictures: set content='image', or leave it out")
        self._check_categories(where)
        if self.max_rows is not None and self.batched:
            raise ValueError(f"{where}: max_rows bounds a ragged dim, and {self.shape} has none in front of it")
        self._check_padding(where)
        return self

    def _check_padding(self, where: str) -> None:
        if self.padding is not None and (not self.batched or len(self.symbolic_dims) < 2):
            raise ValueError(f"{where}: padding needs a symbolic dim after {BATCH!r}, and the shape is {self.shape}")
        if self.padding is not None and (self.missing or self.dtype == "bool"):
            raise ValueError(f"{where}: padding is for numbers that are all there, not for bool or missing values")
        if self.mask_of is not None and self.shape != (BATCH, self.mask_of):
            raise ValueError(f"{where}: the mask of {self.mask_of!r} has shape ({BATCH!r}, {self.mask_of!r})")
        if sum(way is not None for way in (self.owner_of, self.mask_of, self.default, self.padding)) > 1:
            raise ValueError(f"{where}: of owner_of, mask_of, default and padding, a tensor has one")

    def _check_categories(self, where: str) -> None:
        names = self.categories
        if names is None and self.unknown is not None:
            raise ValueError(f"{where}: unknown is the code of a category, and there are no categories")
        if names is None:
            return
        if self.dtype != "string" and self.numpy_dtype.kind not in "iu":
            raise ValueError(f"{where}: categories are integers or strings, not {self.dtype}")
        if not names or len(set(names)) != len(names):
            raise ValueError(f"{where}: categories are at least one name, each once")
        if self.dtype == "string" and self.unknown is not None:
            raise ValueError(f"{where}: unknown is a code, and strings have none")

    @cached_property
    def numpy_dtype(self) -> np.dtype[Any]:
        """Strings are arrays of objects, as ONNX Runtime takes and gives them."""
        return np.dtype(object if self.dtype == "string" else self.dtype)

    @cached_property
    def codes(self) -> Mapping[str, int] | None:
        """The code of each category of integers; ``None`` where names are no codes."""
        if self.categories is None or self.dtype == "string":
            return None
        return {name: code for code, name in enumerate(self.categories)}

    @cached_property
    def scores_labels(self) -> bool:
        """True if the last dim scores the labels as classes; otherwise the labels, if any, name numbers."""
        return self.labels is not None and self.unit is None and self.dtype.startswith("float")

    @cached_property
    def optional(self) -> bool:
        """True if a request may leave the tensor out, because the server can fill it in."""
        return self.owner_of is not None or self.mask_of is not None or self.default is not None

    @property
    def padded_dim(self) -> str | None:
        """The dim that :attr:`padding` is about."""
        return None if self.padding is None else self.symbolic_dims[1]

    @cached_property
    def columns(self) -> tuple[TensorSpec, ...]:
        """The columns of a table that make this tensor of shape (batch, n), each (batch,); empty without labels."""
        if self.labels is None or not self.batched or len(self.shape) != 2:
            return ()
        return tuple(self.model_copy(update={"name": name, "shape": (BATCH,), "labels": None}) for name in self.labels)

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
