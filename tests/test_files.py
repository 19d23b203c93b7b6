"""A write that fails half way leaves the old file, or the old folder, whole and nothing beside it."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lading.errors import OccupiedError
from lading.files import claim, finish, replaced_folder, write_atomically


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_bytes_text_and_a_function_write_a_file_in_a_new_folder(tmp_path: Path) -> None:
    write_atomically(tmp_path / "new" / "bytes", b"\x00\xff")
    write_atomically(tmp_path / "new" / "text", "grün\n")
    write_atomically(tmp_path / "new" / "function", lambda path: path.write_bytes(b"made"))
    assert (tmp_path / "new" / "bytes").read_bytes() == b"\x00\xff"
    assert (tmp_path / "new" / "text").read_text(encoding="utf-8") == "grün\n"
    assert (tmp_path / "new" / "function").read_bytes() == b"made"
    assert names(tmp_path / "new") == ["bytes", "function", "text"]


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    write_atomically(file, b"old")

    def fail(unfinished: Path) -> None:
        unfinished.write_bytes(b"ne")
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="the disk is full"):
        write_atomically(file, fail)
    assert file.read_bytes() == b"old"
    assert names(tmp_path) == ["model.onnx"]


def test_a_process_killed_before_the_rename_leaves_the_old_file_whole(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    write_atomically(file, b"old")
    code = """
import os, signal, sys
from pathlib import Path
from lading.files import write_atomically

def die(unfinished):
    unfinished.write_bytes(b"ne")
    os.kill(os.getpid(), signal.SIGKILL)

write_atomically(Path(sys.argv[1]), die)
"""
    died = subprocess.run([sys.executable, "-c", code, str(file)], check=False)
    assert died.returncode == -signal.SIGKILL
    assert file.read_bytes() == b"old"
    left = [name for name in names(tmp_path) if name != "model.onnx"]
    assert all(name.startswith(".model.onnx.") for name in left), "what is left is hidden, and not taken for the file"


def test_a_file_that_cannot_take_its_place_is_removed(tmp_path: Path) -> None:
    (tmp_path / "taken" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="taken"):
        write_atomically(tmp_path / "taken", b"a file cannot replace a folder")
    assert names(tmp_path) == ["taken", "taken/inside"]


def test_a_folder_takes_the_place_of_the_old_one_with_nothing_of_it_kept(tmp_path: Path) -> None:
    folder = tmp_path / "cards"
    for content in ("first", "second"):
        with replaced_folder(folder) as staging:
            (staging / content).mkdir()
            (staging / content / "file").write_text(content)
            assert staging.parent == tmp_path, "a rename is atomic only within one file system"
    assert names(tmp_path) == ["cards", "cards/second", "cards/second/file"]


def test_a_new_file_and_a_new_folder_can_be_read_by_others(tmp_path: Path) -> None:
    umask = os.umask(0o022)
    try:
        write_atomically(tmp_path / "file", b"")
        with replaced_folder(tmp_path / "folder"):
            pass
    finally:
        os.umask(umask)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("file", "folder")]
    assert modes == [0o644, 0o755]


def test_a_failed_folder_keeps_the_old_one_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "cards"
    with replaced_folder(folder) as staging:
        (staging / "old").write_text("whole")

    def fail(staging: Path) -> None:
        (staging / "new").write_text("half")
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="the disk is full"), replaced_folder(folder) as staging:
        fail(staging)
    assert names(tmp_path) == ["cards", "cards/old"]


def test_a_folder_does_not_take_the_place_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "cards"
    path.write_text("a file")
    with pytest.raises(NotADirectoryError, match="cards"), replaced_folder(path):
        pass
    assert path.read_text() == "a file"
    assert names(tmp_path) == ["cards"]


def test_a_folder_is_claimed_until_the_file_that_it_is_known_by_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "export"
    claim(folder, ["fp32.onnx"], known_by="export.json")
    (folder / "fp32.onnx").write_bytes(b"half")
    claim(folder, ["fp32.onnx"], known_by="export.json")  # again, after an interruption
    (folder / "export.json").write_text("{}")
    finish(folder)
    assert {path.name for path in folder.iterdir()} == {"fp32.onnx", "export.json"}
    claim(folder, ["fp32.onnx"], known_by="export.json")
    assert {path.name for path in folder.iterdir()} == {"fp32.onnx", "export.json"}


def test_a_name_that_is_taken_is_not_claimed(tmp_path: Path) -> None:
    (tmp_path / "fp32.onnx").write_bytes(b"mine")
    claim(tmp_path, ["int8.onnx"], known_by="variants.json")
    finish(tmp_path)
    with pytest.raises(OccupiedError, match=r"fp32\.onnx is there, and Lading did not write it"):
        claim(tmp_path, ["int8.onnx", "fp32.onnx"], known_by="variants.json")
    assert [path.name for path in tmp_path.iterdir()] == ["fp32.onnx"]
