"""Packages that only those need who keep a payload log."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from lading.errors import SettingsError


def require_pyarrow(what: str) -> Any:
    """Import pyarrow with its Parquet reader.

    Raises:
        SettingsError: it is not installed; says what to install.
    """
    return require("pyarrow", what, also=("pyarrow.parquet",))


def require(package: str, what: str, *, also: tuple[str, ...] = ()) -> Any:
    """Import a package of the ``payload`` extra.

    Raises:
        SettingsError: it is not installed; says what to install.
    """
    try:
        for name in also:
            import_module(name)
        return import_module(package)
    except ImportError:
        raise SettingsError(f"{what} needs {package}: pip install 'lading[payload]'") from None
