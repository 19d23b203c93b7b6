"""What people type by mistake, and the words that the command's sentence must hold."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from lading.artifact import Artifact
from tests.given.onnx_text import CLASSIFIER, parse, save

TABLE = "artifacts/table"
_BOX = re.compile(r"[─-╿]")


@dataclass(frozen=True)
class CommandMistake:
    """A command line in :func:`work_folder`. ``BUSY`` stands for a port that is in use."""

    line: str
    words: tuple[str, ...]
    code: int = 1
    environment: dict[str, str] = field(default_factory=dict)


def typed(line: str, *words: str, code: int = 1, **environment: str) -> CommandMistake:
    return CommandMistake(line, words, code, environment)


def work_folder(folder: Path, table: Artifact) -> None:
    """Files and folders that people give to the wrong command."""
    shutil.copytree(table.path, folder / TABLE)
    for suffix in ("pt", "safetensors", "h5", "pkl", "engine", "onnx", "tar.gz"):
        (folder / f"model.{suffix}").write_bytes(b"not what its name says")
    (folder / "model.py").write_text("count = 1\n")
    save(parse(CLASSIFIER), folder / "graph.onnx")
    (folder / "broken.py").write_text("def (:\n")
    (folder / "rows.csv").write_text("1,2,3,4\n")
    (folder / "rows.xlsx").write_bytes(b"PK")
    (folder / "notes.txt").write_text("notes\n")
    for name in ("empty", "saved/1", "triton/1", "corrupt", "newer"):
        (folder / name).mkdir(parents=True)
    (folder / "saved" / "saved_model.pb").write_bytes(b"")
    (folder / "triton" / "1" / "model.onnx").write_bytes(b"")
    (folder / "corrupt" / "lading.json").write_text("{")
    (folder / "newer" / "lading.json").write_text('{"schema_version": 99}')


def last_sentence(shown: str) -> str:
    """The sentence in what a command has written to standard error."""
    lines = [_BOX.sub("", line).strip() for line in shown.splitlines()]
    return [line for line in lines if line][-1]


BUILD = "`lading build`"
NOT_AN_ARTIFACT = (
    typed("serve", "no artifact is named", "LADING_ARTIFACT", "`lading serve artifacts/cards`", code=2),
    typed("serve nowhere", "nowhere is not an artifact", "no such folder", BUILD),
    typed("serve model.onnx", "model.onnx is not an artifact", "an ONNX file", "`lading pack model.onnx`"),
    typed("serve model.pt", "model.pt is not an artifact", "weights and no graph", "--checkpoint model.pt"),
    typed("serve model.safetensors", "model.safetensors is not an artifact", "weights", "`lading build model.py:Class"),
    typed("serve model.pkl", "model.pkl is not an artifact", "weights", "`lading build model.py:Class"),
    typed("serve model.h5", "model.h5 is not an artifact", "another format", "ONNX", "`lading pack FILE.onnx`"),
    typed("serve model.engine", "model.engine is not an artifact", "another format", "ONNX"),
    typed("serve model.tar.gz", "model.tar.gz is not an artifact", "an archive", "unpack it"),
    typed("serve model.py:Cards", "model.py:Cards is not an artifact", "source", "`lading build model.py:Cards`"),
    typed("serve gs://models/cards", "an address", "`lading fetch gs://models/cards`"),
    typed(f"serve {TABLE}/lading.json", "is not an artifact", f"give its folder, {TABLE}"),
    typed("serve artifacts", "has no lading.json", f"give {TABLE}"),
    typed("serve empty", "empty is not an artifact", "has no lading.json", BUILD),
    typed("serve triton", "has no lading.json", "`lading pack triton/1/model.onnx`"),
    typed("serve saved", "has no lading.json", "saved_model.pb is of another tool", "ONNX"),
    typed("serve corrupt", "corrupt/lading.json is corrupt", "line 1", "build the artifact again"),
    typed("serve newer", "schema_version 99", "upgrade lading"),
    typed("inspect model.onnx", "model.onnx is not an artifact", "`lading pack model.onnx`"),
    typed("score model.onnx rows.csv out.parquet", "model.onnx is not an artifact", "`lading pack model.onnx`"),
    typed("compare model.onnx http://127.0.0.1:1", "model.onnx is not an artifact", "`lading pack model.onnx`"),
    typed("values model.pt", "model.pt is not an artifact", "weights", "`lading build"),
    typed("report notes.txt", "notes.txt is not an artifact", "a file", "an artifact is a folder", BUILD),
)  # fmt: skip

SERVING = (
    typed(f"serve {TABLE} --variant int8", "no variant 'int8'", "it has: fp32"),
    typed(f"serve {TABLE} --port web", "LADING_HTTP_PORT='web'", "a valid integer", "'off'", code=2),
    typed(f"serve {TABLE} --port 70000", "LADING_HTTP_PORT='70000'", "less than or equal to 65535", code=2),
    typed(f"serve {TABLE} --port BUSY", "port BUSY of 127.0.0.1 is in use", "LADING_HTTP_PORT"),
    typed(f"serve {TABLE} --port 0 --grpc-port BUSY", "port BUSY of 127.0.0.1", "for gRPC", "LADING_GRPC_PORT"),
    typed(f"serve {TABLE} --host nowhere.invalid", "nowhere.invalid", "cannot be opened", "LADING_HTTP_HOST"),
    typed(f"serve {TABLE} --models nowhere", "LADING_MODELS is nowhere", "no such folder", code=2),
    typed("serve --models empty", "LADING_MODELS is empty", "no subfolder", "copy artifacts", code=2),
    typed(f"serve {TABLE} {TABLE}", "'small-table', version '1'", "different names or versions", code=2),
    typed("serve", "LADING_LANES='many'", "a valid integer", "LADING_LOG_LEVEL='loud'", "'debug'", code=2,
          LADING_LANES="many", LADING_LOG_LEVEL="loud"),
    typed(f"serve {TABLE}", "LADING_TLS_CERTIFICATE and LADING_TLS_KEY go together", code=2,
          LADING_TLS_CERTIFICATE="a.pem"),
    typed(f"serve {TABLE}", "key file nowhere.txt cannot be read", code=2, LADING_API_KEYS="nowhere.txt"),
    typed(f"serve {TABLE}", "LADING_TEXT_FORMS", "NAME=package.module:function", code=2, LADING_TEXT_FORMS="smiles"),
    typed(f"serve {TABLE}", "LADING_DIGEST", "another artifact", LADING_DIGEST=f"sha256:{'0' * 64}"),
    typed(f"serve {TABLE} --prot 80", "No such option", "--prot", "--port", code=2),
    typed("serv artifacts/table", "No such command", "serv", code=2),
)  # fmt: skip

BUILDING = (
    typed("build", "Missing argument", "MODEL", code=2),
    typed("pack graph.onnx --tokenizer nowhere.json", "there is no file 'nowhere.json'", "[NAME=]FILE", code=2),
    typed("pack graph.onnx --audio fast", "'fast' is no rate", "such as 16000", code=2),
    typed("pack graph.onnx --answer vector", "there is no kind 'vector'", "boxes, embedding, mask", code=2),
    typed("pack graph.onnx --answer mask", "no output has the dtype and shape of mask", "NAME=", code=2),
    typed("pack model.py:Model --answer embedding", "--answer would have no effect", "says it itself", code=2),
    typed("build model.onnx", "'model.onnx' is not of the form file.py:Class", "`lading pack model.onnx`", code=2),
    typed("pack model.pt", "'model.pt' is not of the form file.py:Class", "weights", "--checkpoint", code=2),
    typed("pack model.safetensors", "'model.safetensors'", "weights and no graph", "`lading build", code=2),
    typed("pack model.h5", "'model.h5'", "another format", "ONNX", code=2),
    typed("pack model.py", "'model.py' is not of the form file.py:Class", "`lading build model.py:Class`", code=2),
    typed("pack nowhere.onnx", "no file nowhere.onnx"),
    typed("pack model.onnx", "model.onnx is not an ONNX file", "damaged, or of another format"),
    typed("quantize nowhere.py:Cards", "there is no file", "nowhere.py", code=2),
    typed("quantize model.py:Cards", "model.py has no 'Cards'", "the models in it are: none", code=2),
    typed("quantize model.py:count", "model.py:count is not a subclass of lading.ModelSpec", code=2),
    typed("quantize broken.py:Cards", "broken.py cannot be imported", "invalid syntax", "line 1", code=2),
    typed("init model.pt", "model.pt", "ends with .py", code=2),
)  # fmt: skip

ELSEWHERE = (
    typed(f"check {TABLE} --url 127.0.0.1:8080", "'127.0.0.1:8080'", "write http://host:port", code=2),
    typed(f"check {TABLE} --url http://127.0.0.1:1 --grpc off", "http://127.0.0.1:1", "refused", "the server running"),
    typed(f"check {TABLE} --grpc http://127.0.0.1:9000", "'http://127.0.0.1:9000'", "without http://", code=2),
    typed(f"check {TABLE} --grpc 127.0.0.1", "'127.0.0.1' is not the address of a gRPC port", "host:port", code=2),
    typed(f"compare {TABLE} nowhere", "nowhere is not an artifact", "no such folder"),
    typed(f"fetch {TABLE} --digest abc --out copy", "'abc'", "sha256:", "64 hexadecimal digits", code=2),
    typed(f"fetch ftp://host/cards --digest sha256:{'0' * 64} --out copy", "ftp://", "use gs, s3, az, https"),
    typed(f"score {TABLE} rows.xlsx out.parquet", "rows.xlsx", ".parquet", ".csv"),
    typed(f"score {TABLE} rows.csv out.parquet", "rows.csv", "no names of columns", "the model takes features"),
    typed(f"score {TABLE} nowhere.parquet out.parquet", "no file or folder nowhere.parquet"),
    typed(f"values {TABLE} --rate fast", "--rate", "a valid number", code=2),
    typed("load --slo p99 --url http://127.0.0.1:1", "--slo", "'p99'", "an example: p99=50ms", code=2),
    typed("load --users everyone", "everyone", "plain", code=2),
    typed("canary cards cards-new --steps x", "--steps 'x'", "for example 5,25,50", code=2),
    typed("monitor notes.txt", "notes.txt is not an SLO", "`lading monitor ARTIFACT`", code=2),
    typed("monitor nowhere", "nowhere cannot be read", code=2),
    typed("retrain --token-file nowhere", "nowhere holds no token", code=2),
    typed(f"drift check nowhere {TABLE}", "no reference with thresholds", "pack it with a data set"),
)  # fmt: skip

ON_THE_COMMAND_LINE = (*NOT_AN_ARTIFACT, *SERVING, *BUILDING, *ELSEWHERE)
