"""Run every client of the table on a server, and write tests/clients/results.json; ``make clients`` runs this."""

from __future__ import annotations

import json
import platform
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import lading
from tests.clients.table import CLIENTS, RESULTS, run, write_bodies
from tests.given.live_server import live_server
from tests.given.pictures import BODY_LIMIT


def system() -> str:
    """The operating system."""
    return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())


def main() -> None:
    """Write what each client showed; the exit code is 1 when one failed, or cannot be run here."""
    rows, failed = [], False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with live_server(write_bodies(folder), max_body_mb=BODY_LIMIT / 1e6, max_batch=4, max_queue=64) as server:
            for client in CLIENTS:
                missing = client.missing()
                if missing is not None:
                    print(f"{client.name}: {missing} is not installed")
                    failed = True
                    continue
                outcome = run(client, server.url, server.grpc, folder)
                rows.append({"client": client.name, **asdict(outcome)})
                print(
                    f"{client.name} {outcome.version}: {outcome.failure or f'{len(outcome.calls)} calls'}", flush=True
                )
                failed |= bool(outcome.failure)
    RESULTS.write_text(json.dumps({"lading": lading.__version__, "system": system(), "clients": rows}, indent=1) + "\n")
    sys.exit(failed)


if __name__ == "__main__":
    main()
