"""A program of torch.export is packed without a spec, and no code in its file is run."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from lading.artifact import Artifact
from lading.build.torch_program import read_program
from lading.cli import app
from lading.errors import WrapError
from lading.predictor import Predictor

SYMBOL = "Symbol("


class Two(nn.Module):
    """Two inputs to two named outputs, with a norm and a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.layer = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"a": self.layer(self.norm(x)) + torch.tensor([1.0, 2.0]), "b": y.mean(1, keepdim=True) * 2}


class Attack:
    """What an attacker puts into a pickle."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


@pytest.fixture(scope="module")
def module() -> nn.Module:
    return Two().eval()


@pytest.fixture(scope="module")
def program(module: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = torch.export.Dim("rows")
    exported = torch.export.export(module, (torch.rand(3, 3), torch.rand(3, 8)), dynamic_shapes=({0: rows}, {0: rows}))
    path = tmp_path_factory.mktemp("programs") / "two.pt2"
    torch.export.save(exported, path)
    return path


def changed(program: Path, out: Path, change: Callable[[str, bytes], bytes | None], **added: bytes) -> Path:
    """A copy of the archive with other entries."""
    with zipfile.ZipFile(program) as archive, zipfile.ZipFile(out, "w") as copy:
        for name in archive.namelist():
            content = change(name, archive.read(name))
            if content is not None:
                copy.writestr(name, content)
        for name, content in added.items():
            copy.writestr(name, content)
    return out


def edited(program: Path, out: Path, edit: Callable[[Any], None]) -> Path:
    """A copy with another description of the graph."""

    def change(name: str, content: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return content
        described = json.loads(content)
        edit(described)
        return json.dumps(described).encode()

    return changed(program, out, change)


def test_a_program_is_packed_and_answers_as_torch(module: nn.Module, program: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["pack", str(program), "--name", "two", "--out", str(tmp_path / "two")])
    assert result.exit_code == 0, result.output
    predictor = Predictor(Artifact.load(tmp_path / "two"))
    x, y = torch.rand(7, 3), torch.rand(7, 8)
    inputs = dict(zip([tensor.name for tensor in predictor.inputs], (x.numpy(), y.numpy()), strict=True))
    answers = predictor.run(inputs)
    with torch.no_grad():
        expected = list(module(x, y).values())
    for got, wanted in zip(answers.values(), expected, strict=True):
        assert torch.allclose(torch.from_numpy(got), wanted, atol=1e-5)


def test_a_size_that_is_code_is_refused_and_not_run(program: Path, tmp_path: Path) -> None:
    trace = tmp_path / "it-ran"
    code = f"__import__('os').system('touch {trace}')"

    def attack(described: Any) -> None:
        sizes = described["graph_module"]["graph"]["tensor_values"]["x"]["sizes"]
        assert sizes[0]["as_expr"]["expr_str"].startswith(SYMBOL)
        sizes[0]["as_expr"]["expr_str"] = code

    file = edited(program, tmp_path / "evil.pt2", attack)
    with pytest.raises(WrapError, match=r"has the expr_str .*could run code when it is loaded; nothing was loaded"):
        read_program(file)
    assert not trace.exists()
    with pytest.raises(AttributeError):
        torch.export.load(file)
    assert trace.exists(), "torch runs it: the check would be needless otherwise"


@pytest.mark.parametrize(
    "code",
    [
        "().__class__.__base__.__subclasses__()",
        "[x for x in (1,)]",
        "eval('1')",
        "Symbol('s0', positive=print(1))",
        "(lambda: 1)()",
        "f'{1}'",
        "Symbol('__import__(1)')",
        "open('x')",
        "1 +",
    ],
)
def test_only_arithmetic_is_a_size(code: str, program: Path, tmp_path: Path) -> None:
    def attack(described: Any) -> None:
        described["graph_module"]["graph"]["tensor_values"]["x"]["sizes"][0]["as_expr"]["expr_str"] = code

    with pytest.raises(WrapError, match="has the expr_str"):
        read_program(edited(program, tmp_path / "evil.pt2", attack))


def test_names_targets_and_trees_that_could_run_code_are_refused(program: Path, tmp_path: Path) -> None:
    def target(described: Any) -> None:
        described["graph_module"]["graph"]["nodes"][0]["target"] = "torch.hub.os.system"

    def name(described: Any) -> None:
        described["graph_module"]["graph"]["nodes"][0]["name"] = "x\n    import os"

    def tree(described: Any) -> None:
        call = described["graph_module"]["module_call_graph"][0]["signature"]
        call["in_spec"] = call["in_spec"].replace("builtins.tuple", "collections.defaultdict", 1)

    for edit, said in ((target, "has the target"), (name, "has the name"), (tree, "has the in_spec")):
        with pytest.raises(WrapError, match=said):
            read_program(edited(program, tmp_path / "evil.pt2", edit))


def test_pickles_of_more_than_tensors_are_refused_and_not_run(program: Path, tmp_path: Path) -> None:
    trace = tmp_path / "it-ran"
    pickled = io.BytesIO()
    torch.save(Attack(f"touch {trace}"), pickled)
    file = changed(
        program,
        tmp_path / "evil.pt2",
        lambda name, content: pickled.getvalue() if name.endswith("sample_inputs/model.pt") else content,
    )
    with pytest.raises(WrapError, match=r"holds a pickle of more than tensors \(.*model\.pt\)"):
        read_program(file)

    def custom(name: str, content: bytes) -> bytes:
        return content.replace(b'"tensor_0"', b'"custom_obj_0"').replace(b'"use_pickle": false', b'"use_pickle": true')

    with pytest.raises(WrapError, match=r"has the (path_name|use_pickle)"):
        read_program(changed(program, tmp_path / "custom.pt2", custom))
    library = {"archive/data/aotinductor/model/a.so": b"x"}
    with pytest.raises(WrapError, match="holds compiled code"):
        read_program(changed(program, tmp_path / "library.pt2", lambda _, content: content, **library))
    assert not trace.exists()


def test_the_guards_of_a_file_are_not_compiled(program: Path, tmp_path: Path) -> None:
    trace = tmp_path / "it-ran"

    def attack(described: Any) -> None:
        described["guards_code"] = [f"__import__('os').system('touch {trace}') == 0"]

    loaded = read_program(edited(program, tmp_path / "evil.pt2", attack))
    loaded.module()(torch.rand(2, 3), torch.rand(2, 8))
    assert not trace.exists()


def test_another_file_is_one_sentence(program: Path, tmp_path: Path) -> None:
    for content in (b"", b"text", program.read_bytes()[:2000]):
        (tmp_path / "w.pt2").write_bytes(content)
        with pytest.raises(WrapError, match=r"w\.pt2 is damaged, or no program of torch\.export"):
            read_program(tmp_path / "w.pt2")
    torch.save({"w": torch.ones(1)}, tmp_path / "w.pt2")
    with pytest.raises(WrapError, match=r"is no program of torch\.export"):
        read_program(tmp_path / "w.pt2")
    with pytest.raises(WrapError, match="cannot be read: No such file"):
        read_program(tmp_path / "none.pt2")
