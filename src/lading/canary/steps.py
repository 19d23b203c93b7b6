"""``5,25,50``: the shares that a new release gets, one after the other."""

from __future__ import annotations

from lading.errors import SettingsError


def read_steps(text: str) -> tuple[int, ...]:
    """Percentages that grow, each 1 to 99.

    Raises:
        SettingsError: they are not.
    """
    try:
        steps = tuple(int(word) for word in text.split(","))
    except ValueError:
        steps = ()
    if not steps or steps[0] < 1 or steps[-1] > 99 or list(steps) != sorted(set(steps)):
        raise SettingsError(f"--steps {text!r}: percentages from 1 to 99 that grow, for example 5,25,50")
    return steps
