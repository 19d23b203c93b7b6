"""A real nginx in front of a server."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.given.bentoml_process import free_port
from tests.given.live_server import wait_until

_CONFIGURATION = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors;
events {{ worker_connections 64; }}
http {{
    access_log off; client_max_body_size 0;
    client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
    uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
    map $http_upgrade $wanted {{ default upgrade; '' close; }}
    server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {upstream}; {directives} }} }}
}}
"""


@contextlib.contextmanager
def nginx(folder: Path, upstream: str, directives: str) -> Iterator[httpx.Client]:
    """A client of nginx, which passes every request to ``upstream`` until the block ends.

    Args:
        folder: for its files.
        upstream: URL of the server behind it.
        directives: of its only location, in addition to ``proxy_pass``.
    """
    port = free_port()
    file = folder / "nginx.conf"
    file.write_text(_CONFIGURATION.format(folder=folder, port=port, upstream=upstream, directives=directives))
    process = subprocess.Popen(["nginx", "-c", file, "-e", folder / "errors"], stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:

            def answers() -> bool:
                assert process.poll() is None, (folder / "errors").read_text()
                with contextlib.suppress(httpx.TransportError):
                    return client.get("/livez").status_code == 200
                return False

            wait_until(answers)
            yield client
    finally:
        process.terminate()
        process.wait(20)
