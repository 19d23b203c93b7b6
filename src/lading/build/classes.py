"""Names in graphs of scikit-learn and its relatives: classes of the answers, categories of the inputs.

``ai.onnx.ml`` keeps them as attributes of its operators. A ZipMap pairs each probability with its class, which makes a
sequence of maps; Lading serves the tensor of probabilities, whose labels are the classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import onnx
from onnx import helper, numpy_helper

from lading.spec import BATCH, TensorSpec

_KEEPS_STRINGS = {"Identity", "Squeeze", "Unsqueeze", "Reshape", "Flatten", "Transpose", "StringNormalizer"}
"""Operators whose output has no strings but those of their first input; StringNormalizer is looked through, too."""
_TAKES_COLUMNS = {"Gather", "ArrayFeatureExtractor"}
"""Operators that pick columns of their first input by a constant."""
_CATEGORIES = {"OneHotEncoder": "cats_strings", "CategoryMapper": "cats_strings", "LabelEncoder": "keys_strings"}


def without_zipmap(model: onnx.ModelProto) -> dict[str, list[str]]:
    """Replace each ZipMap that makes an output by the tensor that it reads, in place.

    Returns:
        The classes by output, which keeps its name.
    """
    found: dict[str, list[str]] = {}
    outputs = {value.name: value for value in model.graph.output}
    for node in model.graph.node:
        if node.op_type != "ZipMap" or node.output[0] not in outputs:
            continue
        found[node.output[0]] = classes = _names(node, "classlabels")
        shape = [BATCH, len(classes) or None]
        kind = helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, shape)
        outputs[node.output[0]].type.CopyFrom(kind)
        node.op_type, node.domain = "Identity", ""
        del node.attribute[:]
        if not any(entry.domain in ("", "ai.onnx") for entry in model.opset_import):
            model.opset_import.append(helper.make_opsetid("", 13))
    return found


def with_classes(
    outputs: Sequence[TensorSpec], model: onnx.ModelProto, zipped: Mapping[str, Sequence[str]]
) -> tuple[TensorSpec, ...]:
    """Label the scores of a classifier, and name the values of its answer where that is a string.

    A classifier has two outputs: the class of each row, and a score for each class. Its nodes name the same classes.

    Args:
        outputs: of the graph.
        model: the graph.
        zipped: classes by output, from :func:`without_zipmap`.
    """
    named = {tuple(_names(node, "classlabels")) for node in model.graph.node} - {()}
    answers = [spec for spec in outputs if len(spec.shape) == 1 and spec.dtype in ("int64", "string")]
    classes: tuple[str, ...] = ()
    if len(named) == 1 and len(outputs) == 2 and len(answers) == 1:
        (classes,) = named
    return tuple(_with_names(spec, tuple(zipped.get(spec.name, classes))) for spec in outputs)


def _with_names(spec: TensorSpec, classes: tuple[str, ...]) -> TensorSpec:
    if not classes or len(set(classes)) < len(classes):
        return spec
    if spec.dtype.startswith("float") and len(spec.shape) == 2 and spec.shape[-1] == len(classes):
        return spec.model_copy(update={"labels": classes})
    return spec.model_copy(update={"categories": classes}) if spec.dtype == "string" else spec


def with_categories(inputs: Sequence[TensorSpec], model: onnx.ModelProto) -> tuple[TensorSpec, ...]:
    """Name the known values of each string input that an encoder reads as it is."""
    known: dict[str, list[str]] = {}
    widths = {
        spec.name: spec.shape[1] if len(spec.shape) == 2 and isinstance(spec.shape[1], int) else 1
        for spec in inputs
        if spec.dtype == "string"
    }
    for name, categories in _encoded(model.graph, widths):
        known[name] = list(dict.fromkeys([*known.get(name, []), *categories]))
    return tuple(
        spec.model_copy(update={"categories": tuple(known[spec.name])}) if known.get(spec.name) else spec
        for spec in inputs
    )


def _encoded(graph: onnx.GraphProto, inputs: Mapping[str, int]) -> Iterator[tuple[str, list[str]]]:
    """Yield (input, known strings) for each encoder that reads an input. ``inputs`` has their numbers of columns."""
    constants = {one.name: [int(place) for place in numpy_helper.to_array(one).ravel()] for one in _indexes(graph)}
    columns: dict[str, list[str]] = {name: [name] * count for name, count in inputs.items()}
    for node in graph.node:
        read = columns.get(node.input[0], []) if node.input else []
        if node.op_type == "Concat":
            columns[node.output[0]] = [name for given in node.input for name in columns.get(given, [])]
        elif node.op_type in _TAKES_COLUMNS and len(node.input) > 1:
            taken = constants.get(node.input[1], range(len(read)))
            columns[node.output[0]] = [read[place] for place in taken if -len(read) <= place < len(read)]
        elif node.op_type in _KEEPS_STRINGS:
            columns[node.output[0]] = read
        elif node.op_type in _CATEGORIES:
            for name in sorted(set(read)):
                yield name, _strings(node, _CATEGORIES[node.op_type])


def _indexes(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    kinds = (onnx.TensorProto.INT32, onnx.TensorProto.INT64)
    return [one for one in graph.initializer if one.data_type in kinds and len(one.dims) < 2]


def _names(node: onnx.NodeProto, attribute: str) -> list[str]:
    """The strings of an attribute, or its integers as strings."""
    integers = next((list(one.ints) for one in node.attribute if one.name == f"{attribute}_int64s"), [])
    integers = integers or next((list(one.ints) for one in node.attribute if one.name == f"{attribute}_ints"), [])
    return _strings(node, f"{attribute}_strings") or [str(number) for number in integers]


def _strings(node: onnx.NodeProto, attribute: str) -> list[str]:
    found = next((list(one.strings) for one in node.attribute if one.name == attribute), [])
    return [text.decode() for text in found]
