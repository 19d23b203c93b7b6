"""What a worker would refuse when it starts is refused before any worker, in the same words."""

from __future__ import annotations

import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lading.artifact import Artifact
from lading.errors import LadingError
from lading.serve.http.app import App
from lading.serve.start_check import OTEL_PACKAGES, check_start
from lading.settings import Settings
from tests.given.self_signed import self_signed

PACKAGES = ("opentelemetry", "pyarrow", "obstore")
"""What extras of the server bring."""
OWN = ("lading.record.otlp", "lading.serve.telemetry.tracing", "lading.serve.telemetry.otlp_metrics")
"""Our own modules that import them."""
NEED_A_PACKAGE: dict[str, tuple[dict[str, Any], str]] = {
    "tracing": ({"tracing": True}, "opentelemetry"),
    "otlp_metrics": ({"otlp_metrics": True}, "opentelemetry"),
    "payload_log in a folder": ({"payload_log": "payloads"}, "pyarrow"),
    "payload_log in a bucket, without Arrow": ({"payload_log": "s3://bucket/log"}, "pyarrow"),
    "payload_log in a bucket": ({"payload_log": "gs://bucket/log"}, "obstore"),
    "payload_log over OTLP": ({"payload_log": "otlp+http://127.0.0.1:4318"}, "opentelemetry"),
}


def of_type(wanted: type) -> list[str]:
    """The settings whose values are, or hold, objects of a type."""

    def holds(annotation: Any) -> bool:
        return annotation is wanted or any(holds(part) for part in typing.get_args(annotation))

    return [name for name, field in Settings.model_fields.items() if holds(field.annotation)]


FILES = of_type(Path)
"""Settings that name a file or a folder."""


def refusal(start: Any, settings: Settings) -> str:
    """What is said against the settings; empty where they are fine."""
    try:
        start(settings)
    except LadingError as error:
        return str(error)
    return ""


@pytest.fixture
def settings(small: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    certificate, key = self_signed(tmp_path)
    return {"artifact": (small["table"].path,), "tls_certificate": certificate, "tls_key": key}


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Takes a package away, with all of its modules that were imported before."""

    def take(package: str) -> None:
        for name in list(sys.modules):
            if name.split(".")[0] == package or name in OWN:
                monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, package, None)

    return take


def test_there_are_settings_to_try() -> None:
    assert {"artifact", "models", "tls_certificate", "tls_key", "api_keys"} <= set(FILES)


@pytest.mark.parametrize("state", ["missing", "empty", "a folder", "noise"])
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_used(settings: dict[str, Any], tmp_path: Path, name: str, state: str) -> None:
    place = tmp_path / "place"
    if state == "a folder":
        place.mkdir()
    elif state != "missing":
        place.write_bytes(b"" if state == "empty" else bytes(range(256)))
    tried = Settings(**settings | {name: (place,) if name == "artifact" else place})
    said = refusal(check_start, tried)
    assert said == refusal(App, tried)
    if state == "missing":
        assert str(place) in said


@pytest.mark.parametrize("case", NEED_A_PACKAGE)
def test_a_package_that_is_missing(settings: dict[str, Any], absent: Any, case: str) -> None:
    wanted, package = NEED_A_PACKAGE[case]
    assert refusal(check_start, Settings(**settings | wanted)) == ""
    absent(package)
    tried = Settings(**settings | wanted)
    said = refusal(check_start, tried)
    assert "pip install 'lading[" in said
    assert said == refusal(App, tried)


def test_every_setting_that_needs_opentelemetry_is_tried() -> None:
    assert set(OTEL_PACKAGES) <= set(NEED_A_PACKAGE)


@pytest.mark.parametrize("target", ["nowhere.at_all:read", "nowhere:read", "lading.nowhere:read"])
def test_a_text_form_whose_module_is_missing(settings: dict[str, Any], target: str) -> None:
    tried = Settings(**settings | {"text_forms": {"text": target}})
    said = refusal(check_start, tried)
    assert "LADING_TEXT_FORMS: module" in said
    assert said == refusal(App, tried)


def test_each_sentence_about_a_missing_extra_in_what_serves_is_one_that_is_tried() -> None:
    """A new setting with a package of its own has to come into the table above."""
    source = Path(__file__).parents[2] / "src" / "lading"
    says = {
        file.name
        for folder in ("serve", "record")
        for file in (source / folder).rglob("*.py")
        if "pip install 'lading[" in file.read_text()
    }
    assert says == {"start_check.py", "payload_columns.py", "evidently.py"}, "evidently.py is of another command"
