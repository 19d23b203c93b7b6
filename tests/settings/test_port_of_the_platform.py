"""`PORT`, which Cloud Run and other platforms set, is the HTTP port where no setting names one."""

from __future__ import annotations

import pytest

from lading.errors import SettingsError
from lading.settings import Settings


@pytest.mark.parametrize(
    ("variables", "port"),
    [
        ({}, 8080),
        ({"PORT": "8090"}, 8090),
        ({"PORT": ""}, 8080),
        ({"PORT": "8090", "LADING_HTTP_PORT": "7000"}, 7000),
        ({"PORT": "8090", "LADING_HTTP_PORT": "off"}, "off"),
        ({"PORT": "8090", "LADING_HTTP_PORT": ""}, 8090),
    ],
)
def test_port_is_read_where_no_setting_names_one(
    variables: dict[str, str], port: int | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PORT", "LADING_HTTP_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Settings().http_port == port
    assert Settings(http_port=5).http_port == 5


@pytest.mark.parametrize("port", ["eight", "0", "-1", "65536", "8080.5", "tcp://10.0.0.1:80", " 8080", "٨"])
def test_what_is_no_port_is_refused_in_a_sentence(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LADING_HTTP_PORT", raising=False)
    monkeypatch.setenv("PORT", port)
    with pytest.raises(SettingsError, match=r"PORT=.*: a port is a number from 1 to 65535"):
        Settings()
