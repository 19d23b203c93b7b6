"""Does a served picture get the answer that the training pipeline's pixels get?

Each file is sent twice: as bytes, which the server decodes, and as the tensor that training makes of it. That is the
model's own reader, or :func:`lading.deploy.decode_reference.reference_tensor`, which shares no code with the server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from rich.table import Table

from lading.artifact import Artifact
from lading.content import content_of, decode_rows
from lading.deploy.decode_reference import reference_tensor
from lading.deploy.load.signature import from_server
from lading.errors import ClientError, DataError, RequestError, SpecError
from lading.import_string import load_spec
from lading.predictor import Predictor
from lading.preprocess import DEFAULT
from lading.protocol.client import ANYONE, Access, Client
from lading.spec import Array, Frozen, ReadsFiles, TensorSpec
from lading.tensors.agreement import agreeing_rows, difference

ALLOWED = 0.001
"""Default largest share of changed answers."""
Ask = Callable[[Mapping[str, Array | bytes]], dict[str, Array]]
Read = Callable[[Path], Array]


class Skew(Frozen):
    """What decoding changes."""

    target: str
    read_by: str
    """What made the pixels that the served ones are compared with."""
    preprocess: str
    files: int
    changed: tuple[str, ...]
    """Files with another answer, or that are refused."""
    max_difference: float
    """Largest absolute difference of an output."""

    @property
    def share(self) -> float:
        """Of changed answers, 0 to 1."""
        return len(self.changed) / self.files


def decode_skew(
    target: str, folder: Path, *, model: str | None = None, variant: str | None = None, access: Access = ANYONE
) -> Skew:
    """Send the files of a folder both ways.

    Args:
        target: artifact folder, or the address of a server, ``http://host:port``.
        folder: with pictures, also in folders of it.
        model: import string of the spec whose data set has ``read``; default: the independent reader.
        variant: of an artifact.
        access: key and certificate of the server.

    Raises:
        DataError: there is no picture, or one that training cannot read.
        SpecError: the model does not take one picture, or the spec has no reader.
        ClientError: the server does not answer.
    """
    with ExitStack() as opened:
        if target.startswith(("http://", "https://")):
            described = from_server(target, access=access)
            inputs, outputs = described.inputs, described.outputs
            name, client = described.name, opened.enter_context(Client(target, access=access))

            def ask(given: Mapping[str, Array | bytes]) -> dict[str, Array]:
                return client.infer(name, given)

        else:
            predictor = Predictor(Artifact.load(target), variant)
            inputs, outputs = predictor.inputs, predictor.outputs

            def ask(given: Mapping[str, Array | bytes]) -> dict[str, Array]:
                (value,) = given.values()
                rows = decode_rows(inputs[0], [value]) if isinstance(value, bytes) else value
                return predictor({inputs[0].name: rows})

        spec = _picture(target, inputs)
        read, reader = _reader(model, spec)
        files = _files(folder, spec)
        changed, largest = _compare(ask, spec, outputs, files, read)
    return Skew(
        target=target,
        read_by=reader,
        preprocess=str(spec.preprocess or DEFAULT),
        files=len(files),
        changed=changed,
        max_difference=largest,
    )


def skew_table(skew: Skew) -> Table:
    table = Table(show_header=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    shown = ", ".join(skew.changed[:5]) + (f" and {len(skew.changed) - 5} more" if len(skew.changed) > 5 else "")
    for name, value in (
        ("files", f"{skew.files}"),
        ("preprocessing", skew.preprocess),
        ("compared with", skew.read_by),
        ("changed answers", f"{len(skew.changed)} ({skew.share:.2%}){': ' if shown else ''}{shown}"),
        ("largest difference", f"{skew.max_difference:.3g}"),
    ):
        table.add_row(name, value)
    return table


def _picture(target: str, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
    if [spec.content for spec in inputs] != ["image"]:
        shown = ", ".join(f"{spec.name} ({spec.content or 'numbers'})" for spec in inputs)
        raise SpecError(f"{target} does not take one picture, but {shown}: there is no decoding to compare")
    return inputs[0]


def _reader(model: str | None, spec: TensorSpec) -> tuple[Read, str]:
    if model is None:
        return lambda file: reference_tensor(file.read_bytes(), spec), "a plain reader with Pillow"
    own = load_spec(model)
    data = own.dataset(own.test_splits[0])
    if not isinstance(data, ReadsFiles):
        raise SpecError(
            f"the data set of {model} has no method read(file): add one that returns the inputs of one picture, or "
            "leave out --model"
        )
    reads: ReadsFiles = data
    return lambda file: np.asarray(reads.read(file)[spec.name]), f"{model}'s data set"


def _files(folder: Path, spec: TensorSpec) -> dict[str, Path]:
    content = content_of(spec)
    assert content is not None
    found = sorted(file for file in folder.rglob("*") if file.suffix.lower() in content.suffixes and file.is_file())
    if not found:
        raise DataError(f"there is no file in {folder} that ends in {', '.join(content.suffixes)}")
    return {str(file.relative_to(folder)): file for file in found}


def _compare(
    ask: Ask, spec: TensorSpec, outputs: tuple[TensorSpec, ...], files: Mapping[str, Path], read: Read
) -> tuple[tuple[str, ...], float]:
    """The files with another answer, and the largest difference."""
    expected: list[dict[str, Array]] = []
    served: list[dict[str, Array]] = []
    names, refused = [], []
    for name, file in files.items():
        try:
            tensor = read(file)
        except (OSError, ValueError, SyntaxError, RequestError) as error:
            raise DataError(f"{file} cannot be read as training reads it: {error}") from None
        wanted = ask({spec.name: tensor[None]})
        try:
            served.append(ask({spec.name: file.read_bytes()}))
        except RequestError:
            refused.append(name)
            continue
        except ClientError as error:
            if error.answered is None:
                raise
            refused.append(name)
            continue
        expected.append(wanted)
        names.append(name)
    changed = list(refused)
    largest = 0.0
    shapes: dict[str, list[int]] = {}  # answers to pictures of any size differ in shape
    for place, one in enumerate(expected):
        shapes.setdefault(str([one[output.name].shape for output in outputs]), []).append(place)
    for alike in shapes.values():
        theirs, ours = (
            {output.name: np.concatenate([rows[place][output.name] for place in alike]) for output in outputs}
            for rows in (expected, served)
        )
        same = agreeing_rows(outputs, theirs, ours)
        changed += [names[place] for place, agrees in zip(alike, same.tolist(), strict=True) if not agrees]
        largest = max(largest, difference(outputs, theirs, ours))
    return tuple(changed), largest
