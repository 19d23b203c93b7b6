"""Changes to a request that was good: bytes, and the parts of its format, which may be repeated many times."""

from __future__ import annotations

import copy
import json
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

from lading.protocol.proto import inference_pb2 as pb

STUMBLES = [b"\0", b"\xff" * 4, b"-1", b"1e999", b"NaN", b"null", b"[", b'"', b"{}", b"9" * 30, b"9" * 5000]
VALUES: list[Any] = [-1, 0, 2**31, 2**63, 10**30, 1.5, None, True, "", "a" * 5000, [], {}, [[]], "NaN", -(2**63)]
TIMES = (1, 2, 2, 3, 17, 300, 5000)
LARGEST = 2_000_000
"""Bytes that a mutation lets a request grow to."""


def mutated_bytes(rng: random.Random, data: bytes) -> bytes:
    """Change a few places: flip, cut, repeat, insert what parsers stumble over."""
    content = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(content) + 1)
        kind = rng.randrange(7)
        if kind == 0 and content:
            content[at % len(content)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del content[at : at + rng.randint(1, 20)]
        elif kind == 2:
            content[at:at] = content[at : at + rng.randint(1, 40)]
        elif kind == 3:
            content[at:at] = rng.choice(STUMBLES)
        elif kind == 4:
            content[at : at + 8] = struct.pack("<q", rng.choice([-1, 2**63 - 1, 2**31, 0]))
        elif kind == 5:
            part = bytes(content[at : at + rng.randint(1, 200)])
            content[at:at] = part * times(rng, len(part))
        else:
            del content[at:]
    return bytes(content)


def times(rng: random.Random, size: int) -> int:
    """How often to repeat a part of some bytes."""
    return min(rng.choice(TIMES), 1 + LARGEST // max(size, 1))


def mutated_json(rng: random.Random, data: bytes) -> bytes:
    """Change one or two values of a JSON document: repeat an element, nest it, rename a key, put another value."""
    content: Any = copy.deepcopy(json.loads(data))
    for _ in range(rng.randint(1, 2)):
        places = list(_places(content))
        if not places:
            break
        parent, key = rng.choice(places)
        value = parent[key]
        kind = rng.randrange(6)
        if kind == 0:
            parent[key] = rng.choice(VALUES)
        elif kind == 1 and isinstance(parent, list):
            parent[key:key] = [value] * times(rng, len(json.dumps(value)))
        elif kind == 2 and isinstance(value, list):
            parent[key] = value * times(rng, len(json.dumps(value)))
        elif kind == 3:
            for _ in range(rng.choice((1, 2, 40, 300))):
                parent[key] = [parent[key]]
        elif kind == 4 and isinstance(parent, dict):
            parent[rng.choice(("", "a" * 3000, "name", "data", "parameters"))] = parent.pop(key)
        elif isinstance(value, str):
            parent[key] = value * times(rng, len(value))
        else:
            del parent[key]
    return json.dumps(content).encode()


def _places(content: Any, depth: int = 0) -> Any:
    """Every parent and key of a value; of long lists the first ones."""
    if depth > 20:
        return
    keys: Any = (
        content if isinstance(content, dict) else range(min(len(content), 5)) if isinstance(content, list) else ()
    )
    for key in list(keys):
        yield content, key
        yield from _places(content[key], depth + 1)


def mutated_picture(rng: random.Random, file: bytes) -> bytes:
    """Change one part of an encoded picture: a chunk or segment is repeated, moved, cut or changed, checksums right."""
    parts, join = _split(file)
    for _ in range(rng.randint(1, 2)):
        if not parts:
            break
        at = rng.randrange(len(parts))
        part = parts[at]
        kind = rng.randrange(5)
        if kind == 0:
            parts[at:at] = [part] * times(rng, len(part))
        elif kind == 1:
            parts.insert(rng.randrange(len(parts)), parts.pop(at))
        elif kind == 2:
            del parts[at]
        elif kind == 3:
            parts[at] = part[: rng.randrange(len(part) + 1)]
        else:
            parts[at] = part[:4] + mutated_bytes(rng, part[4:])
    return join(parts)


def _split(file: bytes) -> tuple[list[bytes], Callable[[list[bytes]], bytes]]:
    """Parts of a PNG, a WebP or a JPEG, and how they become a file again."""
    if file.startswith(b"\x89PNG"):
        return _png_chunks(file), _png
    if file.startswith(b"RIFF"):
        return _riff_chunks(file), _webp
    return _jpeg_segments(file), b"".join


def _png_chunks(file: bytes) -> list[bytes]:
    chunks, at = [], 8
    while at + 8 <= len(file):
        size = int.from_bytes(file[at : at + 4], "big")
        chunks.append(file[at + 4 : at + 8 + size])
        at += size + 12
    return chunks


def _png(chunks: list[bytes]) -> bytes:
    whole = (struct.pack(">I", max(0, len(one) - 4)) + one + struct.pack(">I", zlib.crc32(one)) for one in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(whole)


def _riff_chunks(file: bytes) -> list[bytes]:
    chunks, at = [], 12
    while at + 8 <= len(file):
        size = int.from_bytes(file[at + 4 : at + 8], "little")
        chunks.append(file[at : at + 4] + file[at + 8 : at + 8 + size])
        at += 8 + size + size % 2
    return chunks


def _webp(chunks: list[bytes]) -> bytes:
    whole = b"".join(
        one[:4] + struct.pack("<I", max(0, len(one) - 4)) + one[4:] + b"\0" * (len(one) % 2) for one in chunks
    )
    return b"RIFF" + struct.pack("<I", len(whole) + 4) + b"WEBP" + whole


def _jpeg_segments(file: bytes) -> list[bytes]:
    """Each from its marker to the next one that is not part of entropy-coded data."""
    starts = [
        at
        for at in range(len(file) - 1)
        if file[at] == 0xFF and file[at + 1] not in (0, 0xFF) and not 0xD0 <= file[at + 1] <= 0xD7
    ]
    return [file[start:end] for start, end in zip(starts, [*starts[1:], len(file)], strict=True)]


def mutated_form(rng: random.Random, parts: list[bytes]) -> bytes:
    """A form whose boundary is ``x``, with a part repeated, cut or changed."""
    parts = list(parts)
    at = rng.randrange(len(parts))
    if rng.random() < 0.5:
        parts[at:at] = [parts[at]] * times(rng, len(parts[at]))
    else:
        parts[at] = mutated_bytes(rng, parts[at])
    return b"".join(b"--x\r\n" + part + b"\r\n" for part in parts) + b"--x--\r\n"


def mutated_message(rng: random.Random, data: bytes) -> bytes:
    """A gRPC request with one field repeated or changed."""
    request = pb.ModelInferRequest.FromString(data)
    kind = rng.randrange(9)
    count = rng.choice((*TIMES, 60_000))
    tensor = request.inputs[0]
    if kind == 0:
        tensor.shape.extend([rng.choice((0, 1, 2, -1, 2**62))] * count)
    elif kind == 1:
        tensor.shape[0] = rng.choice((0, -1, 2**40, 2**63 - 1, count))
    elif kind == 2:
        request.inputs.extend([tensor] * count)
    elif kind == 3:
        name = rng.choice(("shade", "colour", "total", "other", ""))
        request.outputs.extend([pb.ModelInferRequest.InferRequestedOutputTensor(name=name)] * count)
    elif kind == 4:
        part = request.raw_input_contents[0] if request.raw_input_contents else b""
        request.raw_input_contents.extend([part] * times(rng, len(part)))
    elif kind == 5:
        setattr(request, rng.choice(("id", "model_name", "model_version")), "a" * count)
    elif kind == 6:
        tensor.datatype = rng.choice(("BYTES", "UINT8", "FP32", "INT64", "BOOL", "FP16", "a" * count, ""))
    elif kind == 7:
        tensor.contents.fp32_contents.extend([1.0] * count)
        del request.raw_input_contents[:]
    else:
        for number in range(count):
            tensor.parameters[f"p{number}"].int64_param = number
    return bytes(request.SerializeToString())
