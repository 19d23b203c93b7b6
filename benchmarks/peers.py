"""Lading and its peers: how each is installed, started and asked."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import httpx

from benchmarks.load import Target

ROOT = Path(__file__).parents[1]
WORK = ROOT / "build" / "bench"
PEERS = ROOT / "benchmarks" / "peers"
ROW = [0.1 * number for number in range(16)]


@dataclass(frozen=True)
class Peer:
    """One server."""

    name: str
    path: str
    body: str
    """``raw``, ``form`` or ``v2``: how it takes a photo; and of numbers ``x`` or ``v2``."""
    requirements: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    """After the interpreter; the peer's ``server.py`` when empty."""
    models: tuple[str, ...] = ("cards", "tiny")
    environment: tuple[tuple[str, str], ...] = ()


# The same ONNX Runtime as Lading's own, so that it is the servers that are compared.
COMMON = (
    "numpy",
    f"onnxruntime=={metadata.version('onnxruntime')}",
    "pillow",
    "simplejpeg",
    "pydantic",
    "orjson",
    "uvloop",
    "httptools",
)
LADING = Peer("lading", "/classify", "raw")
LADING_V2 = Peer("lading v2", "/v2/models/{model}/infer", "v2")
LADING_BENTO = Peer("lading on BentoML", "/classify", "raw", models=("cards",))
ALL = (
    LADING,
    LADING_V2,
    LADING_BENTO,
    Peer("fastapi_torch", "/classify", "form", models=("cards",)),
    Peer("fastapi_onnxruntime", "/predict", "raw", ("fastapi==0.165.0", "uvicorn==0.54.0")),
    Peer(
        "bentoml_api",
        "/predict",
        "form",
        ("bentoml==1.4.39",),
        ("-m", "bentoml", "serve", "server:Peer", "--port", "{port}"),
        environment=(("BENTOML_DO_NOT_TRACK", "true"),),
    ),
    Peer("litserve", "/predict", "raw", ("litserve==0.2.17",)),
    Peer("mlserver", "/v2/models/peer/infer", "v2", ("mlserver==1.7.1",)),
    Peer("ray_serve", "/", "raw", ("ray[serve]==2.54.0",)),
    Peer("kserve_python", "/v2/models/peer/infer", "v2", ("kserve==0.21.0",)),
)


def environment_of(peer: Peer) -> Path:
    """The interpreter of the peer's own environment, made when it is missing."""
    if not peer.requirements:
        return Path(sys.executable)
    folder = WORK / "env" / peer.name
    python = folder / "bin" / "python"
    stamp = folder / "installed.txt"
    wanted = "\n".join([*COMMON, *peer.requirements])
    if not stamp.exists() or stamp.read_text() != wanted:
        uv = str(Path(sys.executable).with_name("uv")) if Path(sys.executable).with_name("uv").exists() else "uv"
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True)
        install = [uv, "pip", "install", "--quiet", "--python", str(python), *COMMON, *peer.requirements]
        subprocess.run(install, check=True)
        stamp.write_text(wanted)
    return python


@contextmanager
def serving(peer: Peer, model: str, artifact: Path, cores: set[int], port: int) -> Iterator[Target]:
    """Start a peer pinned to its cores, and stop it when the block ends.

    Raises:
        RuntimeError: it does not answer rightly within a minute; its log is named.
    """
    python = environment_of(peer)
    target = target_of(peer, model, port)
    log = WORK / "log" / f"{peer.name.replace(' ', '-')}-{model}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    variables = os.environ | {
        "BENCH_ARTIFACT": str(artifact.resolve()),
        "BENCH_PORT": str(port),
        "BENCH_MODEL": model,
        "BENCH_LANES": str(len(cores)),
        "LADING_ARTIFACT": str(artifact.resolve()),
        "LADING_HTTP_PORT": "off" if peer is LADING_BENTO else str(port),
        "LADING_GRPC_PORT": "off",
        "PYTHONPATH": str(ROOT / "src"),
        **dict(peer.environment),
    }
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [str(python), *_command(peer, port)],
            cwd=PEERS / peer.name if peer.name == "bentoml_api" else ROOT,
            env=variables,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),  # noqa: PLW1509 - no threads here
        )
    try:
        _wait(process, target, model, log)
        yield target
        check(target, model)
    finally:
        # The whole group: several peers start workers of their own.
        os.killpg(process.pid, 15)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


