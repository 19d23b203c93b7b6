"""Settings: what can be set, and what a user reads who sets it wrongly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lading.errors import SettingsError
from lading.settings import Settings, unknown_variables, variable_of
from tests.given.sentences import check_sentence
from tools.generate import settings_markdown


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("LADING_"):
            monkeypatch.delenv(name)


def test_the_defaults_listen_on_this_machine_alone() -> None:
    settings = Settings()
    assert (settings.http_host, settings.http_port) == ("127.0.0.1", 8080)
    assert (settings.artifact, settings.variant, settings.grpc_port) == ((), None, 9000)
    assert settings.max_body_bytes == 16_000_000


def test_the_environment_sets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LADING_ARTIFACT", "/models/cards:/models/molecules")
    monkeypatch.setenv("LADING_LANES", "3")
    monkeypatch.setenv("LADING_MAX_BODY_MB", "0.5")
    monkeypatch.setenv("LADING_ACCESS_LOG", "true")
    settings = Settings()
    assert settings.artifact == (Path("/models/cards"), Path("/models/molecules"))
    assert (settings.lanes, settings.max_body_bytes, settings.access_log) == (3, 500_000, True)


def test_an_argument_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LADING_HTTP_PORT", "9000")
    assert Settings(http_port=9001).http_port == 9001


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LADING_VARIANT", "")
    monkeypatch.setenv("LADING_LANES", "")
    assert (Settings().variant, Settings().lanes) == (None, 0)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("LADING_LANES", "many", "input should be a valid integer"),
        ("LADING_LANES", "-1", "input should be greater than or equal to 0"),
        ("LADING_HTTP_PORT", "65536", "input should be less than or equal to 65535"),
        ("LADING_MAX_BODY_MB", "0", "input should be greater than 0"),
        ("LADING_MAX_BODY_MB", "inf", "input should be a finite number"),
        ("LADING_LOG_FORMAT", "xml", "input should be 'console' or 'json'"),
    ],
)
def test_a_value_that_cannot_be_used_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        Settings()
    assert str(refused.value).startswith(f"a setting cannot be used: {name}={value!r}: {reason}")
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 2


def test_every_bad_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LADING_LANES", "x")
    monkeypatch.setenv("LADING_THREADS", "y")
    with pytest.raises(SettingsError, match=r"LADING_LANES='x'.*LADING_THREADS='y'"):
        Settings()


@pytest.mark.parametrize("value", ["nonsense", "-1", "{", "[1", "1e999", "a=b", "\x1b[31m", "x" * 10_000])
def test_any_value_of_any_setting_is_taken_or_refused_by_one_sentence(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    for field in Settings.model_fields:
        with monkeypatch.context() as environment:
            environment.setenv(variable_of(field), value)
            try:
                Settings()
            except SettingsError as refused:
                check_sentence(str(refused), [variable_of(field), "a setting cannot be used"])


def test_the_command_line_ends_with_2_and_without_a_traceback() -> None:
    environment = {**os.environ, "LADING_LOG_LEVEL": "loud"}
    code = "import sys; from lading.cli import main; sys.argv = ['lading', 'serve', 'nowhere']; main()"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "LADING_LOG_LEVEL='loud'" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_misspelt_variable_is_named_with_what_was_meant() -> None:
    assert unknown_variables({"LADING_LANE": "2", "PATH": "/bin", "LADING_LANES": "2"}) == [
        "the environment variable LADING_LANE is not a setting, and has no effect; did you mean LADING_LANES?"
    ]


def test_a_variable_like_no_other_is_named_too() -> None:
    sentence = "the environment variable LADING_XYZZY is not a setting, and has no effect"
    assert unknown_variables({"LADING_XYZZY": "1"}) == [sentence]


def test_what_kubernetes_sets_for_a_service_is_no_misspelling() -> None:
    links = {
        "LADING_SERVICE_HOST": "10.0.0.1",
        "LADING_SERVICE_PORT_HTTP": "8080",
        "LADING_PORT": "tcp://10.0.0.1:8080",
        "LADING_PORT_8080_TCP_ADDR": "10.0.0.1",
    }
    assert unknown_variables(links) == []


def test_the_documentation_lists_every_setting_with_its_default() -> None:
    table = settings_markdown()
    for name, field in Settings.model_fields.items():
        row = next(line for line in table.splitlines() if line.startswith(f"| `LADING_{name.upper()}` |"))
        assert field.description is not None
        assert field.description in row
        assert row.count("|") == 5
    assert "| `LADING_LOG_FORMAT` | `console` or `json` | `console` |" in table
    assert "| `LADING_ARTIFACT` | paths | not set |" in table


@pytest.mark.parametrize(
    ("given", "body_mb", "message_mb"),
    [
        ({}, 16, 16),
        ({"LADING_MAX_BODY_MB": "64"}, 64, 64),
        ({"LADING_GRPC_MAX_MESSAGE_MB": "4"}, 16, 4),
        ({"LADING_MAX_BODY_MB": "64", "LADING_GRPC_MAX_MESSAGE_MB": "4"}, 64, 4),
        ({"LADING_MAX_BODY_MB": "64", "LADING_GRPC_MAX_MESSAGE_MB": ""}, 64, 64),
    ],
)
def test_one_number_is_the_largest_request_unless_grpcs_own_is_set(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], body_mb: float, message_mb: float
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert (settings.max_body_bytes, settings.grpc_max_message_bytes) == (body_mb * 1e6, message_mb * 1e6)
    assert settings.model_copy(update={"lanes": 1}).grpc_max_message_mb == message_mb
