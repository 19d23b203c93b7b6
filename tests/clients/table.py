"""Clients that others wrote, each with the command that runs its script in the root of the repository.

A script gets the server's HTTP address, its gRPC address and a folder of bodies (:func:`write_bodies`). It prints its
client's version and every call that went well, and ends with an error at the first one that did not.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from lading.artifact import Artifact
from tests.given.pictures import encoded
from tests.given.small_artifacts import colour_artifact

ROOT = Path(__file__).parents[2]
BUILT = ROOT / "build" / "clients"
"""What ``make client-tools`` builds."""
RESULTS = Path(__file__).with_name("results.json")
"""What each client showed when ``make clients`` ran last."""
LARGE = 3_000_000
"""Bytes of a body that the server refuses."""


@dataclass(frozen=True)
class Client:
    """A row of the table."""

    name: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()
    """Programs and files that may be missing."""
    optional: bool = False
    """Whether continuous integration does without it."""

    def missing(self) -> str | None:
        """What this machine does not have, if anything."""
        path = environment()["PATH"]
        for need in (self.command[0], *self.needs):
            if shutil.which(need, path=path) is None and not Path(need).exists():
                return need
        return None


@dataclass
class Outcome:
    """What a run of a client showed."""

    version: str = ""
    calls: list[str] = field(default_factory=list)
    """Calls that went well."""
    failure: str = ""
    """What the client said when it failed."""


def environment() -> dict[str, str]:
    """Variables of every script: the programs of this Python and those built come first."""
    path = os.pathsep.join([str(BUILT / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "NODE_PATH": str(BUILT / "node" / "node_modules"), "no_proxy": "*"}


def write_bodies(folder: Path) -> Artifact:
    """Write a red picture, requests with red pixels, a body that is too large, and the artifact that is served."""
    pixels = [[[230, 20, 20]] * 16] * 16
    tensor = {"name": "image", "shape": [2, 16, 16, 3], "datatype": "UINT8", "data": [pixels] * 2}
    (folder / "photo.jpg").write_bytes(encoded())
    (folder / "predict.json").write_text(json.dumps({"image": [pixels]}))
    # The spaces make it arrive in many packets.
    (folder / "infer.json").write_text(json.dumps({"id": "7", "inputs": [tensor]}).ljust(200_000))
    (folder / "large").write_bytes(bytes(LARGE))
    return colour_artifact(folder / "colour")


def run(client: Client, http: str, grpc: str, folder: Path) -> Outcome:
    """Run a client's script."""
    command = [*client.command, http, grpc, str(folder)]
    result = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120, check=False
    )
    outcome = Outcome()
    for line in result.stdout.splitlines():
        word, _, rest = line.partition(" ")
        if word == "version":
            outcome.version = rest.removeprefix("v")
        elif word == "call":
            outcome.calls.append(rest)
    if result.returncode or not outcome.calls:
        outcome.failure = result.stderr.strip() or result.stdout.strip() or f"exit code {result.returncode}"
    return outcome


