"""Files of the repository that are not of the package. A wheel holds those that its commands need."""

from __future__ import annotations

from pathlib import Path

from lading.errors import SettingsError

PACKAGE = Path(__file__).parents[1]
SHIPPED = "shipped"
"""Folder of an installed package for these files, at their paths in the repository."""


def shipped(path: str) -> Path:
    """A file or folder such as ``helm/lading``, in the wheel or in the checkout.

    Raises:
        SettingsError: the installation is incomplete.
    """
    installed = PACKAGE / SHIPPED / path
    found = installed if installed.exists() else PACKAGE.parents[1] / path
    if not found.exists():
        raise SettingsError(f"{path} is missing at {found}: install lading again, or run in a complete checkout")
    return found
