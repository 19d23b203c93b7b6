"""Failures next to the requests, one row each: what the probes, gRPC's health, a request, the log and SIGTERM show."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest

from lading.artifact import Artifact, tensors_to_bytes
from lading.serve.engine.lanes import LOST
from tests.given.changed_artifacts import with_costs, with_files
from tests.given.failures import Failing, Failure, failing, table
from tests.given.hanging import FORMS
from tests.given.live_server import wait_until
from tests.given.small_artifacts import looping_artifact

DOCUMENT = Path(__file__).parents[2] / "docs" / "failures.md"


def another(name: str, content: bytes) -> Callable[[Failing], None]:
    """Another content of one file, with its checksum."""

    def change(served: Failing) -> None:
        original = shutil.copytree(served.artifact, served.folder / "original")
        with_files(Artifact.load(original), served.artifact, {name: content})

    return change


def cut_the_weights(served: Failing) -> None:
    file = served.artifact / "variants" / "fp32.onnx"
    file.write_bytes(file.read_bytes()[:-10])


def serve_a_loop(served: Failing) -> None:
    shutil.rmtree(served.artifact)
    looping_artifact(served.artifact)
    served.body = {"turns": [[3]]}


def serve_a_brief_loop(served: Failing) -> None:
    """One that was measured to take so little time that the event loop runs it."""
    shutil.rmtree(served.artifact)
    with_costs(looping_artifact(served.folder / "loop"), served.artifact, {1: 0.01})
    served.body = {"turns": [[3]]}


def load_for_ever(served: Failing) -> None:
    """The golden inputs ask for an endless run."""
    shutil.rmtree(served.artifact)
    loop = looping_artifact(served.folder / "loop")
    with_files(loop, served.artifact, {"golden/inputs.npz": tensors_to_bytes({"turns": np.array([[2**50]])})})


def ask_in_vain(served: Failing, path: str, body: str | dict[str, object]) -> None:
    """Send a request that hangs, and return once it was given up."""
    headers = {"x-request-timeout-ms": "100", "x-request-id": "hangs"}
    sent = {"content": body} if isinstance(body, str) else {"json": body}
    answer = httpx.post(f"{served.url}{path}", headers=headers, timeout=20, **sent)
    assert answer.status_code == 504, answer.text


def hang(served: Failing) -> None:
    ask_in_vain(served, "/predict/slow", "600")


def hang_too_often(served: Failing) -> None:
    for _ in range(LOST + 1):
        hang(served)


def loop_too_long(served: Failing) -> None:
    ask_in_vain(served, "/predict", {"turns": [[2**50]]})


def kill_a_worker(served: Failing) -> None:
    children = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children").read_text().split()
    workers = [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(workers[0], signal.SIGKILL)


def slow_texts(_: Path) -> dict[str, str]:
    return {"LADING_TEXT_FORMS": FORMS}


def no_folder_for_the_log(folder: Path) -> dict[str, str]:
    (folder / "file").write_text("")
    return {"LADING_PAYLOAD_LOG": str(folder / "file" / "log")}


def with_keys(folder: Path) -> dict[str, str]:
    (folder / "keys").write_text("sesame\nold\n")
    return {"LADING_API_KEYS": str(folder / "keys")}


def new_keys(content: str) -> Callable[[Failing], None]:
    """Replace the file of keys, while a client uses the key ``sesame``."""

    def change(served: Failing) -> None:
        served.headers = {"authorization": "Bearer sesame"}
        assert served.predict() == 200
        (served.folder / "keys").write_text(content)

    return change


def no_keys(served: Failing) -> None:
    new_keys("")(served)
    (served.folder / "keys").unlink()


def log_on_a_small_disk(folder: Path) -> dict[str, str]:
    (folder / "disk").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder / "disk")]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this process may not mount a disk")
    return {"LADING_PAYLOAD_LOG": str(folder / "disk" / "log"), "LADING_PAYLOAD_ROTATE_S": "0.1"}


def fill_the_disk(served: Failing) -> None:
    with (served.folder / "disk" / "other").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            pass
    assert served.predict() == 200


def unmount(folder: Path) -> None:
    subprocess.run(["umount", "-l", str(folder / "disk")], check=True)


class HungBucket:
    """An endpoint that takes connections and answers nothing."""

    def __init__(self) -> None:
        self.listening: dict[Path, socket.socket] = {}

    def settings(self, folder: Path) -> dict[str, str]:
        self.listening[folder] = socket.create_server(("127.0.0.1", 0))
        return {
            "LADING_PAYLOAD_LOG": "s3://log",
            "LADING_PAYLOAD_ROTATE_S": "0.1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.listening[folder].getsockname()[1]}",
            "AWS_ACCESS_KEY_ID": "someone",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "here",
        }

    def asked(self, served: Failing) -> None:
        """Let the server begin an upload."""
        assert served.predict() == 200
        listening = self.listening[served.folder]
        listening.settimeout(20)
        self.listening[served.folder], _ = listening.accept()
        listening.close()

    def close(self, folder: Path) -> None:
        self.listening.pop(folder).close()


BUCKET = HungBucket()
ROWS = [
    Failure(
        "the drift reference cannot be read",
        *(200, 503, "NOT_SERVING", 503, "reference.json cannot be read", 0),
        before=another("reference.json", b"{"),
        ready=False,
    ),
    Failure(
        "a file does not match its checksum", 0, 0, "", 0, "does not match its checksum", 1, before=cut_the_weights
    ),
    Failure(
        "a folder that a setting names cannot be used",
        *(0, 0, "", 0, "log cannot be written", 2),
        settings=no_folder_for_the_log,
    ),
    Failure(
        "a model never finishes loading",
        *(200, 503, "NOT_SERVING", 503, "", 1),
        before=load_for_ever,
        ready=False,
    ),
    Failure(
        "a run takes much longer than its deadline",
        *(200, 200, "SERVING", 200, "a run was stopped, long after its deadline", 0),
        before=serve_a_loop,
        happens=loop_too_long,
    ),
    Failure(
        "a run on the event loop (a brief model) takes too long",
        *(200, 200, "SERVING", 200, "a run took too long for the event loop", 0),
        before=serve_a_brief_loop,
        happens=loop_too_long,
    ),
    Failure(
        "a decoding hangs",
        *(200, 200, "SERVING", 200, "a lane hangs and is replaced", 1),
        happens=hang,
        settings=slow_texts,
    ),
    Failure(
        "more decodings hang than can be replaced",
        *(503, 200, "SERVING", 504, "a lane hangs and cannot be replaced", 1),
        happens=hang_too_often,
        settings=slow_texts,
    ),
    Failure(
        "the artifact is removed while it is served",
        *(200, 200, "SERVING", 200, "", 0),
        happens=lambda served: shutil.rmtree(served.artifact),
    ),
    Failure(
        "a worker is killed (`LADING_WORKERS=2`)",
        *(200, 200, "SERVING", 200, "it is started again", 0),
        happens=kill_a_worker,
        settings=lambda _: {"LADING_WORKERS": "2"},
    ),
    Failure(
        "a line in the file of API keys cannot be understood",
        *(200, 200, "SERVING", 200, "keys, line 2: only expires", 0),
        happens=new_keys("sesame\nnew until=tomorrow\n"),
        settings=with_keys,
    ),
    Failure(
        "no line in the file of API keys can be understood",
        *(200, 200, "SERVING", 200, "what was read before stays in use", 0),
        happens=new_keys("new until=tomorrow\n"),
        settings=with_keys,
    ),
    Failure(
        "the file of API keys is removed",
        *(200, 200, "SERVING", 200, "keys cannot be read: No such file", 0),
        happens=no_keys,
        settings=with_keys,
    ),
    Failure(
        "the file of API keys is empty",
        *(200, 200, "SERVING", 401, "has no key: every request is refused", 0),
        happens=new_keys("# none\n"),
        settings=with_keys,
    ),
    Failure(
        "the disk of the payload log is full",
        *(200, 200, "SERVING", 200, "No space left on device", 0),
        happens=fill_the_disk,
        settings=log_on_a_small_disk,
        after=unmount,
    ),
    Failure(
        "the bucket of the payload log hangs",
        *(200, 200, "SERVING", 200, "recording did not end in time, and what it has not written is lost", 0),
        happens=BUCKET.asked,
        settings=BUCKET.settings,
        after=BUCKET.close,
        logged_at_the_end=True,
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_a_failure_shows_on_probes_in_the_log_and_at_the_end(
    row: Failure, small: dict[str, Artifact], tmp_path: Path
) -> None:
    artifact = tmp_path / "artifact"
    shutil.copytree(small["table"].path, artifact)
    with failing(row, tmp_path, artifact) as served:
        if row.starts:
            row.happens(served)
            expected = (row.livez, row.readyz, row.grpc, row.answers)
            seen: list[tuple[int, int, str, int]] = []

            def shown() -> bool:
                try:
                    now = (served.get("/livez"), served.get("/readyz"), served.health(), served.predict())
                except httpx.TransportError:  # the connection was to a worker that has been killed
                    return False
                seen.append(now)
                return now == expected and (row.logged_at_the_end or bool(re.search(row.log, served.log)))

            try:
                wait_until(shown)
            except AssertionError:
                raise AssertionError(f"{seen[-1:]}, not {expected}; or no {row.log!r} in:\n{served.log}") from None
            served.process.terminate()
        assert served.process.wait(40) == row.exit_code
        assert re.search(row.log, served.log.replace("\n", " "))
        assert "Traceback" not in served.log


def test_a_stop_names_what_still_runs(small: dict[str, Artifact], tmp_path: Path) -> None:
    row = next(row for row in ROWS if row.name == "a decoding hangs")
    with failing(row, tmp_path, small["table"].path) as served:
        row.happens(served)
        served.process.terminate()
        assert served.process.wait(40) == 1
        last = [line for line in served.log.splitlines() if '"level": "error"' in line][-2:]
    assert all(part in last[0] for part in ('"lane": 0', '"model": "small-table"', '"hangs"', "slow_text"))
    assert "stopped without waiting for what still runs" in last[1]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_second_signal_ends_the_server_at_once(workers: str, small: dict[str, Artifact], tmp_path: Path) -> None:
    settings = {"LADING_TEXT_FORMS": FORMS, "LADING_DRAIN_S": "600", "LADING_WORKERS": workers}
    row = Failure("a long drain", 200, 200, "", 200, "", 1, settings=lambda _: settings)
    with failing(row, tmp_path, small["table"].path) as served:
        asking = threading.Thread(target=ask_and_be_cut_off, args=(served,))
        asking.start()
        wait_until(lambda: "lading_requests_in_flight 1.0" in httpx.get(f"{served.url}/metrics").text)
        served.process.terminate()
        wait_until(lambda: '"event": "stopping"' in served.log)
        begun = time.monotonic()
        served.process.send_signal(signal.SIGINT)
        assert served.process.wait(40) == 128 + signal.SIGINT
        assert time.monotonic() - begun < 40  # and not the 600 s of the drain
        asking.join(20)
    assert "stopped at once: a second signal came" in served.log


def ask_and_be_cut_off(served: Failing) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.post(f"{served.url}/predict/slow", content="600", headers={"x-request-timeout-ms": "60000"}, timeout=60)


def test_the_documentation_has_these_rows() -> None:
    assert table(ROWS) in DOCUMENT.read_text(), f"write this into {DOCUMENT}:\n{table(ROWS)}"
