"""Real examples of a bare graph, from the file of ``lading pack --calibration``."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lading.artifact import read_tensors
from lading.budget import Budget
from lading.build.verify.scores import fingerprint
from lading.content import content_of, decode_file
from lading.errors import ArtifactError, RequestError, WrapError
from lading.files import read_bounded
from lading.protocol.json_body import parse_object
from lading.protocol.json_values import parse_tensor
from lading.spec import Array, TensorSpec
from lading.tensors.ragged import collate

_LARGEST = 256 * 1024 * 1024
KINDS = ".npz, .txt with one text a line, .csv or .tsv with a column of texts, .jsonl with one object a line"


def read_rows(file: Path) -> Mapping[str, Array] | Callable[[Sequence[TensorSpec]], Mapping[str, Array]]:
    """Read examples by input, along the first dim; texts are read once the inputs are known.

    Args:
        file: ``.npz`` of arrays by input, or a file of texts: ``.txt`` has one a line, ``.csv`` and ``.tsv`` a column
            with the name of the input or a single column, ``.jsonl`` an object a line, with a key for each input.

    Raises:
        WrapError: it cannot be read.
    """
    suffix = file.suffix.lower()
    if suffix in (".txt", ".csv", ".tsv", ".jsonl", ".ndjson"):
        return lambda specs: _of_texts(file, suffix, specs)
    try:
        return read_tensors(file)
    except ArtifactError as error:
        raise WrapError(f"the calibration data cannot be read: {error}; save them with numpy.savez") from None


def _of_texts(file: Path, suffix: str, specs: Sequence[TensorSpec]) -> dict[str, Array]:
    needed = [spec for spec in specs if not spec.optional]
    texts = [spec for spec in needed if (kind := content_of(spec)) is not None and kind.textual]
    if not texts:
        raise WrapError(f"{file} holds texts, and no input takes any: declare one with --tokenizer, or give an .npz")
    try:
        content = read_bounded(file, _LARGEST).decode("utf-8-sig")
    except OSError as error:
        raise WrapError(f"the calibration data {file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise WrapError(f"the calibration data {file} are not UTF-8") from None
    if suffix in (".jsonl", ".ndjson"):
        rows = [(place, line) for place, line in enumerate(_lines(content), 1) if line.strip()]
        examples = [_example(file, place, needed, _object(file, place, line)) for place, line in rows]
    else:
        if len(needed) > 1:
            others = ", ".join(spec.name for spec in needed)
            raise WrapError(f"{file} holds texts alone, and the model takes {others}: give .jsonl with a key for each")
        (spec,) = needed
        lines = _lines(content) if suffix == ".txt" else _column(file, content, suffix, spec)
        examples = [_example(file, at, needed, {spec.name: line}) for at, line in enumerate(lines, 1) if line.strip()]
    # What calibrates must not be scored too, so that a text counts once.
    examples = list({fingerprint(specs, example): example for example in examples}.values())
    if len(examples) < 2:
        raise WrapError(
            f"{file} holds {len(examples)} different examples: some calibrate, others check; give at least 2"
        )
    return collate(specs, examples)


def _lines(content: str) -> list[str]:
    # str.splitlines() also splits at separators that a text or a string of JSON may hold, such as U+2028.
    return content.replace("\r\n", "\n").split("\n")


def _column(file: Path, content: str, suffix: str, spec: TensorSpec) -> list[str]:
    try:
        header, *rows = list(csv.reader(io.StringIO(content), delimiter="\t" if suffix == ".tsv" else ",")) or [[]]
    except csv.Error as error:
        raise WrapError(f"{file} is not a CSV file that can be read: {error}") from None
    names = [name for name in (spec.name, spec.alias, "text") if name in header]
    if not names and len(header) != 1:
        raise WrapError(f"{file} has no column {spec.name!r}; its columns are: {', '.join(header)}")
    at = header.index(str(names[0])) if names else 0
    return [row[at] for row in rows if len(row) > at]


def _object(file: Path, place: int, line: str) -> Mapping[str, Any]:
    try:
        return parse_object(line.encode())
    except RequestError as error:
        raise WrapError(f"{file}, line {place}: {error}") from None


def _example(file: Path, place: int, needed: Sequence[TensorSpec], row: Mapping[str, Any]) -> dict[str, Array]:
    example: dict[str, Array] = {}
    alone = len(needed) == 1
    try:
        for spec in needed:
            names = [name for name in (spec.name, spec.alias, "text" if alone else None) if name in row]
            if not names:
                raise WrapError(f"{file}, line {place} has no {spec.name!r}; its keys are: {', '.join(row)}")
            value, content = row[str(names[0])], content_of(spec)
            if content is not None and content.textual and isinstance(value, str):
                example[spec.name] = decode_file(content, value.encode(), spec, Budget())
            else:
                example[spec.name] = parse_tensor(spec, [value])[0]
    except RequestError as error:
        raise WrapError(f"{file}, line {place}: {error}") from None
    return example
