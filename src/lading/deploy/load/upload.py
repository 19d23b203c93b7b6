"""Copy the reports of a load test to a bucket, because the pod that wrote them is removed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from lading.errors import SettingsError
from lading.files import first_line, open_bucket, shown

if TYPE_CHECKING:
    from obstore.store import ObjectStore

REPORTS = ("*.csv", "*.html")


def open_reports(url: str) -> ObjectStore:
    """Open the place for the reports. It is called before the load, so that a bad address costs no load test.

    Raises:
        SettingsError: obstore is not installed, or it is no address of a bucket.
    """
    try:
        return open_bucket(url, request=timedelta(minutes=1), retries=timedelta(minutes=1))
    except ImportError:
        raise SettingsError("--upload needs obstore: pip install 'lading[serve,load,payload]'") from None
    except ValueError as error:
        raise SettingsError(f"--upload: {error}") from None


def upload(folder: Path, store: ObjectStore, url: str) -> str:
    """Put every CSV and HTML file of the folder into the bucket.

    Returns:
        A sentence for the user.

    Raises:
        SettingsError: the bucket refuses; the reports are still in the folder.
    """
    import obstore
    from obstore.exceptions import BaseError

    files = sorted(file for pattern in REPORTS for file in folder.glob(pattern))
    try:
        for file in files:
            obstore.put(store, file.name, file.read_bytes())
    except (BaseError, OSError) as error:
        raise SettingsError(f"--upload {shown(url)}: {first_line(error)}; the reports are in {folder}") from None
    return f"{shown(url)}: {', '.join(file.name for file in files)}"
