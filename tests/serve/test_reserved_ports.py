"""The ports that a supervisor reserves for its workers, next to other servers."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping

import pytest

from lading.errors import ServerError
from lading.serve.ports import listen
from lading.serve.supervisor import reserve_port

SHARING: Mapping[str, tuple[int, ...]] = {
    "alone": (),
    "SO_REUSEADDR": (socket.SO_REUSEADDR,),
    "SO_REUSEPORT": (socket.SO_REUSEPORT,),
    "both": (socket.SO_REUSEADDR, socket.SO_REUSEPORT),
}


def another_server(options: tuple[int, ...]) -> socket.socket:
    """Listens, and has closed a connection, which the kernel keeps for a minute (TIME_WAIT)."""
    server = socket.socket()
    for option in options:
        server.setsockopt(socket.SOL_SOCKET, option, 1)
    server.bind(("127.0.0.1", 0))
    server.listen()
    with socket.create_connection(server.getsockname()) as client:
        server.accept()[0].close()
        assert client.recv(1) == b""
    return server


@pytest.mark.parametrize("options", SHARING.values(), ids=SHARING)
def test_workers_do_not_join_another_servers_port(options: tuple[int, ...]) -> None:
    with another_server(options) as taken, pytest.raises(ServerError, match="is in use: stop the process"):
        reserve_port("127.0.0.1", taken.getsockname()[1], "LADING_HTTP_PORT", [])
    assert reserve_port("127.0.0.1", "off", "LADING_HTTP_PORT", []) == "off"


@pytest.mark.parametrize("options", SHARING.values(), ids=SHARING)
def test_workers_start_soon_after_another_server_on_their_port(options: tuple[int, ...]) -> None:
    with contextlib.ExitStack() as stack:
        with another_server(options) as ended:
            port = ended.getsockname()[1]
        reserved: list[socket.socket] = []
        if socket.SO_REUSEADDR not in options:  # nothing but time helps
            with pytest.raises(ServerError, match="connections of one that has ended: wait a minute"):
                reserve_port("127.0.0.1", port, "LADING_HTTP_PORT", reserved)
            return
        assert reserve_port("127.0.0.1", port, "LADING_HTTP_PORT", reserved) == port
        stack.enter_context(reserved[0])
        workers = [listen("127.0.0.1", port, "LADING_HTTP_PORT", shared=True) for _ in range(2)]
        for worker in workers:
            stack.enter_context(worker)
        with socket.create_connection(("127.0.0.1", port)):
            pass


def test_no_server_joins_a_port_before_its_workers_listen() -> None:
    reserved: list[socket.socket] = []
    port = reserve_port("127.0.0.1", 0, "LADING_HTTP_PORT", reserved)
    assert isinstance(port, int)
    with reserved[0], pytest.raises(ServerError, match="is kept by a server that starts"):
        reserve_port("127.0.0.1", port, "LADING_HTTP_PORT", [])
