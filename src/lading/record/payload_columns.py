"""The columns of the payload log's files, and the tensors of a request as a row.

Schema 1. Every file has ``time``, ``request_id``, ``model``, ``version``, ``variant``, ``digest``, ``protocol``,
``code``, ``error`` and ``seconds``. A tensor is two columns: ``input.NAME`` with its values in row-major order, and
``input.NAME.shape``. Encoded content has a column for each feature, with one value per example
(``input.NAME.brightness`` and others for a picture), and ``input.NAME.files`` if files are kept. A sensitive tensor has
its shape only. All are null if the request could not be read.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lading.artifact.manifest import ModelInfo
from lading.content import content_of
from lading.errors import SettingsError
from lading.record.exchange import Exchange
from lading.spec import Array, TensorSpec

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = 1
Row = dict[str, Any]


def schema_of(model: ModelInfo, images: Literal["features", "files"]) -> pa.Schema:
    """The Arrow schema of a model's log."""
    pyarrow = require_pyarrow("the payload log")
    fields = [
        pyarrow.field("time", pyarrow.timestamp("us", tz="UTC"), nullable=False),
        *(pyarrow.field(name, pyarrow.string()) for name in ("request_id", "model", "version", "variant", "digest")),
        pyarrow.field("protocol", pyarrow.string()),
        pyarrow.field("code", pyarrow.int16()),
        pyarrow.field("error", pyarrow.string()),
        pyarrow.field("seconds", pyarrow.float64()),
    ]
    for role, specs in (("input", model.inputs), ("output", model.outputs)):
        for spec in specs:
            fields += [pyarrow.field(f"{role}.{name}", kind(pyarrow)) for name, kind in _columns(spec, images).items()]
    metadata = {"lading.schema_version": str(SCHEMA_VERSION), "lading.model": model.name}
    return pyarrow.schema(fields, metadata=metadata)


def row_of(exchange: Exchange, images: Literal["features", "files"]) -> tuple[Row, dict[str, bytes]]:
    """Return one exchange as a row, and its encoded files: bytes by path, relative to the folder of the log's file."""
    row: Row = {
        "time": round(exchange.time * 1e6),
        "request_id": exchange.request_id,
        "model": exchange.model.name,
        "version": exchange.model.version,
        "variant": exchange.model.variant,
        "digest": exchange.model.digest,
        "protocol": exchange.protocol,
        "code": int(exchange.code),
        "error": exchange.error or None,
        "seconds": exchange.seconds,
    }
    files: dict[str, bytes] = {}
    for role, specs, tensors in (
        ("input", exchange.model.inputs, exchange.inputs),
        ("output", exchange.model.outputs, exchange.outputs),
    ):
        for spec in specs:
            if tensors is not None and spec.name in tensors:
                cells, found = _cells(spec, np.asarray(tensors[spec.name]), images)
                row |= {f"{role}.{name}": value for name, value in cells.items()}
                files |= found
    return row, files


def table_of(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    """Return rows as an Arrow table."""
    pyarrow = require_pyarrow("the payload log")
    columns = [_column(pyarrow, [row.get(field.name) for row in rows], field.type) for field in schema]
    return pyarrow.table(columns, schema=schema)


def truth_table(rows: Sequence[Row]) -> pa.Table:
    """Return rows of feedback as an Arrow table."""
    pyarrow = require_pyarrow("the payload log")
    texts = ("request_id", "output", "truth")
    schema = pyarrow.schema(
        [pyarrow.field("time", pyarrow.timestamp("us", tz="UTC")), *((name, pyarrow.string()) for name in texts)],
        metadata={"lading.schema_version": str(SCHEMA_VERSION)},
    )
    return pyarrow.Table.from_pylist([dict(row) for row in rows], schema=schema)


def _columns(spec: TensorSpec, images: str) -> Mapping[str, Any]:
    """Return by column name a function from the pyarrow module to the column's Arrow type."""
    shape = {f"{spec.name}.shape": lambda pa: pa.list_(pa.int64())}
    if spec.sensitive:
        return shape
    content = content_of(spec)
    if content is not None:
        numbers = {f"{spec.name}.{feature}": lambda pa: pa.list_(pa.float32()) for feature in content.feature_names}
        files = {f"{spec.name}.files": lambda pa: pa.list_(pa.string())} if images == "files" else {}
        return {**shape, **numbers, **files}
    return {spec.name: lambda pa: pa.list_(pa.from_numpy_dtype(spec.numpy_dtype)), **shape}


def _cells(spec: TensorSpec, array: Array, images: str) -> tuple[Row, dict[str, bytes]]:
    cells: Row = {f"{spec.name}.shape": np.asarray(array.shape, dtype=np.int64)}
    if spec.sensitive:
        return cells, {}
    content = content_of(spec)
    if content is None:
        # A copy, because the outputs of one request may be a part of a batch's array, which would stay in memory.
        return {spec.name: array.flatten(), **cells}, {}
    names = content.feature_names
    described = np.array([content.features(example) for example in array], dtype=np.float32).reshape(-1, len(names))
    cells |= {f"{spec.name}.{name}": column for name, column in zip(names, described.T, strict=True)}
    if images != "files":
        return cells, {}
    # Not from the request id: clients may send one twice.
    stem = secrets.token_hex(16)
    files = [f"{stem}-{spec.name}-{index}{content.suffixes[0]}" for index in range(len(array))]
    cells[f"{spec.name}.files"] = files
    return cells, {
        f"{content.noun}s/{file}": content.encode(example, spec) for file, example in zip(files, array, strict=True)
    }


def _column(pyarrow: Any, cells: list[Any], kind: Any) -> Any:
    if not pyarrow.types.is_list(kind) or pyarrow.types.is_string(kind.value_type):
        return pyarrow.array(cells, type=kind)
    # One buffer for all rows: pyarrow would convert a list of arrays value by value.
    sizes = [0 if cell is None else len(cell) for cell in cells]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    there = [cell for cell in cells if cell is not None and len(cell)]
    values = np.concatenate(there) if there else np.zeros(0, dtype=kind.value_type.to_pandas_dtype())
    missing = pyarrow.array([cell is None for cell in cells])
    return pyarrow.ListArray.from_arrays(
        pyarrow.array(offsets, type=pyarrow.int32()),
        pyarrow.array(values, type=kind.value_type),
        type=kind,
        mask=missing,
    )


def require_pyarrow(what: str) -> Any:
    """Import pyarrow with its Parquet reader.

    Raises:
        SettingsError: it is not installed. The message names the extra.
    """
    return require("pyarrow", what, also=("pyarrow.parquet",))


def require(package: str, what: str, *, also: tuple[str, ...] = (), extra: str = "payload") -> Any:
    """Import a package of an extra.

    Raises:
        SettingsError: it is not installed. The message names the extra.
    """
    try:
        for name in also:
            import_module(name)
        return import_module(package)
    except ImportError:
        raise missing_package(package, what, extra=extra) from None


def missing_package(package: str, what: str, *, extra: str = "payload") -> SettingsError:
    """The error of something that needs a package which is not installed."""
    return SettingsError(f"{what} needs {package.split('.', maxsplit=1)[0]}: pip install 'lading[{extra}]'")
