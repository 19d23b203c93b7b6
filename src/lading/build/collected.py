"""What a service collected, as examples to train with: its payload log and the truths that clients sent."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from zlib import crc32

import numpy as np

from lading import import_string
from lading.budget import Budget
from lading.content import content_of, decode_file
from lading.errors import DataError
from lading.spec import Array, Dataset, Evaluated, Example, Grouped, ModelSpec, TensorSpec
from lading.tensors.ragged import separate

if TYPE_CHECKING:
    from lading.record.log_source import LogFile, LogSource
    from lading.record.payload_reader import Row

log = logging.getLogger(__name__)
VARIABLE = "LADING_COLLECTED"
"""Environment variable with the address of a payload log."""
NEWEST = 20_000
"""Maximum number of the newest examples of a log that are used."""
TRAIN, VALID = 0.7, 0.85
"""Shares of the collected examples: up to the first to train, up to the second to validate, the rest to test."""
ENOUGH = 200
"""Unseen examples from which the drift reference of the next model is made of collected ones alone."""
READERS = 16
"""Files that are read from the log at once: a bucket takes tens of milliseconds for each."""
UNSEEN = 500
"""Maximum number of the newest unseen examples: with more, the reference would hold requests from before a shift."""


def load_spec(target: str, options: Mapping[str, Any] | None = None) -> ModelSpec:
    """As :func:`lading.import_string.load_spec`; with ``LADING_COLLECTED`` its splits hold what was collected too.

    Raises:
        SpecError: the model cannot be loaded.
        DataError: the log cannot be read, or holds nothing to learn from.
    """
    spec = import_string.load_spec(target, options)
    address = os.environ.get(VARIABLE)
    return extended(spec, read_collected(spec, address)) if address else spec


class _LostError(DataError):
    """A row that cannot be an example; others may be."""


@dataclass(frozen=True)
class Collected:
    """Examples of one model, by the split that the id of their request chooses."""

    train: list[Example] = field(default_factory=list)
    valid: list[Example] = field(default_factory=list)
    test: list[Example] = field(default_factory=list)
    unseen: list[Example] = field(default_factory=list)
    """Newest examples that training does not use, with and without a truth, for the drift reference."""
    described: list[Mapping[str, Array]] = field(default_factory=list)
    """Drift features of the unseen examples, as the server computed them: a picture in the log is coded anew."""

    def split(self, name: str) -> list[Example]:
        """The examples of one split; every split besides train and valid is a test."""
        return {"train": self.train, "valid": self.valid}.get(name, self.test)


class Coded(Mapping[str, Array]):
    """Inputs of one example whose encoded ones are decoded when they are asked for: a picture is ten times its file.

    Args:
        plain: tensors.
        files: declaration and file of each encoded input, by name.
    """

    def __init__(self, plain: Mapping[str, Array], files: Mapping[str, tuple[TensorSpec, bytes]]) -> None:
        self._plain, self._files = plain, files

    def __getitem__(self, name: str) -> Array:
        if name not in self._files:
            return self._plain[name]
        tensor, file = self._files[name]
        content = content_of(tensor)
        assert content is not None
        return decode_file(content, file, tensor, Budget())

    def __iter__(self) -> Iterator[str]:
        return iter([*self._plain, *self._files])

    def __len__(self) -> int:
        return len(self._plain) + len(self._files)


class Joined(Sequence[Example]):
    """A model's own examples of a split, then the collected ones."""

    def __init__(
        self, own: Dataset, collected: Sequence[Example], described: Sequence[Mapping[str, Array]] = ()
    ) -> None:
        self._own, self._collected, self._described = own, collected, described

    @property
    def fingerprint(self) -> str | None:
        """That of the model's own examples with that of the collected ones; ``None`` where the former have none."""
        from lading.build.fingerprint import fingerprint_of  # onnx comes with it, and every command imports this file

        own = getattr(self._own, "fingerprint", None)
        if own is None:
            return None
        return f"{own}, and {len(self._collected)} collected ({fingerprint_of(self._collected).text})"

    def prepare(self) -> None:
        """Prepare the model's own examples, if that is needed."""
        prepare = getattr(self._own, "prepare", None)
        if prepare is not None:
            prepare()

    def __len__(self) -> int:
        return len(self._own) + len(self._collected)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        return self._own[index] if index < len(self._own) else self._collected[index - len(self._own)]

    def described(self, index: int, /) -> Mapping[str, Array]:
        """The drift features of an example that are known better than its tensors show them."""
        at = index - len(self._own)
        return self._described[at] if 0 <= at < len(self._described) else {}


