"""Requests as tables: one object per row, or a list per column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lading.errors import InputNameError, InputShapeError
from lading.errors.sentences import shown, unknown
from lading.protocol.json_body import as_object
from lading.spec import TensorSpec

_INNER = frozenset({list, dict})


def is_table(specs: Sequence[TensorSpec]) -> bool:
    """Whether every input is a column of one value per row, or several such columns side by side."""
    return all(
        spec.content is None and spec.batched and (spec.example_shape in ((), (1,)) or spec.columns) for spec in specs
    )


def columns_of(specs: Sequence[TensorSpec], body: Any, wanted: str, max_batch: int) -> Mapping[str, Any]:
    """A body as a JSON object with a list per input or column.

    Args:
        specs: the model's inputs.
        body: that object itself, a list of records, or one record. A record holds one example: the values of its row by
            name, without the batch dim. A value that may be missing may be left out.
        wanted: what to send, for the error.
        max_batch: most records.

    Raises:
        RequestError: neither, a record without a value, or too many of them.
    """
    if isinstance(body, list) and body and set(map(type, body)) == {dict} and all(spec.batched for spec in specs):
        return _transposed(specs, body, max_batch)
    content = as_object(body, wanted)
    if content and _INNER.isdisjoint(map(type, content.values())) and is_table(specs):
        return _transposed(specs, [content], max_batch)
    return content


def value_of(spec: TensorSpec, record: Mapping[str, Any]) -> Any:
    """The value of an input in a record: its own, or a list of those of its columns.

    Raises:
        InputNameError: it has none.
    """
    for name in (spec.name, spec.alias):
        if name is not None and name in record:
            return record[name]
    if any(column.name in record for column in spec.columns):
        return [value_of(column, record) for column in spec.columns]
    if spec.missing and spec.example_shape in ((), (1,)):
        return None
    raise InputNameError(f"the column {spec.name!r} is missing")


def _transposed(specs: Sequence[TensorSpec], records: list[dict[str, Any]], max_batch: int) -> dict[str, Any]:
    if len(records) > max_batch:
        raise InputShapeError(
            f"the body has {len(records)} records; at most {max_batch} are accepted: send several requests"
        )
    known = {name: column for spec in specs for name, column in _names(spec)}
    sent = dict.fromkeys(name for record in records for name in record)
    for name in sent:
        if name not in known:
            raise InputNameError(f"{_where(records, name)}{unknown('column', name, [*known])}")
    content: dict[str, Any] = {}
    for spec in specs:
        whole = next((name for name in (spec.name, spec.alias) if name in sent), None)
        for column in (spec,) if whole is not None or not spec.columns else spec.columns:
            content[column.name] = _column(column, whole or column.name, records)
    return content


def _names(spec: TensorSpec) -> list[tuple[str, TensorSpec]]:
    own = [(name, spec) for name in (spec.name, spec.alias) if name is not None]
    return [*own, *((column.name, column) for column in spec.columns)]


def _column(spec: TensorSpec, name: str, records: list[dict[str, Any]]) -> list[Any]:
    if not spec.missing:
        for row, record in enumerate(records):
            if name not in record:
                has = ", ".join(map(shown, [*record][:8]))
                raise InputNameError(f"record {row} has no {name!r}; it has {has or 'nothing'}")
    return [record.get(name) for record in records]


def _where(records: list[dict[str, Any]], name: str) -> str:
    return f"record {next(row for row, record in enumerate(records) if name in record)}: "
