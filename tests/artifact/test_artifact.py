"""The artifact directory: written at once, verified when read, and refused when anything in it was touched."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies

from lading.artifact import MANIFEST, Artifact, read_tensors, tensors_to_bytes, write_artifact
from lading.artifact.manifest import SCHEMA_VERSION, manifest_json_schema
from lading.errors import ArtifactError


@pytest.fixture
def copied(tiny_artifact: Artifact, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_artifact.path, tmp_path / "tiny-image"))


def edit_manifest(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    content = json.loads((path / MANIFEST).read_text())
    change(content)
    (path / MANIFEST).write_text(json.dumps(content))


def test_a_copied_artifact_loads_with_the_same_digest(tiny_artifact: Artifact, copied: Path) -> None:
    loaded = Artifact.load(copied)
    assert loaded.digest == tiny_artifact.digest
    assert loaded.manifest == tiny_artifact.manifest


def test_every_file_is_in_the_manifest_with_its_checksum(tiny_artifact: Artifact) -> None:
    found = {str(file.relative_to(tiny_artifact.path)) for file in tiny_artifact.path.rglob("*") if file.is_file()}
    assert found == {MANIFEST, *tiny_artifact.manifest.files}


@pytest.mark.parametrize("name", ["variants/fp32.onnx", "golden/inputs.npz", "golden/fp32.npz", "reference.json"])
def test_an_edited_file_is_refused_by_name(copied: Path, name: str) -> None:
    content = bytearray((copied / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(ArtifactError, match=f"{name} does not match its checksum"):
        Artifact.load(copied)


def test_a_missing_file_is_named(copied: Path) -> None:
    (copied / "reference.json").unlink()
    with pytest.raises(ArtifactError, match=r"reference\.json is missing: the artifact is incomplete"):
        Artifact.load(copied)


def test_a_torn_manifest_is_refused(copied: Path) -> None:
    (copied / MANIFEST).write_text((copied / MANIFEST).read_text()[:-40])
    with pytest.raises(ArtifactError, match=r"lading\.json is corrupt: .*; build the artifact again"):
        Artifact.load(copied)


def test_an_artifact_of_a_newer_schema_says_to_upgrade(copied: Path) -> None:
    edit_manifest(copied, lambda content: content.update(schema_version=SCHEMA_VERSION + 1))
    with pytest.raises(ArtifactError, match=f"schema_version {SCHEMA_VERSION + 1}; this version of lading reads up to"):
        Artifact.load(copied)


def test_a_manifest_that_lading_did_not_write_is_refused(copied: Path) -> None:
    (copied / MANIFEST).write_text("[]")
    with pytest.raises(ArtifactError, match="has no schema_version"):
        Artifact.load(copied)


def test_an_unknown_entry_is_named(copied: Path) -> None:
    edit_manifest(copied, lambda content: content.update(surprise=1))
    with pytest.raises(ArtifactError, match="is not valid at 'surprise'"):
        Artifact.load(copied)


def test_a_variant_without_a_checksum_is_refused(copied: Path) -> None:
    edit_manifest(copied, lambda content: content["files"].pop("variants/fp32.onnx"))  # type: ignore[attr-defined]
    with pytest.raises(ArtifactError, match=r"lists no checksum for variants/fp32\.onnx"):
        Artifact.load(copied)


def test_a_manifest_may_not_name_files_outside_its_directory(copied: Path) -> None:
    edit_manifest(copied, lambda content: content["files"].update({"../secret": "0" * 64}))  # type: ignore[attr-defined]
    with pytest.raises(ArtifactError, match="is outside the artifact"):
        Artifact.load(copied)


def test_a_folder_that_is_no_artifact_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"is not an artifact: it has no lading\.json; `lading build` makes an"):
        Artifact.load(tmp_path)


def test_an_unknown_variant_is_refused_with_those_there_are(tiny_artifact: Artifact) -> None:
    with pytest.raises(ArtifactError, match="has no variant 'int4'; it has: fp32"):
        tiny_artifact.variant("int4")


def test_a_rewritten_artifact_replaces_the_old_one_whole(tiny_artifact: Artifact, tmp_path: Path) -> None:
    files: dict[str, bytes | Path] = {name: tiny_artifact.path / name for name in tiny_artifact.manifest.files}
    first = write_artifact(tmp_path / "a", tiny_artifact.manifest, files | {"extra.txt": b"1"})
    second = write_artifact(tmp_path / "a", tiny_artifact.manifest, files)
    assert first.digest != second.digest
    assert not (tmp_path / "a" / "extra.txt").exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_a_write_that_fails_leaves_the_old_artifact_and_nothing_else(copied: Path) -> None:
    before = Artifact.load(copied)
    with pytest.raises(FileNotFoundError):
        write_artifact(copied, before.manifest, {"variants/fp32.onnx": copied / "none.onnx"})
    assert Artifact.load(copied).digest == before.digest
    assert [entry.name for entry in copied.parent.iterdir()] == [copied.name]


def test_the_published_schema_accepts_a_real_manifest_and_refuses_a_changed_one(tiny_artifact: Artifact) -> None:
    schema = json.loads(manifest_json_schema())
    content = json.loads((tiny_artifact.path / MANIFEST).read_text())
    jsonschema.validate(content, schema)
    del content["chosen"]
    with pytest.raises(jsonschema.ValidationError, match="'chosen' is a required property"):
        jsonschema.validate(content, schema)


@given(
    st.dictionaries(
        st.sampled_from(["image", "nodes", "file", "allow_pickle", "a.npy"]),
        numpy_strategies.arrays(st.sampled_from([np.uint8, np.int64, np.float32]), numpy_strategies.array_shapes()),
    )
)
def test_tensors_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, np.ndarray]
) -> None:
    file = tmp_path_factory.mktemp("tensors") / "some.npz"
    file.write_bytes(tensors_to_bytes(tensors))
    read = read_tensors(file)
    assert read.keys() == tensors.keys()
    for name, array in tensors.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)


def test_pickled_objects_are_never_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", surprise=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ArtifactError, match=r"bad\.npz cannot be read: .*pickle"):
        read_tensors(tmp_path / "bad.npz")


def test_strings_are_kept_and_those_that_a_file_would_change_are_refused(tmp_path: Path) -> None:
    texts = np.array([["", "a\nb"], ["\0Bodø", "\U0001f600"]], object)
    (tmp_path / "texts.npz").write_bytes(tensors_to_bytes({"texts": texts, "none": texts[:0]}))
    back = read_tensors(tmp_path / "texts.npz")
    assert back["texts"].tolist() == texts.tolist()
    assert (back["texts"].dtype, back["none"].shape) == (np.dtype(object), (0, 2))
    with pytest.raises(ArtifactError, match=r"'texts' ends with the character U\+0000"):
        tensors_to_bytes({"texts": np.array(["a\0"], object)})