class JoinedGroups(Joined):
    """The same for examples that belong together. Each collected one is a group of its own."""

    def group(self, index: int, /) -> Hashable:
        """The group of an example."""
        return self._own.group(index) if index < len(self._own) else ("collected", index)  # type: ignore[attr-defined]


def extended(spec: ModelSpec, collected: Collected) -> ModelSpec:
    """Add collected examples to every split of a model, and make its drift reference from them."""
    own = spec.dataset
    # The default reference is the split valid, which holds collected examples from now on.
    default = type(spec).reference is Evaluated.reference
    reference = partial(own, "valid") if default else spec.reference
    changed = cast("Any", spec)  # these methods of this object alone
    changed.collected = collected
    changed.dataset = partial(_split, own, collected)
    changed.reference = partial(_reference, reference, collected)
    return spec


def as_extended(spec: ModelSpec, other: ModelSpec) -> ModelSpec:
    """Add to ``other``, the same model with other options, what was added to ``spec``."""
    collected = getattr(spec, "collected", None)
    return other if collected is None else extended(other, collected)


def _split(own: Any, collected: Collected, split: str) -> Dataset:
    return _joined(own(split), collected.split(split))


def _reference(own: Any, collected: Collected) -> Dataset:
    # The next model's requests look like the newest ones, not like those of the model's first data set.
    first = () if len(collected.unseen) >= ENOUGH else own()
    return _joined(first, collected.unseen, collected.described)


def _joined(own: Dataset, collected: Sequence[Example], described: Sequence[Mapping[str, Array]] = ()) -> Dataset:
    kind = JoinedGroups if isinstance(own, Grouped) else Joined
    return kind(own, collected, described)


@lru_cache(maxsize=4)
def _read(address: str, model: str) -> tuple[LogSource, list[tuple[LogFile, Row]], Mapping[str, Mapping[str, Any]]]:
    """The newest answered rows of a model, and the truths by request id and output."""
    # Imported here: every command loads a spec, and few read a log.
    from lading.record.log_source import files_of_feedback, files_of_model, log_source
    from lading.record.payload_reader import read_rows

    source = log_source(address)

    def rows(file: LogFile) -> list[Row]:
        try:
            return list(read_rows(source, file))
        except DataError as error:
            log.warning("a file of the payload log is left out: %s", error)
            return []

    found: list[tuple[LogFile, Row]] = []
    for file in files_of_model(source, model):
        found += [(file, row) for row in rows(file) if row["model"] == model and row["code"] == 200]
        if len(found) >= NEWEST:
            break
    truths: dict[str, dict[str, Any]] = {}
    known = {row["request_id"] for _, row in found}
    files = files_of_feedback(source)
    told = [row for file in files for row in rows(file) if row["request_id"] in known]
    for row in sorted(told, key=lambda row: (row["time"], row["truth"])):
        truths.setdefault(row["request_id"], {})[row["output"]] = json.loads(row["truth"])
    found.sort(key=lambda one: (one[1]["time"], one[1]["request_id"]), reverse=True)
    return source, found[:NEWEST], truths


def read_collected(spec: ModelSpec, address: str) -> Collected:
    """Read what a service collected for a model.

    Args:
        spec: the model. Targets have the names, shapes and dtypes of its own examples.
        address: folder or bucket of the payload log.

    Raises:
        DataError: the log cannot be read, holds no answer of the model, holds inputs by shape or numbers only, or no
            truth about all targets.
    """
    source, rows, truths = _read(address, spec.name)
    if not rows:
        raise DataError(f"{source} holds no answer of {spec.name}, so there is nothing to learn from")
    pattern = spec.dataset("train")[0][1]
    if strange := sorted(set(pattern) - {output.name for output in spec.outputs}):
        raise DataError(f"feedback is about outputs, and the target {strange[0]!r} of {spec.name} is none of them")
    collected, lost, chosen = Collected(), "", list(_chosen(rows, truths))
    with ThreadPoolExecutor(READERS) as readers:
        read = readers.map(lambda one: _inputs_or_error(spec, source, one), chosen)
        for one, inputs in zip(chosen, read, strict=True):
            if isinstance(inputs, _LostError):
                lost = str(inputs)
                continue
            targets = _targets(spec, pattern, one.told) if len(inputs) == 1 else None
            if one.unseen:
                collected.unseen.extend((example, targets or {}) for example in inputs)
                collected.described.extend(_described(spec, one.row, len(inputs)))
            if targets is not None:
                collected.split(one.split).append((inputs[0], targets))
    if lost and not collected.train:
        raise DataError(lost)
    if not collected.train:
        wanted = ", ".join(sorted(pattern))
        raise DataError(f"{source} holds no truth about {wanted} of an answer of {spec.name}: send POST /feedback")
    return collected


