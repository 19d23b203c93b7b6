"""Each port can be turned off."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lading.artifact import Artifact
from lading.serve.http.app import App
from lading.serve.ports import Ports
from lading.settings import Settings


@pytest.mark.parametrize(("off", "open_ones"), [("http_port", (False, True)), ("grpc_port", (True, False))])
def test_a_port_may_be_off(small: dict[str, Artifact], off: str, open_ones: tuple[bool, bool]) -> None:
    given: dict[str, Any] = {"http_port": 0, "grpc_port": 0, "lanes": 1, off: "off"}

    async def scenario() -> tuple[int, int]:
        app = App(Settings(**given), artifacts=[small["table"]])
        ports = Ports(app, app.settings)
        opened = await ports.start()
        await app.start()
        await ports.show_readiness()
        app.prepare_to_stop()
        await ports.stop()
        await app.stop()
        return opened

    assert tuple(bool(port) for port in asyncio.run(scenario())) == open_ones
