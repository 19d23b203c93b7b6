"""Before the first epoch, a model that does not fit together is told in one sentence, with the line of the user."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from lading.build.dry_run import dry_run
from lading.build.examples import read_example
from lading.build.export.export import export_module
from lading.errors import DataError, SpecError
from lading.import_string import load_spec
from lading.spec import VARIANTS, ModelSpec, Variant
from tests.given.tiny import TinyGraph, TinyImage, TinyTable

MODEL = """
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from lading import ModelSpec, TensorSpec


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.layer = nn.Linear(4, 2)

    def forward(self, row):
        return torch.softmax(self.layer(self.norm(row)), 1)


class Model(ModelSpec):
    name = "model"
    inputs = (TensorSpec(name="row", dtype="float32", shape=("batch", 4)),)
    outputs = (TensorSpec(name="sign", dtype="float32", shape=("batch", 2), labels=("minus", "plus")),)

    def build(self):
        return Network()

    def dataset(self, split):
        rows = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
        return [({"row": row}, {"sign": np.int64(row.sum() > 0)}) for row in rows]

    def loss(self, outputs, targets):
        return functional.nll_loss(outputs["sign"].log(), targets["sign"])

    def score(self, outputs, targets):
        return float(np.mean(outputs["sign"].argmax(1) == targets["sign"]))
"""
EXAMPLE = '({"row": row}, {"sign": np.int64(row.sum() > 0)})'
FORWARD = "return torch.softmax(self.layer(self.norm(row)), 1)"
BROKEN = {
    "a dtype": (
        "astype(np.float32)",
        "astype(np.float64)",
        "def dataset",
        "has dtype float64; the model takes float32",
    ),
    "a shape": ("size=(8, 4)", "size=(8, 5)", "def dataset", "has shape [5]; the model takes [4]"),
    "a batch dim": (
        '"row": row}',
        '"row": row[None]}',
        "def dataset",
        "an example has no batch dim, so return array[0]",
    ),
    "an unknown input": ('({"row": row}', '({"rows": row}', "def dataset", "'rows'"),
    "no pair": (
        EXAMPLE,
        '{"row": row, "sign": 1}',
        "def dataset",
        "dataset('train')[0] is a dict; return a pair of dicts",
    ),
    "a tuple of arrays": (EXAMPLE, "(row, 1)", "def dataset", "has a ndarray as its inputs; return a pair of dicts"),
    "three parts": (EXAMPLE, "(row, 1, 2)", "def dataset", "is a tuple of 3; return a pair of dicts"),
    "an empty split": ("return [(", "return [] if split == 'test' else [(", "def dataset", "dataset('test') is empty"),
    "a split that fails": ("rows = np", "open('nowhere.csv'); rows = np", "open('nowhere", "FileNotFoundError"),
    "no length": (
        "return [(",
        "return iter(rows) or [(",
        "def dataset",
        "an iterator, which has no length or no items",
    ),
    "targets of two sizes": (
        "np.int64(row.sum() > 0)})",
        "np.zeros(1 + np.array_equal(row, rows[0]))})",
        "def dataset",
        "'sign' is [2] and [1]",
    ),
    "a target's name": ('targets["sign"])\n\n', 'targets["sing"])\n\n', 'targets["sing"]', "loss() fails: KeyError"),
    "a loss of many": ('targets["sign"])\n\n', 'targets["sign"], reduction="none")\n\n', "def loss", "shape [2]"),
    "a loss without weights": (
        'outputs["sign"].log()',
        'outputs["sign"].detach().log()',
        "def loss",
        "no weight changes",
    ),
    "a loss that is a number": ("return functional", "return 1.0 or functional", "def loss", "returns a float"),
    "a score that fails": ('argmax(1) == targets["sign"]', 'argmax(1) == targets["s"]', "argmax(1) ==", "KeyError"),
    "a score of many": ("float(np.mean(", "((", "def score", "score() returns a ndarray; one number is wanted"),
    "a score of nothing": ("return float(np.mean", "float(np.mean", "def score", "score() returns None"),
    "an output of another shape": ("nn.Linear(4, 2)", "nn.Linear(4, 3)", "def build", "'sign' of shape [1, 3]"),
    "an output of another dtype": (FORWARD, FORWARD + ".double()", "def build", "'sign' as float64"),
    "two outputs": (
        FORWARD,
        FORWARD.replace("return", "return row,"),
        "def build",
        "returns 2 outputs, and the spec has 1",
    ),
    "a dict": (
        FORWARD,
        'return {"sign": self.layer(row)}',
        "def build",
        "forward returns a dict of sign; return a tuple",
    ),
    "no tensor": (FORWARD, "return [[1.0]]", "def build", "forward returns a list as output 'sign'"),
    "a failing forward": ("nn.Linear(4, 2)", "nn.Linear(5, 2)", FORWARD, "forward on a batch of 1 of 'train' fails"),
    "a batch of one only": (
        FORWARD,
        "return torch.softmax(self.layer(row.reshape(1, 4)), 1)",
        "reshape(1, 4)",
        "batch of 2",
    ),
    "no module": ("return Network()", "return Network", "def build", "build() returns a type; a torch.nn.Module"),
    "a failing build": ("nn.Linear(4, 2)", "nn.Linear(4)", "nn.Linear(4)", "build() fails: TypeError"),
    "an if on a tensor": (
        FORWARD,
        "if row.sum() > 0: row = row * 2\n        " + FORWARD,
        "if row.sum()",
        "torch.where",
    ),
    "dropout that is always on": (
        FORWARD,
        "return torch.softmax(self.layer(functional.dropout(row)), 1)",
        "def build",
        "forward gives another 'sign' for the same batch of 'train' when it is called again",
    ),
    "a forward that remembers": (
        FORWARD,
        "self.calls = getattr(self, 'calls', 0) + 1; return torch.softmax(self.layer(row) * self.calls, 1)",
        "def build",
        "or remember a call",
    ),
    "layers of no size": (
        "nn.Linear(4, 2)",
        "nn.LazyLinear(2)",
        "def build",
        "without a size for 'layer.weight', so no weights could be loaded into it",
    ),
    "a loss that is not a number": (
        "return functional.nll_loss",
        "return float('nan') * functional.nll_loss",
        "def loss",
        "loss() is nan for the first examples, before any training",
    ),
    "lists": (
        '"row": row}',
        '"row": row.tolist()}',
        "def dataset",
        "has a list as its input 'row'; give a NumPy array",
    ),
    "a literal batch": (
        FORWARD,
        "row = row.view(row.shape[0] // 1, 4) if row.shape[0] == 3 else row; " + FORWARD,
        "row = row.view",
        "the constant 3",
    ),
}


def model(folder: Path, text: str = MODEL) -> ModelSpec:
    (folder / "given").mkdir()
    (folder / "given" / "model.py").write_text(text)
    return load_spec(f"{folder}/given/model.py:Model")


@pytest.mark.parametrize(("old", "new", "line", "words"), BROKEN.values(), ids=BROKEN.keys())
def test_what_does_not_fit_is_one_sentence_with_a_line_of_the_user(
    old: str, new: str, line: str, words: str, tmp_path: Path
) -> None:
    assert old in MODEL
    text = MODEL.replace(old, new, 1)
    with pytest.raises(SpecError) as caught:
        dry_run(model(tmp_path, text))
    sentence = str(caught.value)
    assert words in sentence
    assert "\n" not in sentence
    assert caught.value.exit_code == 2
    lines = text.splitlines()
    named = [int(number) for number in re.findall(r"model\.py:(\d+)", sentence)]
    assert line in lines[named[0] - 1], sentence


@pytest.mark.parametrize(("variants", "most"), [(VARIANTS[:1], 20), (VARIANTS, 60)], ids=["not pruned", "pruned"])
def test_a_model_that_fits_costs_a_few_examples(variants: tuple[Variant, ...], most: int, tmp_path: Path) -> None:
    spec, rows = model(tmp_path), list[int]()
    spec.variants = variants
    module = spec.build()

    def count(_module: torch.nn.Module, inputs: tuple[torch.Tensor], _answer: torch.Tensor) -> None:
        if not torch.compiler.is_exporting():
            rows.append(len(inputs[0]))

    module.register_forward_hook(count)
    dry_run(spec, module)
    assert 0 < sum(rows) <= most


@pytest.mark.parametrize("spec", [TinyImage(), TinyTable(), TinyGraph()], ids=lambda spec: spec.name)
def test_pictures_tables_and_graphs_pass(spec: ModelSpec) -> None:
    dry_run(spec)


def test_nothing_is_left_changed() -> None:
    spec = TinyImage()
    torch.manual_seed(3)
    np.random.seed(3)
    module = spec.build()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    dry_run(spec, module)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # type: ignore[index]


def test_a_score_that_needs_both_classes_gets_more_examples(tmp_path: Path) -> None:
    ranked = "if len(targets['sign']) < 4: raise ValueError('only one class')\n        return float(np.mean("
    dry_run(model(tmp_path, MODEL.replace("return float(np.mean(", ranked)))


def test_torch_tensors_in_a_data_set_are_taken(tmp_path: Path) -> None:
    as_tensors = '({"row": torch.from_numpy(row)}, {"sign": torch.tensor(int(row.sum() > 0))})'
    spec = model(tmp_path, MODEL.replace(EXAMPLE, as_tensors))
    dry_run(spec)
    export_module(spec, spec.build(), tmp_path / "fp32.onnx")


SPLIT = """
class Split(list):
    prepared = 0

    def prepare(self):
        Split.prepared += 1
        self.extend(self.rest)
        self.rest = []


