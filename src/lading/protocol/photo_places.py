"""Where the boxes and masks of an answer are in the photo that was sent, and not in the frame that the model saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lading.answers import OF_PLACES, WHOLE, View, answer_kinds
from lading.content import content_of
from lading.spec import Array, TensorSpec

Views = dict[str, list[View | None]]
"""What of each file a row of an input shows, by the input's name."""


@dataclass(frozen=True)
class PhotoPlaces:
    """The one photo of a model, and the outputs that say where something is in it."""

    photo: str
    outputs: tuple[TensorSpec, ...]

    @classmethod
    def of(cls, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> PhotoPlaces | None:
        """``None`` for a model without such outputs, or of several photos: nothing says which of them is meant."""
        photos = [spec.name for spec in inputs if spec.content == "image" and content_of(spec) is not None]
        placed = tuple(spec for spec in outputs if spec.content in OF_PLACES)
        return cls(photos[0], placed) if len(photos) == 1 and placed else None

    def in_photo(self, outputs: Mapping[str, Array], views: Views) -> Mapping[str, Array | list[Array]]:
        """The outputs in the coordinates of the photos.

        Args:
            outputs: in those of the model's frame, batch dim included.
            views: of the photos; none where numbers were sent.

        Returns:
            Masks of photos of several shapes are a list of them. What needs no change is not copied.
        """
        seen = views.get(self.photo, [])
        if all(view is None or view == WHOLE for view in seen):
            return outputs
        moved: dict[str, Array | list[Array]] = dict(outputs)
        for spec in self.outputs:
            kind = answer_kinds()[str(spec.content)]
            rows = [
                row if view is None else kind.of_photo(spec, row, view)
                for row, view in zip(outputs[spec.name], seen, strict=True)
            ]
            moved[spec.name] = np.stack(rows) if len({row.shape for row in rows}) == 1 else rows
        return moved
