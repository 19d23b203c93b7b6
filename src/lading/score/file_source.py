"""A folder of encoded files, such as pictures. Each file is one row, decoded into the model's only input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from lading.budget import Budget
from lading.content import ContentType, content_of, content_types, decode_file
from lading.errors import DataError, RequestError, SettingsError
from lading.score.source import Block, Piece, Source
from lading.spec import Array, TensorSpec

MAX_BYTES = 64_000_000
"""Maximum size of one file, checked before it is read."""


class FileBlock(Block):
    """Some files of a folder. Each lane reads the files that it decodes."""

    def __init__(self, specs: Sequence[TensorSpec], root: Path, files: Sequence[str], first: int) -> None:
        super().__init__(specs, files, first)
        self._root = root

    def __len__(self) -> int:
        return len(self._files)

    def where(self, index: int) -> str:
        return self._files[index]

    def row(self, index: int) -> dict[str, Array]:
        (spec,) = (spec for spec in self.specs if not spec.optional)
        content = content_of(spec)
        assert content is not None
        return {spec.name: decode_file(content, self._bytes(self._root / self._files[index]), spec, Budget())[None]}

    @staticmethod
    def _bytes(path: Path) -> bytes:
        try:
            size = path.stat().st_size
            if size > MAX_BYTES:
                raise RequestError(f"the file has {size} bytes; at most {MAX_BYTES} are read")
            return path.read_bytes()
        except OSError as error:
            raise RequestError(f"the file cannot be read: {error.strerror}") from None


class FileSource(Source):
    """One encoded file per row, in the order of their paths."""

    @classmethod
    def suffixes(cls) -> tuple[str, ...]:
        return tuple(suffix for content in content_types() for suffix in content.suffixes)

    @property
    def kind(self) -> str:
        return f"{self._content.noun}s"

    @property
    def _content(self) -> ContentType:
        """The model's content type if it has the first file's suffix, else any type that has it."""
        suffix = Path(self.files[0]).suffix.lower()
        own = [content for spec in self.specs if (content := content_of(spec)) is not None]
        return next(content for content in (*own, *content_types()) if suffix in content.suffixes)

    def check(self) -> None:
        noun = self._content.noun
        if [spec.content for spec in self.specs if not spec.optional] != [self._content.name]:
            raise DataError(
                f"{self.root} holds {self.kind}, and the model does not take one {noun} but {', '.join(self.columns)}"
            )
        other = next((name for name in self.files if Path(name).suffix.lower() not in self._content.suffixes), None)
        if other is not None:
            raise DataError(f"{self.root / other} is no {noun}: score files of several kinds one after another")
        if self.keep:
            raise SettingsError(
                f"--keep {self.keep[0]}: {self.kind} have no columns; their path is in the result already"
            )

    def kept_fields(self) -> list[pa.Field]:
        return []

    def pieces(self, part_rows: int) -> list[Piece]:
        starts = range(0, len(self.files), part_rows)
        chunks = [self.files[start : start + part_rows] for start in starts]
        return [
            Piece(number, chunk, start, len(chunk))
            for number, (start, chunk) in enumerate(zip(starts, chunks, strict=True))
        ]

    def blocks(self, pieces: Sequence[Piece], block_rows: int) -> Iterator[tuple[Piece, Block]]:
        for piece in pieces:
            for start in range(0, piece.rows, block_rows):
                files = piece.files[start : start + block_rows]
                yield piece, FileBlock(self.specs, self.root, files, piece.first + start)
