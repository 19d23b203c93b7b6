"""A real Prometheus and a real Alertmanager on free ports of this machine, for `make watch` and for the tests."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lading.monitoring.rules import Group
from lading.monitoring.write import rules_yaml

READY_S = 60.0
ALERTMANAGER_EXAMPLE = Path(__file__).parents[1] / "monitoring" / "alertmanager.yaml"


@dataclass(frozen=True)
class Stack:
    """Addresses of the two programs."""

    prometheus: str
    alertmanager: str


@contextlib.contextmanager
def prometheus_stack(
    folder: Path,
    targets: Mapping[str, Sequence[str]],
    groups: Sequence[Group],
    *,
    interval: str = "5s",
    webhook: str = "",
    token: str = "",
    host: str = "127.0.0.1",
    discovered: Path | None = None,
) -> Iterator[Stack]:
    """Run both until the block ends.

    Args:
        folder: configuration, data and logs.
        targets: addresses to scrape, ``host:port``, by their Kubernetes namespace.
        groups: rules to evaluate.
        interval: time between scrapes, and between evaluations.
        webhook: URL that Alertmanager posts to; empty: none.
        token: bearer token for the webhook; empty: none.
        host: address of this machine at which Prometheus listens.
        discovered: a file that names more targets (``file_sd_configs``), read again when it changes.

    Raises:
        FileNotFoundError: Prometheus or Alertmanager is not installed.
        TimeoutError: one of them did not start; its log is in the folder.
    """
    for program in ("prometheus", "prometheus-alertmanager"):
        if shutil.which(program) is None:
            raise FileNotFoundError(f"{program} is not installed: apt-get install prometheus prometheus-alertmanager")
    folder.mkdir(parents=True, exist_ok=True)
    stack = Stack(f"http://{host}:{free_port(host)}", f"http://127.0.0.1:{free_port()}")
    (folder / "rules.yaml").write_text(rules_yaml(groups))
    static = [{"targets": list(found), "labels": {"namespace": name}} for name, found in targets.items()]
    scraped: dict[str, Any] = {"job_name": "lading", "static_configs": static}
    if discovered is not None:
        scraped["file_sd_configs"] = [{"files": [str(discovered)]}]
    _write(
        folder / "prometheus.yaml",
        {
            "global": {"scrape_interval": interval, "evaluation_interval": interval},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [scraped],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [stack.alertmanager[7:]]}]}]},
        },
    )
    _write(folder / "alertmanager.yaml", _routes(webhook, token))
    prometheus = ["prometheus", "--enable-feature=exemplar-storage", f"--config.file={folder}/prometheus.yaml"]
    prometheus += [f"--storage.tsdb.path={folder}/data"]
    alertmanager = ["prometheus-alertmanager", f"--config.file={folder}/alertmanager.yaml"]
    alertmanager += [f"--storage.path={folder}/alertmanager", "--cluster.listen-address="]
    with (
        _running(alertmanager, stack.alertmanager, folder / "alertmanager.log"),
        _running(prometheus, stack.prometheus, folder / "prometheus.log"),
    ):
        yield stack


def free_port(host: str = "127.0.0.1") -> int:
    """A free port."""
    with socket.create_server((host, 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _routes(webhook: str, token: str) -> dict[str, Any]:
    """The routes and inhibitions of the example, without delays, to one receiver."""
    example: dict[str, Any] = yaml.safe_load(ALERTMANAGER_EXAMPLE.read_text())
    receiver: dict[str, Any] = {"name": "team"}
    if webhook:
        sent = {"http_config": {"authorization": {"credentials": token}}} if token else {}
        receiver["webhook_configs"] = [{"url": webhook, "send_resolved": True, **sent}]
    route = {
        "receiver": "team",
        "group_by": example["route"]["group_by"],
        "group_wait": "0s",
        "group_interval": "1s",
        "repeat_interval": "1h",
    }
    return {"route": route, "receivers": [receiver], "inhibit_rules": example["inhibit_rules"]}


def _write(file: Path, document: dict[str, Any]) -> None:
    file.write_text(yaml.safe_dump(document, sort_keys=False))


@contextlib.contextmanager
def _running(command: Sequence[str], url: str, log: Path) -> Iterator[None]:
    with log.open("wb") as written:
        process = subprocess.Popen(
            [*command, f"--web.listen-address={url[7:]}"], stdout=written, stderr=written, stdin=subprocess.DEVNULL
        )
        try:
            _wait_until_ready(process, url, log)
            yield
        finally:
            process.terminate()
            process.wait(30)


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + READY_S
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/-/ready", timeout=5) as answer:
            if answer.status == 200:
                return
        time.sleep(0.1)
    raise TimeoutError(f"{process.args!r} did not become ready: {log.read_text()[-500:]}")
