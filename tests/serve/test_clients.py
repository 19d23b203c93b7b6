"""Clients that were written for other servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.given.live_server import LiveServer
from tests.given.pictures import Encode
from tests.given.run_client import run_client


@pytest.fixture
def photo(encode: Encode, tmp_path: Path) -> str:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encode())
    return str(path)


def test_tritonclient_http(pictures: LiveServer, photo: str) -> None:
    run_client("triton_http", pictures.url.removeprefix("http://"), photo)


def test_tritonclient_grpc(pictures: LiveServer, photo: str) -> None:
    run_client("triton_grpc", pictures.grpc, photo)


def test_kserve_rest_and_grpc(pictures: LiveServer) -> None:
    run_client("kserve_both", pictures.url, pictures.grpc)
