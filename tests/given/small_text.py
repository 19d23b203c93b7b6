"""A model of text in a few ONNX nodes, in which each token looks at all others: a wrong mask would show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from lading.artifact import Artifact
from lading.content import with_files
from lading.content.text import tokenize
from lading.spec import Padding, TensorSpec
from tests.given.small_artifacts import write_small

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "sat", "on", "a", "mat", "über", "dog")
LONGEST = 8
TEXTS = ("the cat sat", "a dog on the mat", "über", "the dog sat on a cat")
WIDTH = 4


def write_tokenizer(path: Path) -> Path:
    """Whole words, lower case; [CLS] in front and [SEP] behind."""
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_padding(length=32)  # as files often say, and the server does not want
    tokenizer.save(str(path))
    return path


def text_inputs(folder: Path, padding: Padding | None = None) -> tuple[TensorSpec, ...]:
    """A text, its mask, and token types, with a tokenizer in the folder."""
    inputs = (
        TensorSpec(
            name="text",
            alias="input_ids",
            dtype="int64",
            shape=("batch", "tokens"),
            content="text",
            tokenizer=write_tokenizer(folder / "words.json").name,
            padding=padding or Padding(max_length=LONGEST),
            minimum=0,
            maximum=len(WORDS) - 1,
        ),
        TensorSpec(name="mask", dtype="int64", shape=("batch", "tokens"), mask_of="tokens"),
        TensorSpec(name="types", dtype="int64", shape=("batch", "tokens"), default=0, minimum=0, maximum=1),
    )
    return with_files(inputs, folder)


def text_artifact(folder: Path, padding: Padding | None = None) -> Artifact:
    """Text to the probabilities of two kinds, and to one row of four numbers for each token."""
    folder.mkdir(parents=True, exist_ok=True)
    inputs = text_inputs(folder, padding)
    outputs = (
        TensorSpec(name="kind", dtype="float32", shape=("batch", 2), labels=("animal", "thing")),
        TensorSpec(name="each", dtype="float32", shape=("batch", "tokens", WIDTH)),
    )
    rng = np.random.default_rng(0)
    table, head = rng.normal(size=(len(WORDS), WIDTH)), rng.normal(size=(WIDTH, 2))
    nodes = [
        helper.make_node("Gather", ["table", "text"], ["words"]),
        helper.make_node("Cast", ["types"], ["shifts"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["shifts", "last"], ["shift"]),
        helper.make_node("Add", ["words", "shift"], ["hidden"]),
        helper.make_node("Transpose", ["hidden"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["hidden", "turned"], ["scores"]),
        helper.make_node("Cast", ["mask"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["real", "one"], ["filling"]),
        helper.make_node("Mul", ["filling", "large"], ["hidden_from"]),
        helper.make_node("Unsqueeze", ["hidden_from", "middle"], ["bias"]),
        helper.make_node("Add", ["scores", "bias"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["weights"], axis=-1),
        helper.make_node("MatMul", ["weights", "hidden"], ["each"]),
        helper.make_node("Unsqueeze", ["real", "last"], ["column"]),
        helper.make_node("Mul", ["each", "column"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["sum"], keepdims=0),
        helper.make_node("MatMul", ["sum", "head"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["kind"], axis=-1),
    ]
    constants = [
        numpy_helper.from_array(table.astype(np.float32), "table"),
        numpy_helper.from_array(head.astype(np.float32), "head"),
        numpy_helper.from_array(np.array(1, np.float32), "one"),
        numpy_helper.from_array(np.array(1e9, np.float32), "large"),
        numpy_helper.from_array(np.array([1], np.int64), "middle"),
        numpy_helper.from_array(np.array([2], np.int64), "last"),
    ]
    examples = [{"text": tokenize(inputs[0], text)} for text in TEXTS]
    return write_small(
        folder / "artifact",
        "small-text",
        inputs=inputs,
        outputs=outputs,
        nodes=nodes,
        constants=constants,
        examples=examples,
    )
