"""Read the tensors of a weights file: safetensors, or what torch.save wrote (.pth, .pt, .ckpt, .bin)."""

from __future__ import annotations

import codecs
import json
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from lading.artifact import made_from
from lading.build.weights.harmless import HARMLESS
from lading.errors import CheckpointError
from lading.errors.formats import format_of
from lading.errors.sentences import clipped
from lading.files import read_bounded

SAFETENSORS, TORCH, SHARDS = "safetensors", "torch", "shards"
INDEX = ".index.json"
"""End of the name of a file that says in which shard each tensor is, as transformers writes it."""
_LARGEST_INDEX = 64 * 1024 * 1024
_OLD_TORCH = (b"\x80\x02\x8a\x0a", b"\x80\x04\x8a\x0a")  # pickle of torch's magic number, up to version 1.5
_HEAD = 300  # bytes that say what a file is
_MOST_ENTRIES = 5_000_000
"""Entries of a file, each named by the way to it. Containers that share their parts can have more than any memory."""
_REFUSED = re.compile(r"GLOBAL ([A-Za-z_][\w.]*\w)")
SAVE_WEIGHTS = "`torch.save(model.state_dict(), 'weights.pth')`"


@dataclass(frozen=True)
class WeightsFile:
    """What a file holds."""

    format: str
    tensors: dict[str, torch.Tensor]
    """By the names on the way to them, joined with dots: ``state_dict.model.conv1.weight``."""
    others: tuple[str, ...] = ()
    """Names of what is no tensor, such as ``epoch``."""


def read_weights(path: Path) -> WeightsFile:
    """Read every tensor in a file, however deep it lies. No code of the file is run.

    Raises:
        CheckpointError: it is missing, damaged, of another format, or holds objects other than tensors and options.
    """
    if path.is_dir():
        raise CheckpointError(_of_folder(path))
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}: `lading train` makes one")
    if path.name.endswith(INDEX):
        return _read_shards(path)
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    if head.startswith((b"PK", *_OLD_TORCH)):
        return _flat(path, _load_torch(path))
    if head[8:9] == b"{" or path.suffix == ".safetensors":
        return WeightsFile(SAFETENSORS, _load_safetensors(path, head))
    otherwise = made_from(str(path)) if path.suffix in (".onnx", ".py") else None
    raise CheckpointError(
        f"{path} holds no weights: {otherwise or f'{_what(head)}; give a file of safetensors or torch.save'}"
    )


