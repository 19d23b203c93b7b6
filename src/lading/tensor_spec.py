"""The declaration of one tensor of a model. Its names are imported from :mod:`lading.spec`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from lading.preprocess import Preprocess

Array = NDArray[Any]
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

NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")


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
        if not NAME.match(self.name):
            raise ValueError(f"{where}: a name is a letter or _ and up to 63 letters, digits, '_', '-' or '.'")
        if not self.shape:
            raise ValueError(f"{where}: the shape needs at least the {BATCH!r} dim")
        for dim in self.shape:
            if isinstance(dim, int) and dim < 1:
                raise ValueError(f"{where}: the size {dim} in shape {self.shape} must be at least 1")
            if isinstance(dim, str) and not NAME.match(dim):
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

    @property
    def picture_dims(self) -> tuple[str, str] | None:
        """Names of height and width, where they follow from the picture."""
        if self.preprocess is None or not self.preprocess.kept:
            return None
        height, width = self.preprocess.axes()
        return str(self.shape[height]), str(self.shape[width])

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
