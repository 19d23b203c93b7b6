"""ModelSpec, TensorSpec and Variant refuse what contradicts itself, and say where."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from lading.errors import SpecError
from lading.import_string import load_spec
from lading.spec import VARIANTS, TensorSpec, Variant

MODEL = """
from lading import ModelSpec, TensorSpec, Variant

class Scores(ModelSpec):
    name = "scores"
    inputs = (TensorSpec(name="x", dtype="float32", shape=("batch", 4)),)
    outputs = (TensorSpec(name="y", dtype="float32", shape=("batch", 2), labels=("no", "yes")),)
    {extra}

    def __init__(self, width: int = 8) -> None:
        self.width = width

    def build(self): ...
    def dataset(self, split): return []
    def loss(self, outputs, targets): ...
    def score(self, outputs, targets): return 1.0

class Half(ModelSpec):
    name = "half"
    build, dataset, loss, score = Scores.build, Scores.dataset, Scores.loss, Scores.score

class Shaped(Half):
    outputs = Scores.outputs

    def __init__(self, width: int) -> None:
        self.inputs = (TensorSpec(name="x", dtype="float32", shape=("batch", width)),)
"""


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    file = tmp_path / "scores.py"
    file.write_text(MODEL.format(extra=""))
    return file


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"name": "1x"}, "a name is a letter"),
        ({"shape": ()}, "needs at least"),
        ({"shape": (3, 4)}, "cannot be batched"),
        ({"shape": ("batch", 0)}, "must be at least 1"),
        ({"shape": ("batch", "n o")}, "not a name for a symbolic dim"),
        ({"labels": ("a", "b")}, "2 labels for a last dim of 4"),
        ({"indexes": "nodes"}, "a tensor of indexes is int64"),
        ({"max_rows": 3}, "max_rows bounds a ragged dim"),
        ({"colour": "red"}, "Extra inputs are not permitted"),
    ],
)
def test_a_tensor_that_contradicts_itself_is_refused_with_the_reason(fields: dict[str, object], reason: str) -> None:
    good: dict[str, object] = {"name": "x", "dtype": "float32", "shape": ("batch", 4)}
    with pytest.raises(ValidationError, match=reason):
        TensorSpec.model_validate(good | fields)


def test_a_ragged_tensor_names_the_dim_it_is_joined_along() -> None:
    edges = TensorSpec(name="edge_index", dtype="int64", shape=(2, "edges"), indexes="nodes")
    assert not edges.batched
    assert edges.ragged_axis == 1
    assert edges.example_shape == (2, "edges")


def test_specs_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        VARIANTS[0].name = "other"  # type: ignore[misc]


def test_the_default_variants_have_distinct_names_and_a_plain_fp32() -> None:
    names = [variant.name for variant in VARIANTS]
    assert len(set(names)) == len(names)
    assert Variant(name="fp32", max_score_drop=0.0, required=True) in VARIANTS


def test_a_model_is_loaded_by_import_string_with_its_options(model_file: Path) -> None:
    spec = load_spec(f"{model_file}:Scores", {"width": 3})
    assert spec.name == "scores"
    assert vars(spec) == {"width": 3}
    assert spec.checkpoint() == model_file.with_name("scores.safetensors")
    assert spec.checkpoint(0.5).name == "scores-pruned50.safetensors"


def test_tensors_may_depend_on_an_option(model_file: Path) -> None:
    spec = load_spec(f"{model_file}:Shaped", {"width": 3})
    assert spec.inputs[0].shape == ("batch", 3)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("{file}", "not of the form file.py:Class"),
        ("{folder}/gone.py:Scores", "there is no file"),
        ("{file}:Missing", "the models in it are: Scores, Half, Shaped"),
        ("{file}:Half", "has no 'inputs': set it in the class"),
        ("no_such_package.module:Scores", "cannot be imported"),
    ],
)
def test_a_wrong_import_string_is_refused_with_what_to_do(model_file: Path, target: str, reason: str) -> None:
    with pytest.raises(SpecError, match=reason):
        load_spec(target.format(file=model_file, folder=model_file.parent))


def test_an_unknown_option_is_refused_by_name(model_file: Path) -> None:
    with pytest.raises(SpecError, match="'depth'"):
        load_spec(f"{model_file}:Scores", {"depth": 3})


def test_a_model_file_that_fails_to_import_is_refused_with_its_error(tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text("raise RuntimeError('no weights today')")
    with pytest.raises(SpecError, match="RuntimeError: no weights today"):
        load_spec(f"{file}:Scores")


@pytest.mark.parametrize("code", [0, 1, "'stop'"])
def test_a_model_file_that_ends_the_program_does_not_pass_for_a_build(code: object, tmp_path: Path) -> None:
    file = tmp_path / "script.py"
    file.write_text(f"import sys\n\nsys.exit({code})\n")
    with pytest.raises(SpecError, match=r"script\.py:3 cannot be imported: it ends the program .*__main__"):
        load_spec(f"{file}:Scores")


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ("variants = (Variant(name='int8', pruning=0.5),)", "add a variant without pruning and quantization"),
        ("max_batch = 1", "max_batch is for a bare graph"),
        ("variants = (Variant(name='a'), Variant(name='a'))", "two variants are named 'a'"),
        ("outputs = (TensorSpec(name='x', dtype='float32', shape=('batch', 2)),)", "two tensors are named 'x'"),
        (
            "outputs = (TensorSpec(name='y', dtype='float32', shape=('batch', 2), labels=('a', 'a')),)",
            "output 'y': two labels are named 'a'",
        ),
        ("inputs = (TensorSpec(name='x', dtype='float32', shape=('batch', 2)))", "'inputs' that are no tuple of Tens"),
        ("varients = (Variant(name='fp32'),)", "sets 'varients', which nothing reads; did you mean 'variants'"),
        (
            "inputs = (TensorSpec(name='x', dtype='float32', shape=(1, 2)),)",
            r"scores\.py:\d+ cannot be imported: TensorSpec: tensor 'x': shape \(1, 2\) has neither [^\n]*$",
        ),
        (
            "inputs = (TensorSpec(name='e', dtype='int64', shape=(2, 'edges'), indexes='nodes'),)",
            "points into 'nodes', but no input has that dim",
        ),
    ],
)
def test_a_spec_that_contradicts_itself_is_refused(tmp_path: Path, extra: str, reason: str) -> None:
    file = tmp_path / "scores.py"
    file.write_text(MODEL.format(extra=extra))
    with pytest.raises(SpecError, match=reason):
        load_spec(f"{file}:Scores")


CITY = {"name": "city", "dtype": "int64", "shape": ("batch",), "categories": ("Bergen", "Oslo")}


def test_categories_bound_their_codes() -> None:
    plain = TensorSpec.model_validate(CITY)
    assert (plain.minimum, plain.maximum, plain.codes) == (0, 1, {"Bergen": 0, "Oslo": 1})
    other = TensorSpec.model_validate(CITY | {"unknown": 2, "missing": True})
    assert (other.minimum, other.maximum) == (0, 2)
    assert TensorSpec.model_validate_json(other.model_dump_json(exclude_defaults=True)) == other
    text = TensorSpec(name="city", dtype="string", shape=("batch",), categories=("Oslo",))
    assert (text.codes, text.minimum, text.numpy_dtype) == (None, None, np.dtype(object))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"dtype": "float32"}, "categories are integers or strings, not float32"),
        ({"categories": ()}, "at least one name"),
        ({"categories": ("Oslo", "Oslo")}, "each once"),
        ({"missing": True}, "only floats can be missing, and categories with a code"),
        ({"categories": None, "unknown": 2}, "there are no categories"),
        ({"dtype": "string", "unknown": 2}, "strings have none"),
    ],
)
def test_categories_that_contradict_themselves_are_refused(change: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        TensorSpec.model_validate(CITY | change)


def test_columns_are_the_labels_of_an_input_and_have_names_of_their_own() -> None:
    whole = TensorSpec(name="size", dtype="float32", shape=("batch", 2), labels=("age", "height (m)"), missing=True)
    assert [(column.name, column.shape, column.missing) for column in whole.columns] == [
        ("age", ("batch",), True),
        ("height (m)", ("batch",), True),
    ]
    graph = TensorSpec(name="size", dtype="float32", shape=("nodes", 2), labels=("age", "height"))
    assert graph.columns == ()


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        ('TensorSpec(name="x", dtype="string", shape=("batch",))', "torch has no strings, and 'x' is one"),
        (
            'TensorSpec(name="x", dtype="float32", shape=("batch", 2), labels=("a", "b")), '
            'TensorSpec(name="a", dtype="float32", shape=("batch",))',
            "two input columns are named 'a'",
        ),
    ],
)
def test_inputs_that_no_record_could_tell_apart_or_torch_take_are_refused(
    inputs: str, problem: str, tmp_path: Path
) -> None:
    file = tmp_path / "scores.py"
    file.write_text(MODEL.format(extra="").replace('TensorSpec(name="x", dtype="float32", shape=("batch", 4))', inputs))
    with pytest.raises(SpecError, match=problem):
        load_spec(f"{file}:Scores")
