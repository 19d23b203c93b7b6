"""Read a bare ONNX file: its inputs, its outputs, and whether it can be batched."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import onnx
import onnxruntime as ort
from onnx import helper

from lading.artifact.graph_versions import GraphVersions
from lading.build.batch_axis import declared_axes, move_batch, names_in, real_inputs, rename
from lading.build.classes import with_categories, with_classes, without_zipmap
from lading.build.examples import open_graph
from lading.build.export.cleanup import name_nodes, strip_notes
from lading.build.export.lowest_versions import lower_versions
from lading.build.onnx_batching import BareModel, batched, one_by_one
from lading.build.onnx_declared import Declared, fix_samples, with_answers, with_recordings
from lading.build.onnx_load import load_onnx
from lading.build.onnx_pictures import fix_sizes, of_allowed_size, with_pictures
from lading.build.onnx_random import random_problem, training_problem
from lading.build.onnx_tensors import DTYPES, clean_name, input_specs
from lading.build.onnx_texts import find_texts, refuse_other_rows, with_texts
from lading.build.onnx_trial import UntriedError
from lading.errors import LadingError, WrapError
from lading.spec import Array, TensorSpec

NOTHING = Declared()
RealRows = Callable[[Sequence[TensorSpec]], Mapping[str, Array]]
"""Reads examples of the inputs, once it is known what these are."""


def read_bare(
    file: Path,
    labels: Sequence[str] | None = None,
    *,
    real: Mapping[str, Array] | RealRows | None = None,
    axes: Mapping[str, int] | None = None,
    declared: Declared = NOTHING,
) -> BareModel:
    """Read, rename, batch and describe a graph.

    Requests are batched if rows in a batch get the answers that they get alone. Otherwise each request is a run of its
    own, and a tensor without a first dim for the batch gets one of size 1.

    Args:
        file: an ONNX file. External data next to it are read too.
        labels: names of the entries of the last dim, for every output that has as many.
        real: examples by input, along the first dim. They decide whether the graph runs and batches; without them,
            made-up inputs do.
        axes: axis of the batch, for inputs and outputs that do not have it in front.
        declared: what the numbers of inputs and outputs stand for.

    Raises:
        SpecError: a tensor cannot be what was declared.
        WrapError: it is not ONNX, ONNX Runtime cannot run it, a tensor is of a kind that cannot be served, no input at
            which it runs was found, it answers the same input differently, the examples do not fit, or no output has
            as many entries as there are labels.
    """
    model = strip_notes(load_onnx(file))
    name_nodes(model)
    zipped = without_zipmap(model)
    _part_outputs(model)
    names = _rename_tensors(model)
    classes = {names.get(name, name): found for name, found in zipped.items()}
    fix_sizes(model, names, declared.pictures)
    fix_samples(model, names, declared.recordings)
    texts = find_texts(model, names, declared.texts)
    session = _open(file, model)
    for kind, nodes in (("input", session.get_inputs()), ("output", session.get_outputs())):
        _check_kinds(file, kind, nodes)
    _check_ranks(file, model)

    def declare(specs: tuple[TensorSpec, ...], of: ort.InferenceSession) -> tuple[TensorSpec, ...]:
        return with_texts(specs, of, model, texts) if texts else specs

    if callable(real):
        real = real(_aliased(declare(input_specs(model, session), session), names))
    known = {names.get(name, name): array for name, array in real.items()} if real is not None else None
    refuse_other_rows(known or {}, texts)
    moved = onnx.ModelProto()
    moved.CopyFrom(model)
    move_batch(moved, {names.get(name, name): axis for name, axis in (axes or declared_axes(model.graph)).items()})
    try:
        found = batched(file, moved, known, declare)
        if isinstance(found, str):
            found = one_by_one(file, moved if axes else model, known, training_problem(model) or found, declare)
        bare, problem = found, random_problem(found)
    except UntriedError as error:
        raise WrapError(f"{file} cannot be served: {error}") from None
    if problem is not None:
        raise WrapError(f"{file} cannot be served: {problem}")
    inputs, outputs = _aliased(bare.inputs, names), _aliased(bare.outputs, names)
    inputs = with_recordings(with_pictures(inputs, names, declared.pictures), names, declared.recordings)
    bare = replace(bare, trial=of_allowed_size(bare.trial, inputs))
    outputs = with_answers(outputs, names, declared.answers, labels)
    outputs = with_classes(outputs, bare.model, classes) if labels is None else _with_labels(file, outputs, labels)
    return replace(bare, inputs=with_categories(inputs, bare.model), outputs=outputs)


def read_labels(file: Path) -> list[str]:
    """Read a text file with one label per line. Empty lines at the end are ignored.

    Raises:
        WrapError: the file is missing, holds no label or an empty one, or is not UTF-8.
    """
    try:
        content = file.read_text().rstrip()
    except (OSError, UnicodeDecodeError) as error:
        raise WrapError(f"the labels {file} cannot be read: {error}") from None
    labels = [line.strip() for line in content.split("\n")] if content else []
    if not labels or not all(labels):
        where = f"line {labels.index('') + 1} is empty" if labels else "it is empty"
        raise WrapError(f"the labels {file} must be one a line: {where}")
    return labels


def _open(file: Path, model: onnx.ModelProto) -> ort.InferenceSession:
    if _too_new(model):
        lower_versions(model)
    if beyond := _too_new(model):
        raise WrapError(f"{file} is too new: {beyond}")
    try:
        return open_graph(model)
    except LadingError as error:
        opsets = ", ".join(f"{one.domain or 'ai.onnx'} {one.version}" for one in model.opset_import) or "not named"
        raise WrapError(
            f"{file} cannot be served: {error}. Its opsets are {opsets}. If an operator or opset is unknown, export it "
            "with opset_version=20 and without custom operators"
        ) from error


def _too_new(model: onnx.ModelProto) -> str | None:
    opsets = {"" if entry.domain == "ai.onnx" else entry.domain: entry.version for entry in model.opset_import}
    return GraphVersions(model.ir_version, opsets).too_new_for(ort.__version__)


def _check_kinds(file: Path, kind: str, nodes: Sequence[ort.NodeArg]) -> None:
    for node in nodes:
        if node.type in DTYPES:
            continue
        if "map(" in node.type or node.type.startswith("seq(map("):
            hint = "give its values as one tensor (skl2onnx: options={'zipmap': False})"
        elif node.type.startswith("optional("):
            hint = "make it a tensor in the graph, with OptionalGetElement"
        elif node.type.startswith("seq("):
            hint = "join the sequence to one tensor in the graph, with ConcatFromSequence"
        else:
            hint = "export it as float32 or an integer"
        raise WrapError(f"{kind} {node.name!r} of {file} is {node.type}, which cannot be served: {hint}")


def _check_ranks(file: Path, model: onnx.ModelProto) -> None:
    for value in real_inputs(model.graph):
        if not value.type.tensor_type.HasField("shape"):
            raise WrapError(
                f"input {value.name!r} of {file} has no shape, so its number of dims is unknown: export it with one"
            )


def _part_outputs(model: onnx.ModelProto) -> None:
    """Give an output that is an input, such as an id that comes back, a name of its own, in place."""
    graph = model.graph
    given, taken = {value.name for value in graph.input}, names_in(graph)
    for value in graph.output:
        if value.name in given:
            own = f"{value.name}_out"
            while own in taken:
                own += "_"
            taken.add(own)
            graph.node.append(helper.make_node("Identity", [value.name], [own], name=own))
            value.name = own


def _rename_tensors(model: onnx.ModelProto) -> dict[str, str]:
    """Give inputs and outputs names that a TensorSpec accepts, in place: ``input:0`` becomes ``input_0``.

    Returns:
        The new names by the old ones.
    """
    taken, renamed = names_in(model.graph), {}
    for value in (*model.graph.input, *model.graph.output):
        clean = clean_name(value.name)
        if clean == value.name:
            continue
        while clean in taken:
            clean += "_"
        taken.add(clean)
        renamed[value.name] = clean
        rename(model.graph, value.name, clean)
    return renamed


def _aliased(specs: Sequence[TensorSpec], names: Mapping[str, str]) -> tuple[TensorSpec, ...]:
    """The specs with their names in the file, where these had to be changed."""
    given = {clean: name for name, clean in names.items()}
    return tuple(spec.model_copy(update={"alias": given.get(spec.name)}) for spec in specs)


def _with_labels(file: Path, outputs: Sequence[TensorSpec], labels: Sequence[str]) -> tuple[TensorSpec, ...]:
    plain = [tensor for tensor in outputs if tensor.content is None]
    fits = [tensor for tensor in plain if len(tensor.shape) > 1 and tensor.shape[-1] == len(labels)]
    if not fits and not any(tensor.classes for tensor in outputs):
        shapes = ", ".join(f"{tensor.name} {list(tensor.shape)}" for tensor in outputs)
        raise WrapError(f"there are {len(labels)} labels, and no output of {file} ends in a dim of that size: {shapes}")
    told_apart = _told_apart(labels)
    return tuple(tensor.model_copy(update={"labels": told_apart}) if tensor in fits else tensor for tensor in outputs)


def _told_apart(labels: Sequence[str]) -> tuple[str, ...]:
    """Labels with their number, where a file has one twice: ImageNet's have two cranes, a bird and a machine."""
    twice = {label for label in labels if labels.count(label) > 1}
    return tuple(f"{label} ({place})" if label in twice else label for place, label in enumerate(labels))