def target_of(peer: Peer, model: str, port: int) -> Target:
    """The one request that is repeated."""
    folder = WORK / "body"
    folder.mkdir(parents=True, exist_ok=True)
    url = f"http://127.0.0.1:{port}{peer.path.format(model=model)}"
    photo = (ROOT / "examples" / "ace-of-hearts.jpg").read_bytes()
    headers: tuple[str, ...] = ()
    kind = peer.body
    if model == "tiny":
        url = url.replace("/classify", "/predict")
        kind = "v2" if peer.body == "v2" else "x"
    match kind:
        case "raw":
            content, content_type = photo, "image/jpeg"
        case "form":
            field = "image" if peer.name == "bentoml_api" else "file"
            head = f'--frontier\r\ncontent-disposition: form-data; name="{field}"; filename="photo.jpg"\r\n'
            content = f"{head}content-type: image/jpeg\r\n\r\n".encode() + photo + b"\r\n--frontier--\r\n"
            content_type = "multipart/form-data; boundary=frontier"
        case "x":
            content, content_type = json.dumps({"x": [ROW]}).encode(), "application/json"
        case _ if model == "tiny":
            tensor = {"name": "x", "shape": [1, 16], "datatype": "FP32", "data": ROW}
            content, content_type = json.dumps({"inputs": [tensor]}).encode(), "application/json"
        case _ if peer.name.startswith("lading"):
            length = len(photo)
            entry = {"name": "image", "shape": [1], "datatype": "BYTES"}
            head_json = json.dumps({"inputs": [entry | {"parameters": {"binary_data_size": length + 4}}]}).encode()
            content, content_type = head_json + length.to_bytes(4, "little") + photo, "application/octet-stream"
            headers = (f"inference-header-content-length: {len(head_json)}",)
        case _:
            tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [base64.b64encode(photo).decode()]}
            content, content_type = json.dumps({"inputs": [tensor]}).encode(), "application/json"
    path = folder / f"{peer.name.replace(' ', '-')}-{model}"
    path.write_bytes(content)
    return Target(url, path, content_type, headers)


def check(target: Target, model: str) -> None:
    """Ask once, and look at the answer.

    Raises:
        RuntimeError: it is wrong.
    """
    headers = dict(header.split(": ") for header in target.headers) | {"content-type": target.content_type}
    answer = httpx.post(target.url, content=target.body.read_bytes(), headers=headers, timeout=10)
    right = answer.status_code == 200 and (
        model == "tiny" or all(word in answer.text for word in ("hearts", "ace")) or "model_name" in answer.text
    )
    if not right:
        raise RuntimeError(f"{target.url} answered {answer.status_code}: {answer.text[:300]}")


def _command(peer: Peer, port: int) -> list[str]:
    if peer is LADING_BENTO:
        return ["-m", "bentoml", "serve", "--port", str(port), "--timeout-keep-alive", "650"]
    if peer.name.startswith("lading"):
        return ["-m", "lading", "serve"]
    if peer.command:
        return [word.format(port=port) for word in peer.command]
    return [str(PEERS / peer.name / "server.py")]


def _wait(process: subprocess.Popen[bytes], target: Target, model: str, log: Path) -> None:
    end = time.monotonic() + 90
    problem: Exception | None = None
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"it ended: {log}")
        try:
            check(target, model)
        except (httpx.TransportError, RuntimeError) as error:
            problem = error
            time.sleep(0.2)
        else:
            return
    raise RuntimeError(f"it does not answer ({log}): {problem}")
