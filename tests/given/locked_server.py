"""A real server that asks for a key and speaks TLS, and what opens it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lading.artifact import Artifact
from lading.protocol.client import Access
from tests.given.live_server import LiveServer, live_server
from tests.given.self_signed import self_signed


@contextlib.contextmanager
def locked_server(artifact: Artifact, folder: Path) -> Iterator[tuple[LiveServer, Access]]:
    """Serve an artifact over HTTPS and gRPC with TLS, to those who send a key.

    Args:
        artifact: what to serve.
        folder: where the keys and the certificate are written.
    """
    certificate, private = self_signed(folder)
    keys = folder / "keys"
    keys.write_text("# of the team that has left\nold expires=2020-01-31\n# ours\nsesame\n")
    with live_server(artifact, api_keys=keys, tls_certificate=certificate, tls_key=private) as live:
        secure = replace(live, url=live.url.replace("http://", "https://"))
        yield secure, Access(keys, certificate)
