"""``lading pack --tokenizer``: a bare graph of tokens becomes a model of texts."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from rich.console import Console
from tokenizers import Tokenizer

from lading.artifact import Artifact
from lading.build.onnx_declared import Declared, read_given
from lading.build.onnx_file import pack_onnx
from lading.build.onnx_reader import read_bare
from lading.build.onnx_rows import read_rows
from lading.build.verify.tables import describe
from lading.errors import SpecError, WrapError
from tests.given.bare_encoder import LONGEST, Encoder, WithoutMask, by_hand, write_encoder
from tests.given.live_server import live_server
from tests.given.onnx_text import parse
from tests.given.packed_graph import answers_of_all_ports
from tests.given.quick_verify import quick_verify
from tests.given.small_text import TEXTS, WORDS, write_tokenizer


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoder") / "encoder.onnx")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("words") / "tokenizer.json")


def packed(graph: Path, said: str, folder: Path, calibration: Path | None = None) -> Artifact:
    with quick_verify():
        return pack_onnx(graph, folder, name="bare", calibration=calibration, declared=declared(said))


def declared(said: str) -> Declared:
    return Declared(texts=(read_given(said),))


def random_texts(count: int) -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS[4:], size=rng.integers(1, LONGEST - 2))) for _ in range(count)]


def test_a_text_gets_the_answer_of_tokenizer_and_runtime_on_every_port(
    graph: Path, tokenizer: Path, tmp_path: Path
) -> None:
    artifact = packed(graph, str(tokenizer), tmp_path / "artifact")
    assert artifact.manifest.max_batch is None
    stream = io.StringIO()
    Console(file=stream, width=160).print(describe(artifact))
    assert f"text, at most {LONGEST} length" in stream.getvalue()
    with live_server(artifact) as live:
        for group in ([TEXTS[0]], [TEXTS[2]], list(TEXTS), random_texts(5)):
            wanted = [by_hand(graph, tokenizer, text) for text in group]
            for port, answered in answers_of_all_ports(live, {"input_ids": np.array(group, object)}).items():
                for row, (scores, each) in enumerate(wanted):
                    np.testing.assert_allclose(answered["scores"][row], scores[0], atol=1e-5, err_msg=port)
                    length = each.shape[1]
                    np.testing.assert_allclose(answered["each"][row][:length], each[0], atol=1e-5, err_msg=port)


def test_the_declaration_comes_from_graph_and_tokenizer(graph: Path, tokenizer: Path) -> None:
    tokens, mask, types = read_bare(graph, declared=declared(str(tokenizer))).inputs
    assert (tokens.content, tokens.shape, tokens.maximum) == ("text", ("batch", "length"), len(WORDS) - 1)
    assert tokens.padding is not None
    assert (tokens.padding.max_length, tokens.padding.value, tokens.padding.truncate) == (LONGEST, 0, False)
    assert (mask.mask_of, types.default) == ("length", 0)


def test_outputs_of_a_token_each_have_its_dim(graph: Path, tokenizer: Path) -> None:
    scores, each = read_bare(graph, declared=declared(str(tokenizer))).outputs
    assert (scores.shape, each.shape) == (("batch", 3), ("batch", "length", 16))


def test_a_tokenizer_says_where_texts_are_cut_and_what_fills_them_up(graph: Path, tmp_path: Path) -> None:
    told = Tokenizer.from_file(str(write_tokenizer(tmp_path / "words.json")))
    told.enable_truncation(10)
    told.enable_padding(pad_id=3)
    told.save(str(tmp_path / "words.json"))
    (tokens, *_) = read_bare(graph, declared=declared(str(tmp_path / "words.json"))).inputs
    assert tokens.padding is not None
    assert (tokens.padding.max_length, tokens.padding.value, tokens.padding.truncate) == (10, 3, True)
    said = f"input_ids={tmp_path / 'words.json'},max_length=12,truncate=no,pad=1"
    (tokens, *_) = read_bare(graph, declared=declared(said)).inputs
    assert tokens.padding is not None
    assert (tokens.padding.max_length, tokens.padding.value, tokens.padding.truncate) == (12, 1, False)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("nowhere.json", "there is no file 'nowhere.json'"),
        ("{file},longest=3", "the word 'longest=3' is unknown: write \\[NAME=\\]FILE"),
        ("words={file}", "there is no input 'words'; the inputs are input_ids, attention_mask, token_type_ids"),
        ("{file},max_length=25", "does not run with max_length=25; it takes at most 24"),
    ],
)
def test_what_does_not_fit_is_refused(said: str, message: str, graph: Path, tokenizer: Path) -> None:
    with pytest.raises(SpecError, match=message):
        read_bare(graph, declared=declared(said.format(file=tokenizer)))


def test_a_tokenizer_of_another_network_is_refused(tokenizer: Path, tmp_path: Path) -> None:
    graph = write_encoder(tmp_path / "few.onnx", Encoder(rows=9))
    with pytest.raises(SpecError, match=r"it has 12 tokens, and 'input_ids' takes the numbers of 9"):
        read_bare(graph, declared=declared(str(tokenizer)))


def test_positions_that_a_client_would_have_to_send_are_refused(tokenizer: Path, tmp_path: Path) -> None:
    graph = write_encoder(tmp_path / "positions.onnx", inputs=("input_ids", "attention_mask", "position_ids"))
    with pytest.raises(SpecError, match="the graph also takes 'position_ids' for each token"):
        read_bare(graph, declared=declared(str(tokenizer)))


def test_positions_that_the_padding_token_does_not_take_are_counted(tokenizer: Path, tmp_path: Path) -> None:
    graph = write_encoder(tmp_path / "counted.onnx", Encoder(positions=LONGEST, padding=1))
    bare = read_bare(graph, declared=declared(f"{tokenizer},pad=1"))
    assert bare.inputs[0].padding is not None
    assert bare.inputs[0].padding.max_length == LONGEST - 2
    assert bare.one_by_one is None


def test_a_graph_without_a_longest_text_needs_one(tokenizer: Path, tmp_path: Path) -> None:
    graph = write_encoder(tmp_path / "endless.onnx", WithoutMask(), ("input_ids",))
    with pytest.raises(SpecError, match="says how long a text may be: add max_length=512"):
        read_bare(graph, declared=declared(str(tokenizer)))


def test_a_graph_without_a_mask_takes_one_text_at_a_time(tokenizer: Path, tmp_path: Path) -> None:
    graph = write_encoder(tmp_path / "mean.onnx", WithoutMask(), ("input_ids",))
    bare = read_bare(graph, declared=declared(f"{tokenizer},max_length=20"))
    assert bare.one_by_one is not None
    assert "changes where a longer one is in the same run" in bare.one_by_one
    artifact = packed(graph, f"{tokenizer},max_length=20", tmp_path / "artifact")
    assert artifact.manifest.max_batch == 1
    name = artifact.manifest.outputs[0].name
    with live_server(artifact) as live:
        for text in TEXTS:
            (wanted,) = by_hand(graph, tokenizer, text)
            for port, answered in answers_of_all_ports(live, {"input_ids": np.array([text], object)}).items():
                np.testing.assert_allclose(answered[name], wanted, atol=1e-5, err_msg=port)


def test_a_graph_of_one_length_is_always_filled_up_to_it(tokenizer: Path, tmp_path: Path) -> None:
    graph = write_encoder(tmp_path / "fixed.onnx", length=16)
    artifact = packed(graph, str(tokenizer), tmp_path / "artifact")
    padding = artifact.manifest.inputs[0].padding
    assert padding is not None
    assert (padding.max_length, padding.buckets) == (16, (16,))
    free = write_encoder(tmp_path / "free.onnx")
    with live_server(artifact) as live:
        for group in ([TEXTS[0]], list(TEXTS)):
            wanted = np.concatenate([by_hand(free, tokenizer, text)[0] for text in group])
            for port, answered in answers_of_all_ports(live, {"input_ids": np.array(group, object)}).items():
                np.testing.assert_allclose(answered["scores"], wanted, atol=1e-5, err_msg=port)


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".tsv", ".jsonl"])
def test_texts_of_a_file_calibrate(suffix: str, graph: Path, tokenizer: Path, tmp_path: Path) -> None:
    texts = [*random_texts(40), TEXTS[0], TEXTS[0]]
    lines = {
        ".txt": texts,
        ".csv": ["stars,text", *(f'5,"{text}"' for text in texts)],
        ".tsv": ["input_ids\tstars", *(f"{text}\t5" for text in texts)],
        ".jsonl": [json.dumps({"input_ids": text, "stars": 5}) for text in texts],
    }[suffix]
    file = tmp_path / f"texts{suffix}"
    file.write_text("\n".join(lines))
    artifact = packed(graph, str(tokenizer), tmp_path / "artifact", file)
    served = [one.variant.name for one in artifact.manifest.variants]
    assert {*served, *(one.variant.name for one in artifact.manifest.refused)} == {"fp32", "int8-dynamic"}
    assert b"input_ids.tokens" in artifact.reference_json()


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".jsonl"])
@pytest.mark.parametrize("within", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"], ids=ascii)
def test_only_line_feeds_part_texts(suffix: str, within: str, graph: Path, tokenizer: Path, tmp_path: Path) -> None:
    texts = [f"cat{within}dog", f"dog{within}cat"]
    if suffix == ".jsonl":
        texts = [json.dumps({"input_ids": text}, ensure_ascii=False) for text in texts]
    lines = ["text", *texts] if suffix == ".csv" else texts
    inputs = read_bare(graph, declared=declared(str(tokenizer))).inputs
    for ends in ("\n", "\r\n"):
        (tmp_path / f"texts{suffix}").write_bytes(ends.join(lines).encode())
        rows = read_rows(tmp_path / f"texts{suffix}")
        assert callable(rows)
        assert len(rows(inputs)["input_ids"]) == 2


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (("one.txt", "the cat"), "holds 1 different examples"),
        (("long.txt", "cat\n" + "dog " * 40), "line 2: the text has 42 tokens; at most 24"),
        (("wrong.csv", "a,b\n1,2"), "has no column 'input_ids'; its columns are: a, b"),
        (("wrong.jsonl", '{"a": 1}'), "line 1 has no 'input_ids'; its keys are: a"),
        (("broken.jsonl", "{"), "line 1: "),
    ],
)
def test_calibration_that_does_not_fit_is_refused(
    named: tuple[str, str], message: str, graph: Path, tokenizer: Path, tmp_path: Path
) -> None:
    name, content = named
    (tmp_path / name).write_text(content)
    with pytest.raises(WrapError, match=message):
        pack_onnx(graph, tmp_path / "a", name="bare", calibration=tmp_path / name, declared=declared(str(tokenizer)))


def test_texts_for_a_graph_of_numbers_are_refused(graph: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("the cat\na dog")
    with pytest.raises(WrapError, match="no input takes any: declare one with --tokenizer"):
        pack_onnx(graph, tmp_path / "a", name="bare", calibration=tmp_path / "texts.txt")


def test_two_texts_of_one_request_have_a_length_each(tokenizer: Path, tmp_path: Path) -> None:
    body = """one = Gather (table, query) two = Gather (table, document) q = ReduceMax <keepdims = 0> (one, axis)
        d = ReduceMax <keepdims = 0> (two, axis) m = Mul (q, d) like = ReduceSum <keepdims = 1> (m, axis)"""
    model = parse(body, "int64[N, s] query, int64[N, t] document", "float[N, 1] like", opset=18)
    rows = np.random.default_rng(0).normal(size=(len(WORDS), 4)).astype(np.float32)
    rows[0] = -100  # the padding token never has the largest value
    model.graph.initializer.extend(
        [onnx.numpy_helper.from_array(rows, "table"), onnx.numpy_helper.from_array(np.array([1]), "axis")]
    )
    onnx.save(model, tmp_path / "two.onnx")
    said = [read_given(f"{name}={tokenizer},max_length=20") for name in ("query", "document")]
    bare = read_bare(tmp_path / "two.onnx", declared=Declared(texts=tuple(said)))
    assert [spec.shape for spec in bare.inputs] == [("batch", "s"), ("batch", "t")]
    assert bare.one_by_one is None
    assert [spec.content for spec in bare.inputs] == ["text", "text"]
