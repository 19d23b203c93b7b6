"""Every mistake on the command line ends with its exit code and one sentence that says what to do."""

from __future__ import annotations

import gc
import inspect
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import structlog
import typer
from typer.models import OptionInfo

from lading.artifact import Artifact
from lading.cli import app, main
from tests.given.mistakes_on_the_command_line import ON_THE_COMMAND_LINE, CommandMistake, last_sentence, work_folder
from tests.given.sentences import check_sentence


@pytest.fixture(scope="module")
def folder(small: dict[str, Artifact], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("work")
    work_folder(path, small["table"])
    return path


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture(autouse=True)
def _a_wide_terminal_and_no_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("LADING_")]:
        monkeypatch.delenv(name)
    for name, value in {"COLUMNS": "400", "TERM": "dumb", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    yield
    structlog.reset_defaults()
    gc.enable()  # `lading serve` turns it off


def ended(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> int:
    monkeypatch.setattr(sys, "argv", ["lading", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


@pytest.mark.parametrize("mistake", ON_THE_COMMAND_LINE, ids=lambda mistake: mistake.line)
def test_the_sentence_names_the_mistake_and_what_to_do(
    mistake: CommandMistake,
    folder: Path,
    busy_port: int,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    for name, value in mistake.environment.items():
        monkeypatch.setenv(name, value)
    code = ended(monkeypatch, mistake.line.replace("BUSY", str(busy_port)).split())
    shown = capfd.readouterr().err
    assert "Traceback" not in shown
    check_sentence(last_sentence(shown), [word.replace("BUSY", str(busy_port)) for word in mistake.words])
    assert code == mistake.code, shown


def commands() -> Iterator[tuple[list[str], Callable[..., Any]]]:
    """The words of every command, and its function."""
    groups: list[tuple[list[str], typer.Typer]] = [([], app)]
    for one in app.registered_groups:
        assert one.typer_instance is not None
        groups.append(([str(one.typer_instance.info.name)], one.typer_instance))
    for words, group in groups:
        for command in group.registered_commands:
            assert command.callback is not None
            yield [*words, command.name or command.callback.__name__], command.callback


def wrong_uses() -> Iterator[list[str]]:
    """For every command: an unknown option, a required argument that is missing, and a value of another kind."""
    for words, function in commands():
        yield [*words, "--nonsense"]
        parameters = inspect.signature(function).parameters.values()
        if any(parameter.default is parameter.empty for parameter in parameters):
            yield words
        hints = get_type_hints(function, include_extras=True)
        for name, (kind, how, *_) in ((name, get_args(hints[name])) for name in hints if name != "return"):
            if isinstance(how, OptionInfo) and kind is not bool:
                declared = [word for word in how.param_decls or () if word.startswith("--")]
                option = declared[0] if declared else f"--{name.replace('_', '-')}"
                yield [*words, option]
                if kind in (int, float) or get_origin(kind) is Literal:
                    yield [*words, option, "nonsense"]


def test_every_command_is_used_wrongly() -> None:
    assert len(list(commands())) > 20
    assert len(list(wrong_uses())) > 150


@pytest.mark.parametrize("arguments", list(wrong_uses()), ids=" ".join)
def test_wrong_usage_of_any_command_ends_with_2_and_a_sentence(
    arguments: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert ended(monkeypatch, arguments) == 2
    shown = capfd.readouterr().err
    assert "Traceback" not in shown
    named = [word for word in arguments if word.startswith("--")][-1:] or ["Missing"]
    check_sentence(last_sentence(shown), named)
