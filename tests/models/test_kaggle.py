"""Kaggle's data set: its folder layout, and its way here through kagglehub, from a Kaggle of our own."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from kagglesdk import kaggle_env

from lading.errors import DataError
from models.card_decks import RANKS, SUITS, KaggleCards
from models.card_decks.kaggle import DATASET
from tests.given.kaggle_tree import Kaggle, kaggle_tree


@pytest.fixture
def kaggle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kaggle]:
    root = kaggle_tree(tmp_path / "original", ["joker", "ten of hearts"])
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as whole:
        for file in sorted(root.rglob("*.jpg")):
            whole.write(file, str(file.relative_to(root)))
    server = Kaggle(archive.getvalue())
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kagglehub"))
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.TEST, address)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.slow
def test_the_data_set_is_downloaded_once_and_read_without_a_network_after_that(
    kaggle: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = KaggleCards("train", cache=tmp_path / "cache")
    assert len(first) == 4
    KaggleCards("test", cache=tmp_path / "cache")
    assert kaggle.asked.count("DownloadDataset") == 1
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.TEST, "http://127.0.0.1:1")
    again = KaggleCards("train", cache=tmp_path / "cache")
    assert again.fingerprint == first.fingerprint
    (tmp_path / "kagglehub" / "datasets" / DATASET / "2.complete").unlink()
    with pytest.raises(DataError, match=r"cannot be downloaded \(ConnectionError.*model\.root=FOLDER"):
        KaggleCards("train", cache=tmp_path / "cache")


def test_kaggles_folders_are_read_with_their_labels(tmp_path: Path) -> None:
    root = kaggle_tree(tmp_path / "kaggle", ["ace of clubs", "joker", "ten of hearts"])
    cards = KaggleCards("train", root=root, cache=tmp_path / "cache")
    labels = {(SUITS[int(target["suit"])], RANKS[int(target["rank"])]) for _, target in (cards[i] for i in range(6))}
    assert labels == {("clubs", "ace"), ("joker", "joker"), ("hearts", "ten")}
    assert cards[0][0]["image"].shape == (224, 224, 3)
    assert len(cards) == 6


def test_kaggles_pictures_are_packed_once(tmp_path: Path) -> None:
    root = kaggle_tree(tmp_path / "kaggle", ["joker"])
    KaggleCards("valid", root=root, cache=tmp_path / "cache")
    (packed,) = (tmp_path / "cache").iterdir()
    written = packed.stat().st_mtime_ns
    KaggleCards("valid", root=root, cache=tmp_path / "cache")
    assert packed.stat().st_mtime_ns == written


def test_a_folder_that_is_no_card_a_torn_picture_and_a_missing_split_are_named(tmp_path: Path) -> None:
    root = kaggle_tree(tmp_path / "kaggle", ["ace of cups"])
    with pytest.raises(DataError, match="ace of cups is not named for a card"):
        KaggleCards("train", root=root, cache=tmp_path)
    torn = kaggle_tree(tmp_path / "torn", ["joker"])
    (torn / "train" / "joker" / "0.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(DataError, match=r"0\.jpg: "):
        KaggleCards("train", root=torn, cache=tmp_path)
    with pytest.raises(DataError, match="train, valid and test"):
        KaggleCards("extra", root=root, cache=tmp_path)
