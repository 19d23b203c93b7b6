"""A proxy between a client and the server; run with a proxy, a server's addresses and the folder of bodies."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx

from tests.clients.python import triton_grpc
from tests.clients.python.plain_http import JSON, with_httpx
from tests.given.bentoml_process import free_port
from tests.given.live_server import wait_until
from tests.given.nginx import nginx

UPGRADE = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13", "sec-websocket-key": "eA=="}
WEBSOCKET_MAP = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $wanted;"
UNBUFFERED = 'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_request_buffering off; proxy_buffering off;'
NGINX_GRPC = """
daemon off; master_process off; pid {work}/pid; error_log {work}/errors;
events {{ worker_connections 64; }}
http {{
    access_log off; client_body_temp_path {work}/a; proxy_temp_path {work}/b; fastcgi_temp_path {work}/c;
    uwsgi_temp_path {work}/d; scgi_temp_path {work}/e;
    server {{ listen 127.0.0.1:{port} http2; location / {{ grpc_pass grpc://{address}; }} }}
}}
"""
APACHE = """
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {work}/pid
ErrorLog {work}/errors
DefaultRuntimeDir {work}
User nobody
Group nogroup
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
ProxyPass / {http}/
"""
CADDY = """
{{
  admin off
  auto_https off
  servers {{
    protocols h1 h2c
  }}
}}
http://127.0.0.1:{port} {{
  reverse_proxy {target}
}}
"""
HAPROXY = """
defaults
  timeout connect 5s
  timeout client 20s
  timeout server 20s
frontend one
  mode {mode}
  bind 127.0.0.1:{port} {protocol}
  default_backend lading
backend lading
  mode {mode}
  http-reuse always
  {check}
  server lading {address} {protocol} {checked}
"""


def main(through: Callable[[Path, str, str], AbstractContextManager[str]], http: str, grpc: str, folder: Path) -> None:
    """Fails with an assertion where the server does not do what the client expects."""
    with tempfile.TemporaryDirectory() as work, through(Path(work), http, grpc) as url:
        if url.startswith("http"):
            with_httpx(url, folder)
            upgraded = httpx.post(
                f"{url}/v2/models/small-colour/infer",
                content=(folder / "infer.json").read_bytes(),
                headers={**JSON, **UPGRADE},
            )
            assert (upgraded.status_code, upgraded.json()["id"]) == (200, "7"), upgraded.text
            print("call v2 with Upgrade: websocket")
        else:
            triton_grpc.main(url, (folder / "photo.jpg").read_bytes())


def behind_nginx(directives: str) -> Callable[[Path, str, str], AbstractContextManager[str]]:
    """An nginx whose location has these directives."""

    @contextlib.contextmanager
    def through(work: Path, http: str, grpc: str) -> Iterator[str]:
        with nginx(work, http, directives) as client:
            yield str(client.base_url).rstrip("/")

    return through


@contextlib.contextmanager
def nginx_grpc(work: Path, http: str, grpc: str) -> Iterator[str]:
    """HTTP/2 without TLS on both sides."""
    port = free_port()
    file = work / "nginx.conf"
    file.write_text(NGINX_GRPC.format(work=work, port=port, address=grpc))
    with running(work, ["nginx", "-c", str(file), "-e", str(work / "errors")]):
        wait_until(lambda: listens(port))
        yield f"127.0.0.1:{port}"


@contextlib.contextmanager
def apache(work: Path, http: str, grpc: str) -> Iterator[str]:
    """mod_proxy_http with its defaults."""
    port = free_port()
    file = work / "httpd.conf"
    file.write_text(APACHE.format(work=work, port=port, http=http))
    with running(work, ["apache2", "-X", "-f", str(file)]):
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(url))
        yield url


def behind_caddy(*, grpc: bool) -> Callable[[Path, str, str], AbstractContextManager[str]]:
    """Caddy with its defaults, over HTTP/1.1 or, for gRPC, over HTTP/2 without TLS on both sides."""

    @contextlib.contextmanager
    def through(work: Path, http: str, grpc_address: str) -> Iterator[str]:
        port = free_port()
        file = work / "Caddyfile"
        file.write_text(CADDY.format(port=port, target=f"h2c://{grpc_address}" if grpc else http))
        with running(work, ["caddy", "run", "--adapter", "caddyfile", "--config", str(file)]):
            wait_until(lambda: listens(port))
            yield f"127.0.0.1:{port}" if grpc else f"http://127.0.0.1:{port}"

    return through


@contextlib.contextmanager
def varnish(work: Path, http: str, grpc: str) -> Iterator[str]:
    """A cache with its defaults."""
    port = free_port()
    command = ["varnishd", "-F", "-n", str(work / "varnish"), "-a", f"127.0.0.1:{port}", "-b", http[7:]]
    with running(work, [*command, "-s", "malloc,8m", "-T", "none"]):
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(url))
        yield url


@contextlib.contextmanager
def haproxy_http(work: Path, http: str, grpc: str) -> Iterator[str]:
    """HTTP/1.1 on both sides, and checks of readiness."""
    address = http.removeprefix("http://")
    checks = {"check": "option httpchk GET /readyz", "checked": "check inter 200ms"}
    with haproxy(work, mode="http", address=address, protocol="", **checks) as port:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(url))
        yield url


@contextlib.contextmanager
def haproxy_grpc(work: Path, http: str, grpc: str) -> Iterator[str]:
    """HTTP/2 without TLS on both sides."""
    with haproxy(work, mode="http", address=grpc, protocol="proto h2", check="", checked="") as port:
        wait_until(lambda: listens(port))
        yield f"127.0.0.1:{port}"


@contextlib.contextmanager
def haproxy(work: Path, **values: str) -> Iterator[int]:
    """The port of a running haproxy."""
    port = free_port()
    file = work / "haproxy.cfg"
    file.write_text(HAPROXY.format(port=port, **values))
    with running(work, ["haproxy", "-q", "-db", "-f", str(file)]):
        yield port


@contextlib.contextmanager
def running(work: Path, command: list[str]) -> Iterator[None]:
    """A program, whose log is shown at its end."""
    with (work / "log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log, stdout=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)
        sys.stderr.write((work / "log").read_text())


def answers(url: str) -> bool:
    """Whether the server behind a proxy is ready."""
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{url}/readyz").status_code == 200
    return False


def listens(port: int) -> bool:
    """Whether something accepts connections on a port."""
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


def version_of(program: str) -> str:
    """What the program says about itself."""
    said = subprocess.run(
        [program, "version" if program == "caddy" else "-V" if program == "varnishd" else "-v"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"\d+\.\d+[\w.+-]*", said.stdout + said.stderr)
    assert found
    return found[0]


PROXIES = {
    "nginx": ("nginx", behind_nginx("")),
    "nginx-websocket": ("nginx", behind_nginx(WEBSOCKET_MAP)),
    "nginx-unbuffered": ("nginx", behind_nginx(UNBUFFERED)),
    "nginx-grpc": ("nginx", nginx_grpc),
    "apache": ("apache2", apache),
    "caddy": ("caddy", behind_caddy(grpc=False)),
    "caddy-grpc": ("caddy", behind_caddy(grpc=True)),
    "varnish": ("varnishd", varnish),
    "haproxy": ("haproxy", haproxy_http),
    "haproxy-grpc": ("haproxy", haproxy_grpc),
}


if __name__ == "__main__":
    program, proxy = PROXIES[sys.argv[1]]
    print("version", version_of(program))
    main(proxy, sys.argv[2], sys.argv[3], Path(sys.argv[4]))
