"""An artifact as objects under one prefix: Google Cloud Storage, S3, Azure, or a web server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url

from lading.errors import FetchError
from lading.fetch import shown


class Bucket:
    """Objects under a prefix.

    Who asks is found as the cloud's own clients find it: from the environment, or from the workload's identity.

    Args:
        uri: ``gs://bucket/cards``, ``s3://bucket/cards``, ``az://container/cards`` or ``https://host/cards``.

    Raises:
        FetchError: the URI is not whole, or carries a query.
    """

    def __init__(self, uri: str) -> None:
        parts = urlsplit(uri)
        if not parts.hostname:
            raise FetchError(f"{uri} names no bucket or host")
        if parts.query or parts.username:
            raise FetchError(f"{shown(uri)}: a key does not belong into the address; give it in the environment")
        self._shown = shown(uri).rstrip("/")
        # http is no worse here: what comes is compared with a digest that did not travel with it.
        client = {"allow_http": parts.scheme == "http", "timeout": timedelta(minutes=10)}
        retry = {"max_retries": 5, "retry_timeout": timedelta(minutes=2)}
        try:
            self._store = from_url(uri.rstrip("/"), client_options=client, retry_config=retry)  # type: ignore[call-overload]
        except BaseError as error:
            raise FetchError(f"{self._shown} cannot be opened: {_first_line(error)}") from None

    def read(self, name: str) -> Iterator[bytes]:
        """The object's content as it arrives."""
        try:
            for chunk in obstore.get(self._store, name).stream(min_chunk_size=1 << 20):
                yield bytes(chunk)
        except FileNotFoundError:
            raise FetchError(f"{self._shown}/{name} is not there") from None
        except (BaseError, OSError) as error:
            raise FetchError(f"{self._shown}/{name} cannot be read: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