def shards_of(index: Path) -> dict[str, list[str]]:
    """The names of the tensors in each shard, by the name of its file, which is next to the index.

    Raises:
        CheckpointError: the index cannot be read, or names another place than a file next to it.
    """
    try:
        told = json.loads(read_bounded(index, _LARGEST_INDEX))
        where = told["weight_map"]
        shards: dict[str, list[str]] = {}
        for name, shard in where.items():
            shards.setdefault(str(shard), []).append(name)
    except OSError as error:
        raise CheckpointError(f"{index} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CheckpointError(f"{index} is no index of shards: it needs a weight_map of names to files") from None
    odd = next((name for name in shards if Path(name).name != name or name.endswith(INDEX)), None)
    if odd is not None or not shards:
        raise CheckpointError(f"{index} names {clipped(repr(odd))}: shards are weights files next to the index")
    return shards


def _read_shards(index: Path) -> WeightsFile:
    found: dict[str, torch.Tensor] = {}
    shards = shards_of(index)
    lost = sorted(name for name in shards if not (index.parent / name).is_file())
    if lost:
        more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
        raise CheckpointError(f"{index} names {', '.join(lost[:3])}{more}, which is not next to it: copy all shards")
    for shard, names in shards.items():
        tensors = read_weights(index.parent / shard).tensors
        missing = next((name for name in names if name not in tensors), None)
        if missing is not None:
            raise CheckpointError(f"{index} says that {shard} holds {clipped(repr(missing))}, and it does not")
        found |= {name: tensors[name] for name in names}
    return WeightsFile(SHARDS, found)


def equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors have the same dtype, shape and values."""
    return one is other or (one.dtype == other.dtype and torch.equal(one, other))


def _of_folder(path: Path) -> str:
    if (path / ".metadata").is_file():
        return (
            f"{path} is a sharded checkpoint of torch.distributed; make one file of it: "
            f"`python -m torch.distributed.checkpoint.format_utils dcp_to_torch {path} weights.pth`"
        )
    index = next(iter(sorted(path.glob(f"*{INDEX}"))), None)
    which = f", such as {index}" if index is not None else ""
    return f"{path} is a folder; give the file with the weights in it{which}"


def _what(head: bytes) -> str:
    if not head:
        return "it is empty"
    if head.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS; `git lfs pull` fetches the file"
    if head.startswith(b"\x80"):
        return "it is a pickle that torch.save did not write, and loading one could run any code"
    known = format_of(head)
    if known:
        return f"it is {known}"
    try:
        text, _ = codecs.utf_8_decode(head, "strict", False)  # a character may be cut at the end
    except UnicodeDecodeError:
        text = "\0"
    plain = all(letter.isprintable() or letter.isspace() for letter in text)
    return "it is a text file" if plain else "it is damaged, or of another format"


def _load_safetensors(path: Path, head: bytes) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        found = _what(head)
        reason = str(error) if "damaged" in found or head[8:9] == b"{" else found
        raise CheckpointError(f"{path} cannot be read as safetensors: {reason}") from None


def _load_torch(path: Path) -> Any:
    """The objects in a file of torch.save, with weights_only: tensors, containers, and the harmless types."""
    _check_archive(path)
    with safe_globals(list(HARMLESS)), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about storages of older versions
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except UnpicklingError as error:
            refused = sorted(_refused_globals(path)) or _REFUSED.findall(str(error))
            if refused:
                raise CheckpointError(_refusal(path, refused)) from None
            reason = _first_line(str(error).rpartition("WeightsUnpickler error: ")[2])
            raise CheckpointError(
                f"{path} is cut short or damaged, or holds more than tensors and options: {reason}"
            ) from None
        except Exception as error:  # A damaged file raises whatever the broken bytes lead to.
            raise CheckpointError(
                f"{path} is cut short or damaged: {_first_line(str(error)) or type(error).__name__}"
            ) from None


def _check_archive(path: Path) -> None:
    """Say what a ZIP archive is, if torch.save did not write it."""
    with path.open("rb") as stream:
        if stream.read(2) != b"PK":
            return
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except zipfile.BadZipFile:
        raise CheckpointError(f"{path} is cut short or damaged: copy or download it again") from None
    names = [entry.filename for entry in entries]
    if any(name.endswith("archive_format") or name.endswith("serialized_exported_program.json") for name in names):
        raise CheckpointError(f"{path} is a program of torch.export, with its graph: `lading pack {path}` packs it")
    if any(name.endswith("/constants.pkl") for name in names):
        raise CheckpointError(
            f"{path} is a TorchScript program; save its weights: "
            f"torch.save(torch.jit.load({path.name!r}).state_dict(), 'weights.pth')"
        )
    if not any(name.endswith("data.pkl") for name in names):
        raise CheckpointError(f"{path} holds no weights: it is a ZIP archive that torch.save did not write; unpack it")
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        # torch.save stores as it is. A small archive may inflate to more than any memory.
        raise CheckpointError(f"{path} was compressed after torch.save wrote it: unpack it, and give the file inside")
    if (damaged := _damaged_entry(path, entries)) is not None:
        raise CheckpointError(
            f"{path} is damaged: the checksum of its part {damaged!r} is not that of its bytes; copy or download it "
            "again"
        )


def _damaged_entry(path: Path, entries: Sequence[zipfile.ZipInfo]) -> str | None:
    """The first entry whose bytes have changed since it was written. torch.load does not look."""
    with zipfile.ZipFile(path) as archive:
        for entry in entries:
            if entry.CRC == 0:  # written without checksums: torch.serialization.set_crc32_options(False)
                continue
            try:
                with archive.open(entry) as stream:
                    while stream.read(1 << 20):
                        pass
            except (zipfile.BadZipFile, EOFError, NotImplementedError):
                return entry.filename
    return None


def _refused_globals(path: Path) -> list[str]:
    try:
        return get_unsafe_globals_in_checkpoint(path)
    except Exception:  # Only files of the newer format can be listed; others raise different errors.
        return []


def _refusal(path: Path, refused: list[str]) -> str:
    named = ", ".join(refused[:5]) + (f" and {len(refused) - 5} more" if len(refused) > 5 else "")
    if any(name.startswith("torch.nn.modules.") for name in refused):
        return (
            f"{path} is a whole pickled module ({clipped(named)}), and loading it would run code: save its weights "
            f"where it was made, with {SAVE_WEIGHTS}"
        )
    return (
        f"{path} holds objects of {clipped(named)}, and loading them could run code, so nothing was loaded: save the "
        f"weights alone where it was made, with {SAVE_WEIGHTS}"
    )


def _first_line(text: str) -> str:
    return clipped((text.strip().splitlines() or [""])[0])


def _flat(path: Path, content: Any) -> WeightsFile:
    found: dict[str, torch.Tensor] = {}
    others = []
    for count, (name, value) in enumerate(_entries(content, (), ())):
        if count >= _MOST_ENTRIES:
            raise CheckpointError(
                f"{path} holds more than {_MOST_ENTRIES:,} entries: save the weights alone, with {SAVE_WEIGHTS}"
            )
        if not isinstance(value, torch.Tensor):
            others.append(name)
            continue
        if name in found and not equal(found[name], value):
            raise CheckpointError(f"{path} holds two different tensors under the name {name!r}")
        found[name] = value
    return WeightsFile(TORCH, found, tuple(others))


def _entries(content: Any, names: tuple[str, ...], above: tuple[int, ...]) -> Iterator[tuple[str, Any]]:
    """Every entry with its name, from the outside in. ``above`` has the containers on the way, against cycles."""
    if isinstance(content, torch.Tensor):
        yield ".".join(names), content.detach()
    elif isinstance(content, np.ndarray) and content.dtype.kind in "biuf":
        yield ".".join(names), torch.from_numpy(np.ascontiguousarray(content))
    elif isinstance(content, Mapping | list | tuple) and content:
        items = content.items() if isinstance(content, Mapping) else enumerate(content)
        for key, value in items if id(content) not in above else ():
            yield from _entries(value, (*names, str(key)), (*above, id(content)))
    elif names:
        yield ".".join(names), content
