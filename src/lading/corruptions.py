"""Standard corruptions of a request's inputs, in five severities.

For pictures they follow the families of Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common
Corruptions" (ICLR 2019): noise, blur, weather-like changes of light, and digital artefacts. For numbers they are what
happens to tables: noise in each column, a wrong scale, and values that are missing.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from lading.spec import Array, TensorSpec

SEVERITIES = (1, 2, 3, 4, 5)
Corrupt = Callable[[Array, int, np.random.Generator], Array]


def _picture(change: Callable[[Image.Image, int], Image.Image]) -> Corrupt:
    def corrupt(array: Array, severity: int, _: np.random.Generator) -> Array:
        return np.asarray(change(Image.fromarray(array), severity).convert("RGB"))

    return corrupt


def _darker(picture: Image.Image, severity: int) -> Image.Image:
    return ImageEnhance.Brightness(picture).enhance((0.8, 0.65, 0.5, 0.35, 0.2)[severity - 1])


def _brighter(picture: Image.Image, severity: int) -> Image.Image:
    return ImageEnhance.Brightness(picture).enhance((1.2, 1.4, 1.7, 2.0, 2.5)[severity - 1])


def _less_contrast(picture: Image.Image, severity: int) -> Image.Image:
    return ImageEnhance.Contrast(picture).enhance((0.8, 0.6, 0.45, 0.3, 0.15)[severity - 1])


def _less_colour(picture: Image.Image, severity: int) -> Image.Image:
    return ImageEnhance.Color(picture).enhance((0.8, 0.6, 0.4, 0.2, 0.0)[severity - 1])


def _blur(picture: Image.Image, severity: int) -> Image.Image:
    # In pixels of a picture 224 wide, as the paper's; smaller pictures are blurred less.
    radius = (0.7, 1.2, 2.0, 3.0, 4.5)[severity - 1] * picture.width / 224
    return picture.filter(ImageFilter.GaussianBlur(radius))


def _coarser(picture: Image.Image, severity: int) -> Image.Image:
    share = (0.7, 0.5, 0.35, 0.25, 0.18)[severity - 1]
    small = picture.resize((max(1, round(picture.width * share)), max(1, round(picture.height * share))))
    return small.resize(picture.size, Image.Resampling.BILINEAR)


def _jpeg(picture: Image.Image, severity: int) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=(50, 30, 18, 12, 7)[severity - 1])
    return Image.open(buffer)


def _turned(picture: Image.Image, severity: int) -> Image.Image:
    return picture.rotate((5, 10, 18, 30, 45)[severity - 1], Image.Resampling.BILINEAR, fillcolor=(127, 127, 127))


def _noise(array: Array, severity: int, rng: np.random.Generator) -> Array:
    sigma = (6, 12, 20, 32, 50)[severity - 1]
    return np.asarray(np.clip(array + rng.normal(0, sigma, array.shape), 0, 255).astype(np.uint8))


PICTURES: Mapping[str, Corrupt] = {
    "darker": _picture(_darker),
    "brighter": _picture(_brighter),
    "less contrast": _picture(_less_contrast),
    "less colour": _picture(_less_colour),
    "blur": _picture(_blur),
    "coarser": _picture(_coarser),
    "JPEG": _picture(_jpeg),
    "turned": _picture(_turned),
    "noise": _noise,
}


def _numbers(scale: Array) -> Mapping[str, Corrupt]:
    """Corruptions of a tensor of numbers whose columns deviate by ``scale``."""

    def noise(array: Array, severity: int, rng: np.random.Generator) -> Array:
        sigma = scale * (0.05, 0.1, 0.2, 0.4, 0.8)[severity - 1]
        return _as_before(array, array + rng.normal(0, 1, array.shape) * sigma)

    def larger(array: Array, severity: int, _: np.random.Generator) -> Array:
        return _as_before(array, array * (1.05, 1.1, 1.2, 1.5, 2.0)[severity - 1])

    def missing(array: Array, severity: int, rng: np.random.Generator) -> Array:
        gone = rng.random(array.shape) < (0.02, 0.05, 0.1, 0.2, 0.4)[severity - 1]
        return _as_before(array, np.where(gone, 0, array))

    return {"noise": noise, "larger": larger, "missing": missing}


def _as_before(array: Array, changed: Array) -> Array:
    if array.dtype.kind in "iu":
        limits = np.iinfo(array.dtype)
        changed = np.clip(np.rint(changed), limits.min, limits.max)
    return changed.astype(array.dtype)


def corruptions_of(
    specs: Sequence[TensorSpec], examples: Sequence[Mapping[str, Array]]
) -> dict[str, dict[str, Corrupt]]:
    """The corruptions that suit a model: by name, the function for each input that it changes.

    Args:
        specs: the model's inputs; pictures and numbers are changed; indexes and flags are not.
        examples: some inputs, for the scale of noise.
    """
    found: dict[str, dict[str, Corrupt]] = {}
    for spec in specs:
        if spec.content == "image":
            kinds = PICTURES
        elif spec.numpy_dtype.kind in "iuf" and not spec.indexes and not spec.owner_of:
            rows = [np.atleast_2d(example[spec.name].reshape(-1, example[spec.name].shape[-1])) for example in examples]
            kinds = _numbers(np.concatenate(rows).std(axis=0))
        else:
            continue
        for name, corrupt in kinds.items():
            found.setdefault(name, {})[spec.name] = corrupt
    return found


def within_limits(spec: TensorSpec, array: Array) -> Array:
    """A corrupted tensor moved back into what the model takes, as a client's own clamp would."""
    if spec.minimum is None and spec.maximum is None:
        return array
    return np.clip(array, spec.minimum, spec.maximum).astype(array.dtype)
