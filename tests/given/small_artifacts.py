"""Real artifacts of a few ONNX nodes each, for what the picture model does not show: numbers, types, ragged graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, save

from lading.artifact import Artifact, tensors_to_bytes, write_artifact
from lading.artifact.manifest import Manifest, PackedVariant, Provenance
from lading.content import content_of
from lading.drift.reference import Reference
from lading.predictor import open_session
from lading.spec import Array, DType, TensorSpec, Variant
from lading.tensors.ragged import collate

_TYPES = {
    "float32": TensorProto.FLOAT,
    "int64": TensorProto.INT64,
    "uint8": TensorProto.UINT8,
    "int16": TensorProto.INT16,
    "bool": TensorProto.BOOL,
    "uint16": TensorProto.UINT16,
    "uint32": TensorProto.UINT32,
    "uint64": TensorProto.UINT64,
    "int8": TensorProto.INT8,
    "int32": TensorProto.INT32,
    "float16": TensorProto.FLOAT16,
    "float64": TensorProto.DOUBLE,
    "string": TensorProto.STRING,
}
_GOLDEN = 8


def table_artifact(path: Path) -> Artifact:
    """float32 features (batch, 4), -10 to 10, to their sum (batch, 1)."""
    inputs = (TensorSpec(name="features", dtype="float32", shape=("batch", 4), minimum=-10, maximum=10),)
    outputs = (TensorSpec(name="total", dtype="float32", shape=("batch", 1), unit="m"),)
    nodes = [helper.make_node("ReduceSum", ["features", "axis"], ["total"], keepdims=1)]
    constants = [helper.make_tensor("axis", TensorProto.INT64, [1], [1])]
    rng = np.random.default_rng(0)
    examples = [{"features": rng.normal(size=4).astype(np.float32)} for _ in range(3)]
    return write_small(
        path, "small-table", inputs=inputs, outputs=outputs, nodes=nodes, constants=constants, examples=examples
    )


def slow_artifact(path: Path, products: int = 3) -> Artifact:
    """The same features to the same sum, with products of large matrices on the way: some three milliseconds each."""
    inputs = (TensorSpec(name="features", dtype="float32", shape=("batch", 4), minimum=-10, maximum=10),)
    outputs = (TensorSpec(name="total", dtype="float32", shape=("batch", 1)),)
    nodes = [
        helper.make_node("ReduceSum", ["features", "axis"], ["sum"], keepdims=1),
        helper.make_node("ReduceMean", ["features"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "tiny"], ["small"]),
        helper.make_node("Expand", ["small", "large"], ["m0"]),
        helper.make_node("Expand", ["share", "large"], ["average"]),
        *(helper.make_node("MatMul", [f"m{number}", "average"], [f"m{number + 1}"]) for number in range(products)),
        helper.make_node("ReduceMean", [f"m{products}"], ["nothing"], keepdims=0),
        helper.make_node("Add", ["sum", "nothing"], ["total"]),
    ]
    constants = [
        helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
        helper.make_tensor("tiny", TensorProto.FLOAT, [], [1e-9]),
        helper.make_tensor("share", TensorProto.FLOAT, [], [1 / 512]),
        helper.make_tensor("large", TensorProto.INT64, [2], [512, 512]),
    ]
    examples = [{"features": np.array(row, dtype=np.float32)} for row in ([1, 2, 3, 4], [-1, 0, 1, 2])]
    return write_small(
        path, "small-slow", inputs=inputs, outputs=outputs, nodes=nodes, constants=constants, examples=examples
    )


def typed_artifact(path: Path) -> Artifact:
    """An int16 and a bool vector of each example, to count (int64) where the flag is set, else 0."""
    inputs = (
        TensorSpec(name="count", dtype="int16", shape=("batch", 2)),
        TensorSpec(name="flag", dtype="bool", shape=("batch", 2)),
    )
    outputs = (TensorSpec(name="kept", dtype="int64", shape=("batch", 2)),)
    nodes = [
        helper.make_node("Cast", ["count"], ["wide"], to=TensorProto.INT64),
        helper.make_node("Cast", ["flag"], ["mask"], to=TensorProto.INT64),
        helper.make_node("Mul", ["wide", "mask"], ["kept"]),
    ]
    examples = [
        {"count": np.array([1, -2], dtype=np.int16), "flag": np.array([True, False])},
        {"count": np.array([3, 4], dtype=np.int16), "flag": np.array([True, True])},
    ]
    return write_small(
        path, "small-types", inputs=inputs, outputs=outputs, nodes=nodes, constants=[], examples=examples
    )


def identity_artifact(path: Path, dtype: DType) -> Artifact:
    """Rows of two values of a type, given back."""
    inputs = (TensorSpec(name="given", dtype=dtype, shape=("batch", 2)),)
    outputs = (TensorSpec(name="back", dtype=dtype, shape=("batch", 2)),)
    nodes = [helper.make_node("Identity", ["given"], ["back"])]
    examples = [{"given": np.array(row).astype(inputs[0].numpy_dtype)} for row in ([0, 1], [1, 1])]
    if dtype == "string":
        examples = [{"given": np.array(row, object)} for row in (["", "a"], ["Bodø", "a"])]
    return write_small(
        path, "small-identity", inputs=inputs, outputs=outputs, nodes=nodes, constants=[], examples=examples
    )


COLUMNS = (
    TensorSpec(name="size", dtype="float32", shape=("batch", 2), labels=("age", "height"), minimum=0, missing=True),
    TensorSpec(name="city", dtype="int64", shape=("batch",), categories=("Bergen", "Oslo"), unknown=2, missing=True),
    TensorSpec(name="kind", dtype="int64", shape=("batch", 1), categories=("a", "b")),
    TensorSpec(name="name", dtype="string", shape=("batch", 1), max_bytes=16),
    TensorSpec(name="agreed", dtype="bool", shape=("batch",)),
)
"""Columns of every kind: numbers side by side, categories with and without a code for others, strings, flags."""


def columns_artifact(path: Path) -> Artifact:
    """A table of every kind of column, given back as tensors."""
    echoed = COLUMNS[1:]
    outputs = (
        *(TensorSpec(name=f"{spec.name}_back", dtype=spec.dtype, shape=spec.shape) for spec in echoed),
        TensorSpec(name="total", dtype="float32", shape=("batch",)),
    )
    nodes = [
        *(helper.make_node("Identity", [spec.name], [f"{spec.name}_back"]) for spec in echoed),
        helper.make_node("IsNaN", ["size"], ["gone"]),
        helper.make_node("Where", ["gone", "zero", "size"], ["there"]),
        helper.make_node("ReduceSum", ["there", "axis"], ["total"], keepdims=0),
    ]
    constants = [
        helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
        helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]),
    ]
    rng = np.random.default_rng(0)
    examples: list[dict[str, Array]] = [
        {
            "size": np.array([rng.uniform(1, 90), np.nan if row % 5 == 0 else rng.uniform(1, 2)], np.float32),
            "city": np.array(rng.integers(2)),
            "kind": rng.integers(2, size=1),
            "name": np.array(["Ada" if row % 2 else "Åse"], object),
            "agreed": np.array(bool(row % 2)),
        }
        for row in range(60)
    ]
    return write_small(
        path, "small-columns", inputs=COLUMNS, outputs=outputs, nodes=nodes, constants=constants, examples=examples
    )


def echo_artifact(path: Path) -> Artifact:
    """Four tensors of different types, each given back."""
    columns: dict[str, tuple[DType, int]] = {
        "numbers": ("float32", 4),
        "counts": ("int64", 3),
        "octets": ("uint8", 2),
        "flags": ("bool", 2),
    }
    inputs = tuple(TensorSpec(name=n, dtype=d, shape=("batch", size)) for n, (d, size) in columns.items())
    outputs = tuple(TensorSpec(name=f"{n}_out", dtype=d, shape=("batch", size)) for n, (d, size) in columns.items())
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in columns]
    examples = [{n: np.full(size, value).astype(d) for n, (d, size) in columns.items()} for value in (0, 1)]
    return write_small(path, "small-echo", inputs=inputs, outputs=outputs, nodes=nodes, constants=[], examples=examples)


def graph_artifact(
    path: Path,
    *,
    name: str = "small-graph",
    features: int = 2,
    tensors: tuple[str, str, str] = ("nodes", "edges", "owner"),
) -> Artifact:
    """Ragged nodes and edges: for each graph the softmax over the sums of its nodes and of its edges' sources.

    Args:
        path: folder of the artifact.
        name: of the model.
        features: numbers of a node.
        tensors: names of the nodes' features, the edges and the owners.
    """
    node, edge, owner = tensors
    inputs = (
        TensorSpec(name=node, dtype="float32", shape=("nodes", features)),
        TensorSpec(name=edge, dtype="int64", shape=(2, "edges"), indexes="nodes"),
        TensorSpec(name=owner, dtype="int64", shape=("nodes",), owner_of="nodes"),
    )
    labels = ("left", "right", *(f"kind {number}" for number in range(2, features)))
    outputs = (TensorSpec(name="kind", dtype="float32", shape=("batch", features), labels=labels),)
    nodes = [
        helper.make_node("Gather", [edge, "zero"], ["sources"], axis=0),
        helper.make_node("Gather", [edge, "one"], ["targets"], axis=0),
        helper.make_node("Gather", [node, "sources"], ["messages"], axis=0),
        helper.make_node("Unsqueeze", ["targets", "axis1"], ["column"]),
        helper.make_node("Expand", ["column", "pair"], ["places"]),
        helper.make_node("ScatterElements", [node, "places", "messages"], ["mixed"], axis=0, reduction="add"),
        helper.make_node("ReduceMax", [owner], ["last"], keepdims=0),
        helper.make_node("Add", ["last", "one"], ["graphs"]),
        helper.make_node("Range", ["zero", "graphs", "one"], ["index"]),
        helper.make_node("Unsqueeze", ["index", "axis1"], ["wanted"]),
        helper.make_node("Equal", ["wanted", owner], ["member"]),
        helper.make_node("Cast", ["member"], ["weights"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["weights", "mixed"], ["sums"]),
        helper.make_node("Softmax", ["sums"], ["kind"], axis=1),
    ]
    constants = [
        helper.make_tensor("zero", TensorProto.INT64, [], [0]),
        helper.make_tensor("one", TensorProto.INT64, [], [1]),
        helper.make_tensor("axis1", TensorProto.INT64, [1], [1]),
        helper.make_tensor("pair", TensorProto.INT64, [2], [1, features]),
    ]
    rng = np.random.default_rng(0)
    examples: list[dict[str, Array]] = [
        {
            node: rng.normal(size=(size, features)).astype(np.float32),
            edge: np.stack([np.arange(size), np.roll(np.arange(size), 1)]).astype(np.int64),
        }
        for size in (3, 4)
    ]
    return write_small(path, name, inputs=inputs, outputs=outputs, nodes=nodes, constants=constants, examples=examples)


def colour_artifact(path: Path) -> Artifact:
    """uint8 pictures (batch, 16, 16, 3) to their strongest colour, and whether it is bright."""
    inputs = (TensorSpec(name="image", dtype="uint8", shape=("batch", 16, 16, 3), content="image"),)
    outputs = (
        TensorSpec(name="colour", dtype="float32", shape=("batch", 3), labels=("red", "green", "blue")),
        TensorSpec(name="shade", dtype="float32", shape=("batch", 2), labels=("dark", "bright")),
    )
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["means"], keepdims=0),
        helper.make_node("Div", ["means", "ten"], ["scaled"]),
        helper.make_node("Softmax", ["scaled"], ["colour"], axis=1),
        helper.make_node("ReduceMax", ["means", "axis1"], ["strongest"], keepdims=1),
        helper.make_node("MatMul", ["strongest", "slope"], ["sloped"]),
        helper.make_node("Add", ["sloped", "offset"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["shade"], axis=1),
    ]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
        helper.make_tensor("axis1", TensorProto.INT64, [1], [1]),
        helper.make_tensor("ten", TensorProto.FLOAT, [], [10]),
        helper.make_tensor("slope", TensorProto.FLOAT, [1, 2], [-0.05, 0.05]),
        helper.make_tensor("offset", TensorProto.FLOAT, [2], [6.4, -6.4]),
    ]
    rng = np.random.default_rng(0)
    examples = [{"image": rng.integers(0, 256, size=(16, 16, 3), dtype=np.uint8)} for _ in range(4)]
    return write_small(
        path, "small-colour", inputs=inputs, outputs=outputs, nodes=nodes, constants=constants, examples=examples
    )


def picture_artifact(path: Path, *, softmax: bool = True, output: str = "shade") -> Artifact:
    """uint8 pictures (batch, 4, 4, 3) to two labels by their mean brightness: probabilities, or scores."""
    inputs = (TensorSpec(name="image", dtype="uint8", shape=("batch", 4, 4, 3), content="image"),)
    outputs = (TensorSpec(name=output, dtype="float32", shape=("batch", 2), labels=("dark", "bright")),)
    scores = "scores" if softmax else output
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "axis1"], ["column"]),
        helper.make_node("MatMul", ["column", "slope"], ["sloped"]),
        helper.make_node("Add", ["sloped", "offset"], [scores]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["scores"], [output], axis=1))
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3]),
        helper.make_tensor("axis1", TensorProto.INT64, [1], [1]),
        helper.make_tensor("slope", TensorProto.FLOAT, [1, 2], [-0.05, 0.05]),
        helper.make_tensor("offset", TensorProto.FLOAT, [2], [6.4, -6.4]),
    ]
    examples = [{"image": np.full((4, 4, 3), shade, dtype=np.uint8)} for shade in (10, 240)]
    return write_small(
        path, "small-picture", inputs=inputs, outputs=outputs, nodes=nodes, constants=constants, examples=examples
    )


def sound_artifact(path: Path) -> Artifact:
    """float32 recordings (batch, 400), content ``wav``, to the probabilities of quiet and loud; watched for drift."""
    inputs = (TensorSpec(name="sound", dtype="float32", shape=("batch", 400), content="wav"),)
    outputs = (TensorSpec(name="level", dtype="float32", shape=("batch", 2), labels=("quiet", "loud")),)
    nodes = [
        helper.make_node("Abs", ["sound"], ["size"]),
        helper.make_node("ReduceMean", ["size", "axis"], ["mean"], keepdims=1),
        helper.make_node("MatMul", ["mean", "slope"], ["sloped"]),
        helper.make_node("Add", ["sloped", "offset"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["level"], axis=1),
    ]
    constants = [
        helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
        helper.make_tensor("slope", TensorProto.FLOAT, [1, 2], [-20, 20]),
        helper.make_tensor("offset", TensorProto.FLOAT, [2], [5, -5]),
    ]
    rng = np.random.default_rng(0)
    volumes = rng.uniform(0.01, 0.9, 200)
    examples = [{"sound": rng.uniform(-volume, volume, 400).astype(np.float32)} for volume in volumes]
    return write_small(
        path, "small-sound", inputs=inputs, outputs=outputs, nodes=nodes, constants=constants, examples=examples
    )


def log_artifact(path: Path) -> Artifact:
    """float32 (batch, 1) to its logarithm, which is not finite at 0."""
    inputs = (TensorSpec(name="x", dtype="float32", shape=("batch", 1)),)
    outputs = (TensorSpec(name="y", dtype="float32", shape=("batch", 1)),)
    nodes = [helper.make_node("Log", ["x"], ["y"])]
    examples = [{"x": np.array([value], dtype=np.float32)} for value in (1.0, 2.0)]
    return write_small(path, "small-log", inputs=inputs, outputs=outputs, nodes=nodes, constants=[], examples=examples)


def wide_artifact(path: Path, columns: int = 20_000) -> Artifact:
    """float32 (batch, 1) to its logarithm, ``columns`` times: a few bytes to a large answer, not finite at 0."""
    inputs = (TensorSpec(name="x", dtype="float32", shape=("batch", 1)),)
    outputs = (TensorSpec(name="y", dtype="float32", shape=("batch", columns)),)
    nodes = [helper.make_node("Log", ["x"], ["log"]), helper.make_node("MatMul", ["log", "ones"], ["y"])]
    constants = [helper.make_tensor("ones", TensorProto.FLOAT, [1, columns], [1.0] * columns)]
    examples = [{"x": np.array([value], dtype=np.float32)} for value in (1.0, 2.0)]
    return write_small(
        path, "small-wide", inputs=inputs, outputs=outputs, nodes=nodes, constants=constants, examples=examples
    )


def lookup_artifact(path: Path) -> Artifact:
    """int64 (batch, 1) to an entry of a table of three; ONNX Runtime fails beyond it, as nothing declares the bound."""
    inputs = (TensorSpec(name="index", dtype="int64", shape=("batch", 1)),)
    outputs = (TensorSpec(name="entry", dtype="float32", shape=("batch", 1)),)
    nodes = [helper.make_node("Gather", ["table", "index"], ["entry"], axis=0)]
    constants = [helper.make_tensor("table", TensorProto.FLOAT, [3], [0.5, 1.5, 2.5])]
    examples = [{"index": np.array([value])} for value in (0, 2)]
    return write_small(
        path, "small-lookup", inputs=inputs, outputs=outputs, nodes=nodes, constants=constants, examples=examples
    )


def looping_artifact(path: Path) -> Artifact:
    """int64 (batch, 1), a number of turns, to the number of turns taken: a run takes as long as the input says."""
    inputs = (TensorSpec(name="turns", dtype="int64", shape=("batch", 1)),)
    outputs = (TensorSpec(name="taken", dtype="int64", shape=("batch", 1)),)
    scalar: list[str | int | None] = []
    column: list[str | int | None] = ["batch", 1]
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["before", "one"], ["after"])],
        "turn",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, scalar),
            helper.make_tensor_value_info("go", TensorProto.BOOL, scalar),
            helper.make_tensor_value_info("before", TensorProto.INT64, column),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, scalar),
            helper.make_tensor_value_info("after", TensorProto.INT64, column),
        ],
    )
    nodes = [
        helper.make_node("ReduceMax", ["turns"], ["most"], keepdims=0),
        helper.make_node("Mul", ["turns", "zero"], ["start"]),
        helper.make_node("Loop", ["most", "yes", "start"], ["taken"], body=body),
    ]
    constants = [
        helper.make_tensor("zero", TensorProto.INT64, [], [0]),
        helper.make_tensor("one", TensorProto.INT64, [], [1]),
        helper.make_tensor("yes", TensorProto.BOOL, [], [True]),
    ]
    examples = [{"turns": np.array([3])}]
    return write_small(
        path, "small-loop", inputs=inputs, outputs=outputs, nodes=nodes, constants=constants, examples=examples
    )


def write_small(
    path: Path,
    name: str,
    *,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    nodes: Sequence[NodeProto],
    constants: Sequence[TensorProto],
    examples: Sequence[Mapping[str, Array]],
) -> Artifact:
    """An artifact of these nodes and constants, which answers the examples as the graph does."""
    graph = helper.make_graph(nodes, name, _values(inputs), _values(outputs), constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    file = path.with_suffix(".onnx")
    save(model, file)
    session = open_session(file)
    names = [spec.name for spec in outputs]

    def answer(rows: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
        return dict(zip(names, session.run(names, collate(inputs, rows)), strict=True))

    singles = [(row, {name: array[0] for name, array in answer([row]).items()}) for row in examples]
    shipped = [spec for spec in inputs if not spec.optional]
    contents = [(spec, content) for spec in inputs if (content := content_of(spec)) is not None]
    packed = PackedVariant(
        variant=Variant(name="fp32"), file="variants/fp32.onnx", precision="fp32", passed=True, golden_atol=1e-4
    )
    manifest = Manifest(
        name=name,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        chosen="fp32",
        variants=(packed,),
        provenance=Provenance(created="2026-01-01T00:00:00+00:00"),
    )
    files: dict[str, bytes | Path] = {
        **{name: data for spec, content in contents for name, data in content.files(spec).items()},
        "variants/fp32.onnx": file,
        "golden/inputs.npz": tensors_to_bytes(collate(inputs, examples[:_GOLDEN])),
        "golden/fp32.npz": tensors_to_bytes(answer(examples[:_GOLDEN])),
        "reference.json": Reference.fit(shipped, outputs, singles).to_json().encode(),
    }
    return write_artifact(path, manifest, files)


def _values(specs: Sequence[TensorSpec]) -> list[ValueInfoProto]:
    return [helper.make_tensor_value_info(spec.name, _TYPES[spec.dtype], list(spec.shape)) for spec in specs]
