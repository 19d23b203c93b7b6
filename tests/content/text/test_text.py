"""A text becomes tokens by the tokenizer that the artifact carries, alike in training and in serving."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from lading.artifact import Artifact
from lading.budget import Budget
from lading.content import check_contents, content_of, decode_rows
from lading.content.text import BYTES_PER_TOKEN, SPARE_BYTES, tokenize
from lading.content.text.tokenizer import Tokenizer
from lading.errors import ArtifactError, BodyTooLargeError, SpecError, TextError
from lading.spec import Padding, TensorSpec
from tests.given.small_text import LONGEST, TEXTS, WORDS, text_artifact, text_inputs, write_tokenizer


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> TensorSpec:
    return text_inputs(tmp_path_factory.mktemp("text"))[0]


def test_a_text_becomes_the_numbers_of_its_tokens(spec: TensorSpec) -> None:
    tokens = tokenize(spec, "the cat flew")
    assert tokens.dtype == np.int64
    assert [WORDS[token] for token in tokens] == ["[CLS]", "the", "cat", "[UNK]", "[SEP]"]


def test_the_files_own_padding_and_truncation_are_off(spec: TensorSpec) -> None:
    assert len(tokenize(spec, "cat")) == 3


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_read_as_it_was_written(spec: TensorSpec, text: str) -> None:
    content = content_of(spec)
    assert content is not None
    check_contents([spec])
    example = content.decode(text.encode(), spec, Budget())
    assert content.encode(example).decode() == text
    assert content.features(example).shape == (len(content.feature_names),)
    for corrupt in content.corruptions.values():
        for severity in range(1, 6):
            corrupted = corrupt(example, severity, np.random.default_rng(0))
            assert (corrupted.dtype, corrupted.shape) == (example.dtype, example.shape)


def test_its_features_tell_length_unknown_words_and_other_scripts(spec: TensorSpec) -> None:
    content = content_of(spec)
    assert content is not None
    described = dict(zip(content.feature_names, content.features(tokenize(spec, "über zebra")), strict=True))
    assert described["tokens"] == 4
    assert described["unknown"] == 0.5
    assert described["not_ascii"] == 0.25
    assert described["characters"] == len("über") + 1


def test_a_drawn_text_is_accepted(spec: TensorSpec) -> None:
    content = content_of(spec)
    assert content is not None
    rng = np.random.default_rng(0)
    drawn = {content.draw(spec, rng) for _ in range(50)}
    assert len(drawn) > 10
    for text in drawn:
        assert 0 < len(content.decode(text, spec, Budget())) <= LONGEST


def test_texts_of_other_lengths_are_one_tensor_that_shows_where_each_ends(spec: TensorSpec) -> None:
    both = decode_rows(spec, [b"cat", b"the cat sat"])
    assert both.shape == (2, 5)
    assert (both[0, 3:] < -(2**62)).all()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "the text is empty: send at least one word"),
        (b"\xff\xfe", "the bytes are no UTF-8: send UTF-8 text"),
        (b"\xff\xd8\xff\xe0 picture", "this is a JPEG file: send UTF-8 text"),
        (b"cat " * 9, "the text has 11 tokens; at most 8 are accepted: send a shorter one"),
    ],
)
def test_what_is_no_text_for_the_model_is_told(spec: TensorSpec, data: bytes, sentence: str) -> None:
    content = content_of(spec)
    assert content is not None
    with pytest.raises(TextError, match=sentence):
        content.decode(data, spec, Budget())


def test_a_long_text_is_refused_before_it_is_read(spec: TensorSpec) -> None:
    most = BYTES_PER_TOKEN * LONGEST + SPARE_BYTES
    unreadable = spec.model_copy(update={"tokenizer": f"sha256:{'0' * 64}"})
    with pytest.raises(SpecError):
        tokenize(unreadable, "a cat")
    with pytest.raises(BodyTooLargeError, match=f"the text has {most + 2} bytes; at most {most} are accepted"):
        tokenize(unreadable, "ü" * (most // 2 + 1))


def test_a_long_text_is_cut_where_the_model_says_so(tmp_path: Path) -> None:
    spec = text_inputs(tmp_path, Padding(max_length=6, truncate=True))[0]
    assert [WORDS[token] for token in tokenize(spec, "cat " * 100_000)] == ["[CLS]", *["cat"] * 4, "[SEP]"]


def test_other_threads_run_while_a_text_is_read(tmp_path: Path) -> None:
    tokenizer = Tokenizer(write_tokenizer(tmp_path / "words.json").read_bytes(), Padding(max_length=10**6))
    done = threading.Event()
    counted = 0

    def read() -> None:
        tokenizer.ids("the cat sat on a mat " * 100_000)
        done.set()

    reader = threading.Thread(target=read)
    switch, began = sys.getswitchinterval(), time.perf_counter()
    sys.setswitchinterval(1000)  # the interpreter itself takes the lock from nobody
    try:
        reader.start()
        while not done.is_set() and time.perf_counter() - began < 60:
            counted += 1
            time.sleep(0)
    finally:
        sys.setswitchinterval(switch)
        reader.join()
    assert counted > 100


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"dtype": "float32"}, "a text is int64 with shape"),
        ({"padding": None}, "a text needs padding"),
        ({"tokenizer": None}, "a text needs a tokenizer"),
        ({"content": None}, 'a tokenizer is for content="text"'),
    ],
)
def test_a_tensor_that_cannot_hold_a_text_is_told(spec: TensorSpec, change: dict[str, object], sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        check_contents([spec.model_copy(update=change)])


def test_a_missing_or_broken_tokenizer_is_told(tmp_path: Path) -> None:
    spec = TensorSpec(
        name="text", dtype="int64", shape=("batch", "tokens"), content="text", padding=Padding(max_length=5),
        tokenizer=str(tmp_path / "none.json"),
    )  # fmt: skip
    with pytest.raises(SpecError, match=r"none\.json cannot be read: No such file"):
        tokenize(spec, "cat")
    (tmp_path / "none.json").write_text("{}")
    with pytest.raises(SpecError, match=r"is it a tokenizer\.json\?"):
        tokenize(spec, "cat")


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_tokenizer(tmp_path / "words.json").read_bytes()
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(SpecError, match=r"pip install 'lading\[text\]'"):
        Tokenizer(file, Padding(max_length=5))


def test_an_artifact_carries_the_tokenizer_and_knows_its_hash(tmp_path: Path) -> None:
    artifact = text_artifact(tmp_path)
    carried = artifact.path / "tokenizer.json"
    assert artifact.manifest.inputs[0].tokenizer == f"sha256:{artifact.manifest.files['tokenizer.json']}"
    carried.write_text(carried.read_text() + " ")
    with pytest.raises(ArtifactError, match=r"tokenizer\.json does not match its checksum"):
        Artifact.load(artifact.path)