def _python(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-W", "ignore", "-m", f"tests.clients.python.{module}", *arguments)


def _shell(script: str, *arguments: str) -> tuple[str, ...]:
    return (str(Path("tests/clients/shell", script)), *arguments)


def _node(script: str, *arguments: str) -> tuple[str, ...]:
    return ("node", str(Path("tests/clients/node", script)), *arguments)


_NODE = (str(BUILT / "node" / "node_modules"),)
_JAVA = ("java", "-XX:TieredStopAtLevel=1", "tests/clients/java/HttpClientCalls.java")

CLIENTS = (
    # Clients of the protocol.
    Client("tritonclient.http", _python("triton_http")),
    Client("tritonclient.grpc", _python("triton_grpc")),
    Client("kserve (InferenceRESTClient, InferenceGRPCClient)", _python("kserve_both")),
    Client("bentoml.SyncHTTPClient (with bentoml serve)", _python("bentoml_http")),
    # Clients of HTTP.
    Client("curl", _shell("curl.sh"), ("curl",)),
    Client("wget", _shell("wget.sh"), ("wget",)),
    Client("Python urllib.request", _python("plain_http", "urllib")),
    Client("Python urllib3", _python("plain_http", "urllib3")),
    Client("Python requests", _python("plain_http", "requests")),
    Client("Python httpx", _python("plain_http", "httpx")),
    Client("Python aiohttp", _python("plain_http", "aiohttp")),
    Client("Go net/http", ("nethttp",)),
    Client("Node fetch", _node("http.cjs", "fetch")),
    Client("Node http", _node("http.cjs", "http")),
    Client("undici (Pool, pipelining 4)", _node("http.cjs", "undici"), _NODE),
    Client("axios", _node("http.cjs", "axios"), _NODE),
    Client("Java HttpClient (default: Upgrade: h2c)", (*_JAVA, "HTTP_2")),
    Client("Java HttpClient (HTTP_1_1)", (*_JAVA, "HTTP_1_1")),
    Client("PHP file_get_contents", ("php", "tests/clients/php/calls.php", "stream")),
    Client("PHP curl", ("php", "tests/clients/php/calls.php", "curl")),
    Client("Ruby net/http", ("ruby", "tests/clients/ruby/net_http.rb")),
    Client("Perl LWP", ("perl", "tests/clients/perl/lwp.pl"), ("/usr/share/perl5/LWP/UserAgent.pm",)),
    Client("R httr", ("Rscript", "tests/clients/r/httr.R"), ("/usr/lib/R/site-library/httr",), optional=True),
    Client("Chromium fetch", _python("chromium_fetch"), ("/usr/bin/chromium",)),
    # Clients of gRPC.
    Client("grpc-go", ("grpcgo",)),
    Client("@grpc/grpc-js", _node("grpc.cjs"), _NODE),
    Client("grpcurl", _shell("grpcurl.sh"), ("grpcurl",)),
    # Proxies.
    Client("nginx (defaults: HTTP/1.0)", _python("through_proxy", "nginx"), ("nginx",)),
    Client("nginx (its WebSocket map)", _python("through_proxy", "nginx-websocket"), ("nginx",)),
    Client("nginx (HTTP/1.1, unbuffered)", _python("through_proxy", "nginx-unbuffered"), ("nginx",)),
    Client("nginx (gRPC)", _python("through_proxy", "nginx-grpc"), ("nginx",)),
    Client("HAProxy", _python("through_proxy", "haproxy"), ("haproxy",)),
    Client("HAProxy (gRPC)", _python("through_proxy", "haproxy-grpc"), ("haproxy",)),
    Client("Apache httpd (mod_proxy_http)", _python("through_proxy", "apache"), ("apache2",)),
    Client("Caddy", _python("through_proxy", "caddy"), ("caddy",)),
    Client("Caddy (gRPC)", _python("through_proxy", "caddy-grpc"), ("caddy",)),
    Client("Varnish", _python("through_proxy", "varnish"), ("varnishd",), optional=True),
    Client("Go ReverseProxy, and Knative's h2c probe", ("reverseproxy",)),
    # Load generators.
    Client("ab", _shell("load.sh", "ab"), ("ab",)),
    Client("wrk", _shell("load.sh", "wrk"), ("wrk",)),
    Client("hey", _shell("load.sh", "hey"), ("hey",)),
    Client("vegeta", _shell("load.sh", "vegeta"), ("vegeta",), optional=True),
    Client("k6", _shell("load.sh", "k6"), ("k6",), optional=True),
    Client("ghz", _shell("load.sh", "ghz"), ("ghz",)),
    Client("Locust", _shell("locust.sh"), ("locust",)),
    # Readers of metrics.
    Client("Go expfmt", _shell("expfmt.sh"), ("expfmt",)),
    Client("Prometheus", _python("prometheus_scrape"), ("prometheus", "promtool")),
)
