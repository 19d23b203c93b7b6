"""Read the file of a bare ONNX graph, with the files that it keeps weights in."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx.external_data_helper import load_external_data_for_model

from lading.artifact.external_data import external_files
from lading.build.graph_size import too_large
from lading.errors import ArtifactError, WrapError
from lading.errors.formats import format_of

_HEAD = 200  # bytes that say what a file is


def load_onnx(file: Path) -> onnx.ModelProto:
    """Read a graph and its weights.

    Raises:
        WrapError: it is not ONNX, its graph takes or gives nothing, it is too large, or a file of its weights is
            missing, short, or not next to it.
    """
    if not file.exists():
        raise WrapError(f"there is no file {file}")
    beside = _files_beside(file)
    if problem := too_large(sum(one.stat().st_size for one in (file, *beside) if one.is_file())):
        raise WrapError(f"{file} is too large: {problem}")
    try:
        model = onnx.load(file, load_external_data=False)
    except Exception as error:  # Protobuf's parsers have their own exceptions.
        raise WrapError(f"{file} is not an ONNX file: {_reason(file, error)}") from None
    graph = model.graph
    if not graph.node:
        raise WrapError(f"{file} is not an ONNX file, or its graph is empty")
    if not {value.name for value in graph.input} - {one.name for one in graph.initializer}:
        raise WrapError(f"{file} has no inputs, so every answer is the same and there is nothing to serve")
    if not graph.output:
        raise WrapError(f"{file} has no outputs, so there is no answer to serve: export it with them")
    _refuse_unreadable(file, beside)
    try:
        load_external_data_for_model(model, str(file.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        named = ", ".join(one.name for one in beside)
        raise WrapError(
            f"{file} keeps its weights in {named}, which is cut short, damaged, or of another graph: copy both again "
            f"({' '.join(str(error).split())})"
        ) from None
    return model


def _files_beside(file: Path) -> list[Path]:
    """The files that it keeps weights in, none of which is read."""
    try:
        return [file.parent / location for location in sorted(external_files(file))] if file.is_file() else []
    except (ArtifactError, UnicodeDecodeError, OSError):
        return []  # what is no graph is told later


def _refuse_unreadable(file: Path, beside: list[Path]) -> None:
    for one in beside:
        inside = one.is_relative_to(file.parent) and ".." not in one.relative_to(file.parent).parts
        if not inside:
            raise WrapError(
                f"{file} keeps its weights in {one}, outside of its folder, where nothing is read: save it again with "
                "onnx.save_model(..., save_as_external_data=True, location='weights.bin')"
            )
        if one.is_symlink():
            raise WrapError(
                f"{file} keeps its weights in {one.name}, which is a symbolic link, and links are not followed: copy "
                f"both files to a folder, `cp -L {file} {one} FOLDER`, and pack that one"
            )
        if not one.is_file():
            raise WrapError(f"{file} keeps its weights in {one.name}, which is not next to it: copy both")


def _reason(file: Path, error: Exception) -> str:
    """Why a file cannot be parsed, in words that do not come from the parser."""
    if isinstance(error, OSError):
        return str(error.strerror)
    with file.open("rb") as stream:
        head = stream.read(_HEAD)
    if head.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS; `git lfs pull` fetches the file"
    return f"it is {format_of(head) or 'damaged, or of another format'}"