class _Chosen(NamedTuple):
    """A row that is used, and what for."""

    file: LogFile
    row: Row
    told: Mapping[str, Any]
    split: str
    unseen: bool


def _chosen(rows: Sequence[tuple[LogFile, Row]], truths: Mapping[str, Mapping[str, Any]]) -> Iterator[_Chosen]:
    """Those with a truth, and the newest ones that training does not use."""
    unseen = 0
    for file, row in rows:
        share, told = crc32(row["request_id"].encode()) / 2**32, truths.get(row["request_id"], {})
        split = "train" if share < TRAIN else "valid" if share < VALID else "test"
        newest = split != "train" and unseen < UNSEEN
        unseen += newest
        if told or newest:
            yield _Chosen(file, row, told, split, newest)


def _inputs_or_error(spec: ModelSpec, source: LogSource, one: _Chosen) -> list[Mapping[str, Array]] | _LostError:
    try:
        return _inputs(spec, source, one.file, one.row)
    except _LostError as error:
        return error


def _inputs(spec: ModelSpec, source: LogSource, file: LogFile, row: Row) -> list[Mapping[str, Array]]:
    """The inputs of each example of a row, without the batch dim."""
    from lading.record.payload_reader import tensors_of

    encoded = [tensor for tensor in spec.inputs if content_of(tensor) is not None]
    plain = [tensor for tensor in spec.inputs if tensor not in encoded]
    given = tensors_of(plain, row, "input")
    for tensor in plain:
        if tensor.name not in given and not tensor.optional:
            if row.get(f"input.{tensor.name}.shape") is None:
                raise _LostError(f"{source} holds no {tensor.name!r}: its rows are of a model without that input")
            raise DataError(f"{source} holds the shape of {tensor.name!r} only, because it is marked as sensitive")
    examples = [dict(one) for one, _ in separate(plain, [], given, {})] if plain else []
    if not encoded:
        return list(examples)
    folder, coded = file.path.rpartition("/")[0], list[dict[str, tuple[TensorSpec, bytes]]]()
    for tensor in encoded:
        files = row.get(f"input.{tensor.name}.files")
        if files is None:
            raise DataError(f"{source} holds {tensor.name!r} as numbers only: set LADING_PAYLOAD_IMAGES=files")
        coded = coded or [{} for _ in files]
        for example, name in zip(coded, files, strict=True):
            example[tensor.name] = tensor, _file(tensor, source, folder, name)
    return [Coded(one, other) for one, other in zip(examples or [{} for _ in coded], coded, strict=True)]


def _described(spec: ModelSpec, row: Row, count: int) -> list[Mapping[str, Array]]:
    """The features of encoded content that the server logged, for each example of a row."""
    found: list[dict[str, Array]] = [{} for _ in range(count)]
    for tensor in spec.inputs:
        for feature in getattr(content_of(tensor), "feature_names", ()):
            seen = row.get(f"input.{tensor.name}.{feature}") or ()
            for example, value in zip(found, seen, strict=False):
                example[f"{tensor.name}.{feature}"] = np.array([float(value)])
    return list(found)


def _file(tensor: TensorSpec, source: LogSource, folder: str, name: str) -> bytes:
    """A file that can be decoded."""
    content = content_of(tensor)
    assert content is not None
    try:
        file = source.read(f"{folder}/{content.noun}s/{name}")
    except DataError as error:  # a server that keeps within its limits deletes the oldest files first
        raise _LostError(str(error)) from None
    decode_file(content, file, tensor, Budget())
    return file


def _targets(spec: ModelSpec, pattern: Mapping[str, Array], truth: Mapping[str, Any]) -> Mapping[str, Array] | None:
    """The truth in the form of the model's own targets; ``None`` if a part of it is missing or cannot be."""
    found: dict[str, Array] = {}
    for output in spec.outputs:
        if output.name not in pattern:
            continue
        value, own = truth.get(output.name), np.asarray(pattern[output.name])
        if isinstance(value, str):
            if output.labels is None or value not in output.labels:
                return None
            value = output.labels.index(value)
        if value is None or np.size(value) != own.size:
            return None
        found[output.name] = np.asarray(value, dtype=own.dtype).reshape(own.shape)
    return found
