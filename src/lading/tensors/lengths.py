"""The length of an example, where examples of one model cost differently: tokens of a text, or pixels of a picture.

T(rows, length) says what a run costs. Padded dims are filled up, so their examples share runs as far as that pays.
Pictures of any size share a run with those of the same size alone, and a run has at most as many pixels as the largest
picture. So one run of one such picture is the most that a run takes of memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile

from lading.errors import InputShapeError
from lading.spec import Array, Padding, TensorSpec
from lading.tensors.padded import padded_dims

_SHAPES = 4
"""Sizes of pictures that are measured: each has half the sides of the next."""
_SMALLEST = 64
"""Pixels of the short side of the smallest one, unless the largest has fewer."""


@dataclass(frozen=True)
class Lengths:
    """What the length of a model's examples is made of; false for a model whose examples all cost the same."""

    inputs: tuple[TensorSpec, ...]

    @cached_property
    def padded(self) -> Mapping[str, Padding]:
        """Padded dims by name."""
        return padded_dims(self.inputs)

    @cached_property
    def pictures(self) -> tuple[TensorSpec, ...]:
        """The inputs whose height and width follow from the picture."""
        return tuple(spec for spec in self.inputs if spec.picture_dims is not None)

    def __bool__(self) -> bool:
        return bool(self.padded or self.pictures)

    def of(self, sizes: Mapping[str, int]) -> int | None:
        """The length of a request with these sizes of symbolic dims: its pixels, or else its largest padded dim."""
        if self.pictures:
            return max(_pixels(spec, sizes) for spec in self.pictures)
        return max((sizes.get(dim, 0) for dim in self.padded), default=None)

    @property
    def longest(self) -> int | None:
        """The largest length that is accepted; ``None`` where all examples cost the same."""
        if not self:
            return None
        pictures = [spec.preprocess.most_pixels for spec in self.pictures if spec.preprocess is not None]
        return max(pictures or [padding.max_length for padding in self.padded.values()])

    def rows(self, sizes: Mapping[str, int], wanted: int) -> int:
        """Examples of this size that share a run: as many as wanted, or as the pixels of the largest picture allow."""
        for spec in self.pictures:
            assert spec.preprocess is not None
            wanted = min(wanted, max(1, spec.preprocess.most_pixels // max(1, _pixels(spec, sizes))))
        return wanted

    def most(self, dim: str) -> int | None:
        """The bound of a symbolic dim; ``None`` where there is none."""
        if dim in self.padded:
            return self.padded[dim].max_length
        sides = [spec.preprocess.most[0] for spec in self.pictures if spec.preprocess and dim in spec.shape]
        return sides[0] if sides else None

    def measured(self) -> list[dict[str, int]]:
        """Sizes of these dims to measure a run at, ascending; the last is the largest that is accepted.

        Of padded dims they are the buckets, or else 8, 32, 128 ...; of pictures, each has half the sides of the next.
        """
        buckets = {bucket for padding in self.padded.values() for bucket in padding.buckets}
        longest = max((padding.max_length for padding in self.padded.values()), default=0)
        tokens = sorted(buckets) or [
            *takewhile(lambda length: length < longest, (8 * 4**n for n in range(16))),
            longest,
        ]
        if not self.pictures:
            return [self._padded_to(length) for length in tokens] if self.padded else []
        shapes = [shape for halvings in range(_SHAPES) if (shape := self._picture_sizes(halvings)) is not None]
        return [shape | self._padded_to(longest) for shape in reversed(shapes)]

    def _padded_to(self, length: int) -> dict[str, int]:
        return {dim: min(length, padding.max_length) for dim, padding in self.padded.items()}

    def _picture_sizes(self, halvings: int) -> dict[str, int] | None:
        """Lying pictures with sides of the largest one, halved so often; ``None`` if they are very small."""
        sizes: dict[str, int] = {}
        for spec in self.pictures:
            assert spec.preprocess is not None
            assert spec.picture_dims is not None
            long, short = spec.preprocess.most
            step = spec.preprocess.multiple
            wide, tall = (max(step, side // 2**halvings // step * step) for side in (long, short))
            if halvings and tall < max(step, _SMALLEST):
                return None
            height, width = spec.picture_dims
            sizes |= {height: tall, width: wide}
        return sizes


def _pixels(spec: TensorSpec, sizes: Mapping[str, int]) -> int:
    height, width = spec.picture_dims or ("", "")
    return sizes.get(height, 1) * sizes.get(width, 1)


def check_picture_size(spec: TensorSpec, array: Array, *, example: bool) -> None:
    """Refuse pictures of a size that the model does not take, or more of them than share a run.

    Args:
        spec: an input whose height and width follow from the picture.
        array: of its number of dims.
        example: without the batch dim.

    Raises:
        InputShapeError: says which sizes are accepted.
    """
    how = spec.preprocess
    assert how is not None
    height, width = (array.shape[axis - example] for axis in how.axes())
    if (why := how.sizes(height, width)) is not None:
        raise InputShapeError(f"input {spec.name!r} has pictures of {width} x {height} pixels; {why}")
    most = max(1, how.most_pixels // max(1, height * width))
    if not example and array.shape[0] > most:
        raise InputShapeError(
            f"input {spec.name!r} has {array.shape[0]} pictures of {width} x {height} pixels; one request may have "
            f"{most} of this size: send several requests"
        )