"""


@pytest.mark.parametrize("readable", [True, False])
def test_a_split_is_prepared_only_where_it_cannot_be_read_without(readable: bool, tmp_path: Path) -> None:
    rows = f"[{EXAMPLE} for row in rows]"
    text = MODEL.replace("class Network", SPLIT + "class Network").replace(
        f"return {rows}",
        f"split = Split({rows if readable else ''}); split.rest = {'[]' if readable else rows}; return split",
    )
    assert text.count("split.rest") == 1
    spec = model(tmp_path, text)
    dry_run(spec)
    prepared = type(spec.dataset("valid")).prepared  # type: ignore[attr-defined]
    assert prepared == (0 if readable else 3)  # a split each


def test_an_example_that_cannot_be_read_is_told_with_its_number_and_line(tmp_path: Path) -> None:
    text = (
        MODEL
        + """

class Rows(list):
    def __getitem__(self, index):
        if index == 5:
            raise OSError("row 5 is damaged")
        return super().__getitem__(index)
"""
    )
    text = text.replace("return [(", "return Rows([(").replace("for row in rows]", "for row in rows])")
    dataset = model(tmp_path, text).dataset("train")
    with pytest.raises(
        DataError, match=r"model\.py:(\d+): example 5 of 8 cannot be read: OSError: row 5 is dam"
    ) as error:
        read_example(dataset, 5)
    line = int(re.findall(r"model\.py:(\d+)", str(error.value))[0])
    assert "raise OSError" in text.splitlines()[line - 1]
