"""Pictures of a folder, or of a column: a file's bytes to a model's only input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from lading.content.image import decode_image, picture_size
from lading.errors import DataError, RequestError, SettingsError
from lading.score.source import Block, Piece, Source
from lading.spec import Array, TensorSpec

MAX_BYTES = 64_000_000
"""Of one picture's file; a larger one is refused unread."""


class PictureBlock(Block):
    """Some pictures of a folder; the files are read in the lane that decodes them."""

    unit = "picture"

    def __init__(self, specs: Sequence[TensorSpec], root: Path, files: Sequence[str], first: int) -> None:
        super().__init__(specs, files, first)
        self._root = root

    def __len__(self) -> int:
        return len(self._files)

    def where(self, index: int) -> str:
        return self._files[index]

    def row(self, index: int) -> dict[str, Array]:
        height, width = picture_size(self.specs[0])
        data = self._bytes(self._root / self._files[index])
        return {self.specs[0].name: decode_image(data, height=height, width=width)[None]}

    @staticmethod
    def _bytes(path: Path) -> bytes:
        try:
            size = path.stat().st_size
            if size > MAX_BYTES:
                raise RequestError(f"the file has {size} bytes; at most {MAX_BYTES} are read")
            return path.read_bytes()
        except OSError as error:
            raise RequestError(f"the file cannot be read: {error.strerror}") from None


class PictureSource(Source):
    """A row a picture, in the order of their paths."""

    suffixes = (".jpg", ".jpeg", ".png", ".webp")
    kind = "pictures"

    def check(self) -> None:
        if [spec.content for spec in self.specs] != ["image"]:
            raise DataError(
                f"{self.root} holds pictures, and the model does not take one picture but {', '.join(self.columns)}"
            )
        if self.keep:
            raise SettingsError(f"--keep {self.keep[0]}: pictures have no columns; their path is in the result already")

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
                yield piece, PictureBlock(self.specs, self.root, files, piece.first + start)
