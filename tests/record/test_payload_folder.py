"""The payload log's folder: only the log's own files are deleted, and no name leads out of it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from lading.artifact import Artifact, write_artifact
from lading.errors import SettingsError
from lading.record.batch import Batch
from lading.record.payload_folder import MARKER, Folder, folder_name
from lading.record.payload_store import ParquetFiles
from lading.serve.http.app import App
from lading.settings import Settings
from lading.settings.recording import RecordingSettings
from tests.given.live_server import live_server
from tests.given.payload_rows import rows_in
from tests.given.small_artifacts import table_artifact

FEATURES = {"features": [[1, 2, 3, 4]]}
DAY = "date=2020-01-31"
ROWS = "120000-host.local-1a2b3c4d-77-1.parquet"
PICTURE = f"{'0f' * 16}-image.raw-0.jpg"
OWN = [
    f"cards/1/{DAY}/{ROWS}",
    f"cards/1/{DAY}/120000-host-1-1.parquet",
    f"my%20model/2026-11-24/{DAY}/{ROWS}",
    f"cards/1/{DAY}/pictures/{PICTURE}",
    f"feedback/{DAY}/{ROWS}",
]
ABANDONED = [
    f"cards/1/{DAY}/.{ROWS}.0123abcd",
    f"cards/1/{DAY}/pictures/.{PICTURE}.0123abcd",
    f"feedback/{DAY}/.{ROWS}.0123abcd",
    f".{MARKER}.0123abcd",
]
FOREIGN = [
    "notes.txt",
    ".bashrc",
    ".git/config",
    f".trash/1/{DAY}/{ROWS}",
    f"cards/.old/{DAY}/{ROWS}",
    "cards/notes.txt",
    f"cards/{ROWS}",
    f"cards/1/{ROWS}",
    "cards/1/notes.txt",
    f"cards/1/{DAY}/notes.txt",
    f"cards/1/{DAY}/data.parquet",
    f"cards/1/{DAY}/.hidden",
    f"cards/1/{DAY}/{ROWS}.0123abcd",
    f"cards/1/{DAY}/.{ROWS}.swp",
    f"cards/1/{DAY}/pictures/holiday.jpg",
    f"cards/1/{DAY}/pictures/2020/{PICTURE}",
    f"cards/1/date=today/{ROWS}",
    f"cards/1/2/{DAY}/{ROWS}",
    f"{DAY}/{ROWS}",
    ROWS,
    PICTURE,
]


def make(root: Path, *files: str, content: bytes = b"x" * 1000) -> None:
    for number, name in enumerate(files):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        os.utime(file, (number + 1, number + 1))


def files_in(root: Path) -> set[str]:
    return {str(file.relative_to(root)) for file in root.rglob("*") if not file.is_dir() and file.name != MARKER}


def opened(root: Path, *, most_bytes: float = 1e9, keep_s: float = 1e12) -> Folder:
    return Folder(root, most_bytes=most_bytes, keep_s=keep_s)


@pytest.mark.parametrize("limits", [{"most_bytes": 0.0}, {"keep_s": 1.0}], ids=["size", "age"])
def test_pruning_deletes_the_logs_own_files_and_no_others(tmp_path: Path, limits: dict[str, float]) -> None:
    root, elsewhere = tmp_path / "log", tmp_path / "elsewhere"
    folder = opened(root, **limits)
    make(root, *OWN, *ABANDONED, *FOREIGN)
    make(elsewhere, ROWS)
    (root / "cards" / "1" / DAY / f"2{ROWS[1:]}").symlink_to(elsewhere / ROWS)
    (root / "linked").mkdir()
    (root / "linked" / "1").symlink_to(elsewhere)
    folder.prune()
    assert files_in(root) == {*FOREIGN, f"cards/1/{DAY}/2{ROWS[1:]}"}
    assert (root / "linked" / "1").is_symlink()
    assert files_in(elsewhere) == {ROWS}


def test_pruning_makes_room_for_what_comes_and_keeps_the_newest(tmp_path: Path) -> None:
    folder = opened(tmp_path, most_bytes=3500)
    make(tmp_path, *OWN)  # oldest first, 1000 bytes each
    folder.prune(coming=900)
    assert files_in(tmp_path) == set(OWN[-2:])


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("with_a_log", [True, False])
def test_a_folder_with_other_files_is_refused(tmp_path: Path, name: str, *, with_a_log: bool) -> None:
    make(tmp_path, name, *(OWN if with_a_log else ()))
    before = files_in(tmp_path)
    with pytest.raises(SettingsError, match="is not empty and no payload log") as refused:
        opened(tmp_path, most_bytes=0)
    assert files_in(tmp_path) == before
    assert len(str(refused.value)) <= 500


def test_a_folder_of_empty_folders_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Documents").mkdir()
    with pytest.raises(SettingsError, match="it holds 'Documents'"):
        opened(tmp_path)


@pytest.mark.parametrize("files", [(), ("lost+found/x",), ABANDONED[-1:], *((file,) for file in OWN), OWN])
def test_an_empty_folder_and_a_log_without_a_marker_are_taken_over(tmp_path: Path, files: tuple[str, ...]) -> None:
    make(tmp_path, *files)
    opened(tmp_path)
    assert (tmp_path / MARKER).read_text() == '{"layout": 1}'
    make(tmp_path, "notes.txt")
    opened(tmp_path)  # the marker says whose folder it is


def test_a_log_whose_files_were_all_pruned_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "cards" / "1" / DAY).mkdir(parents=True)
    opened(tmp_path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"layout": 2}', "has layout 2, and this version of Lading writes 1"),
        ("", "cannot be read: delete it"),
        ('{"layout"', "cannot be read: delete it"),
        ("[]", "cannot be read: delete it"),
        ("{}", "cannot be read: delete it"),
        ("x" * 20_000, "cannot be read: delete it"),
    ],
)
def test_a_marker_of_another_layout_or_an_incomplete_one_is_refused(
    tmp_path: Path, content: str, sentence: str
) -> None:
    make(tmp_path, *OWN)
    (tmp_path / MARKER).write_text(content)
    with pytest.raises(SettingsError, match=sentence) as refused:
        opened(tmp_path, most_bytes=0)
    assert MARKER in str(refused.value)
    assert files_in(tmp_path) == set(OWN)


def test_an_unfinished_file_is_deleted_once_its_process_has_ended(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    make(tmp_path, *ABANDONED[:1])
    with (tmp_path / ABANDONED[0]).open("rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as its process does
        folder.prune()
        assert files_in(tmp_path) == set(ABANDONED[:1])
    folder.prune()
    assert files_in(tmp_path) == set()


NAMES = [
    "",
    ".",
    "..",
    "/",
    "//",
    "/etc",
    "../up",
    "a/../../b",
    "a\\b",
    "\0",
    "\n",
    "a\0b",
    ".hidden",
    "~",
    "~root",
    "-",
]
NAMES += [
    "feedback",
    "Feedback",
    "lost+found",
    "naïve",
    "模型",
    "\udcff",
    "%2E",
    "%2e",
    "a b",
    "CON",
    "x" * 300,
    "y" * 299,
]
NAMES += ["x" * 299 + "y", "ü" * 200, "../" * 100, "cards", "1.0.0-rc.1", "%", "%00"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_one_folder_below_its_parent(tmp_path: Path, name: str) -> None:
    folder = folder_name(name)
    assert folder.isascii()
    assert 0 < len(folder) <= 100
    assert not folder.startswith(".")
    assert "/" not in folder
    assert folder.lower() != "feedback"
    (tmp_path / folder).mkdir()
    assert [entry.name for entry in tmp_path.iterdir()] == [folder]


def test_names_stay_apart_and_usual_ones_stay_as_they_are() -> None:
    assert len({folder_name(name) for name in NAMES}) == len(NAMES)
    for usual in ("cards", "small-table", "my_model.v2", "1", "2026-11-24", "Cards"):
        assert folder_name(usual) == usual


def renamed(artifact: Artifact, path: Path, name: str, version: str) -> Artifact:
    manifest = artifact.manifest.model_copy(update={"name": name, "version": version})
    files: dict[str, bytes | Path] = {file: artifact.path / file for file in manifest.files}
    return write_artifact(path, manifest, files)


@pytest.mark.parametrize(("name", "version"), [("../../up", "../.."), ("feedback", "/tmp/up"), (".hidden", "")])
def test_a_manifest_cannot_write_outside_the_log(tmp_path: Path, name: str, version: str) -> None:
    artifact = renamed(table_artifact(tmp_path / "small"), tmp_path / "renamed", name, version)
    root = tmp_path / "here" / "log"
    with live_server(artifact, payload_log=str(root)) as live:
        assert live.client.post("/predict", json=FEATURES).status_code == 200
    (file,) = root.rglob("*.parquet")
    assert file.relative_to(root).parts[:2] == (folder_name(name), folder_name(version))
    assert [entry.name for entry in (tmp_path / "here").iterdir()] == ["log"]
    assert len(rows_in(root, folder_name(name))) == 1


def test_a_failed_write_leaves_no_part_behind(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = RecordingSettings(payload_log=str(tmp_path))
    files = ParquetFiles(opened(tmp_path), settings)
    model = (
        App(Settings(), artifacts=[table_artifact(tmp_path_factory.mktemp("small") / "table")]).repository.find().info
    )
    batch = Batch.new()
    row = {"time": 1, "request_id": "one", "model": model.name}
    in_the_way = tmp_path / model.name / model.version / batch.day / f"{batch.stem}.parquet"
    (in_the_way / "folder").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        files.store(batch, model, [row], {f"pictures/{PICTURE}": b"picture"})
    assert files_in(tmp_path) == set()
    (in_the_way / "folder").rmdir()
    in_the_way.rmdir()
    for _ in range(2):  # an attempt that was reported as failed, and is repeated
        files.store(batch, model, [row], {f"pictures/{PICTURE}": b"picture"})
    assert [found["request_id"] for found in rows_in(tmp_path, model.name)] == ["one"]
    assert len(files_in(tmp_path)) == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this process may not mount a disk")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(file: Path) -> None:
    """Write until the disk is full."""
    with file.open("wb", buffering=0) as opened, contextlib.suppress(OSError):
        while opened.write(b"x" * 4096):
            pass


def test_on_a_full_disk_the_oldest_files_make_room(small_disk: Path) -> None:
    root = small_disk / "log"
    folder = opened(root)
    make(root, *OWN, content=b"x" * 180_000)
    (small_disk / "other").write_bytes(b"x" * 100_000)
    folder.write(PurePosixPath(f"cards/1/{DAY}/2{ROWS[1:]}"), b"y" * 100_000)
    left = files_in(root)
    assert f"cards/1/{DAY}/2{ROWS[1:]}" in left
    assert OWN[0] not in left
    assert OWN[-1] in left


def test_a_disk_that_others_filled_keeps_no_part_and_recovers(small_disk: Path) -> None:
    root = small_disk / "log"
    folder = opened(root)
    fill(small_disk / "other")
    path = PurePosixPath(f"cards/1/{DAY}/{ROWS}")
    with pytest.raises(OSError, match="No space left") as full:
        folder.write(path, b"y" * 100_000)
    assert full.value.errno == errno.ENOSPC
    assert files_in(root) == set()
    opened(root)  # a server that starts on a full disk
    (small_disk / "other").unlink()
    folder.write(path, b"y" * 100_000)
    assert files_in(root) == {str(path)}
