"""Texts that a function of the operator's choice turns into inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from lading.artifact import Artifact
from lading.errors import SettingsError
from lading.settings import Settings
from tests.given.live_server import live_server

HERE = "tests.serve.http.test_text_forms"


def read_numbers(text: str) -> Mapping[str, np.ndarray[Any, Any]]:
    """Four numbers

    with spaces between them.
    """
    return {"features": np.array([float(word) for word in text.split()], np.float32)}


read_numbers.example = "1 2 3 4"  # type: ignore[attr-defined]


def without_example(text: str) -> Mapping[str, np.ndarray[Any, Any]]:
    return read_numbers(text)


def test_a_text_is_a_request_for_any_model(small: dict[str, Artifact]) -> None:
    with live_server(small["table"], text_forms={"numbers": f"{HERE}:read_numbers"}) as live:
        answer = live.client.post("/predict/numbers", content="1 2 3 4.5").json()
        assert (answer["inputs"], answer["outputs"]) == ({"features": [[1, 2, 3, 4.5]]}, {"total": [[10.5]]})
        assert live.client.post("/predict/numbers", content="1 2 3").status_code == 400
        assert "could not convert" in live.client.post("/predict/numbers", content="one two").json()["error"]
        assert live.client.post("/predict/numbers", content=b"\xff").json()["error"] == "the body is not UTF-8 text"
        assert live.client.get("/predict/numbers").status_code == 405


def test_a_function_for_another_model_is_not_offered(small: dict[str, Artifact]) -> None:
    with live_server(small["types"], text_forms={"numbers": f"{HERE}:read_numbers"}) as live:
        assert live.client.get("/model").json()["texts"] == []
        assert live.client.post("/predict/numbers", content="1 2 3 4").status_code == 404


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("nowhere.at_all:read", "module 'nowhere.at_all' cannot be imported"),
        (f"{HERE}:missing", "is not a function; write package.module:function"),
        (f"{HERE}:without_example", "has no attribute 'example', a text that it reads"),
    ],
)
def test_a_function_that_is_not_there_stops_the_server(small: dict[str, Artifact], target: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason), live_server(small["table"], text_forms={"numbers": target}):
        pass


def test_the_setting_is_written_as_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LADING_TEXT_FORMS", "smiles=a.b:c, other=d:e")
    assert Settings().text_forms == {"smiles": "a.b:c", "other": "d:e"}
    monkeypatch.setenv("LADING_TEXT_FORMS", "smiles")
    with pytest.raises(SettingsError, match=r"write NAME=package\.module:function"):
        Settings()
