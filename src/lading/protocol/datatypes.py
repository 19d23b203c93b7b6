"""The Open Inference Protocol's names of data types, and the arrays that they stand for."""

from __future__ import annotations

import numpy as np

from lading.spec import Array, TensorSpec

BYTES = "BYTES"
TO_V2 = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
}
"""https://github.com/kserve/open-inference-protocol, "Tensor Data Types"."""
FROM_V2 = {name: dtype for dtype, name in TO_V2.items()}


def v2_shape(spec: TensorSpec) -> list[int]:
    """The shape as metadata give it: -1 for a dim of any size."""
    return [dim if isinstance(dim, int) else -1 for dim in spec.shape]


def raw_bytes(array: Array) -> bytes:
    """The array as the protocol sends raw tensors: row-major, little-endian."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
