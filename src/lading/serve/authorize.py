"""Bearer keys: several at once, from a file that may change while the server runs."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import time
from pathlib import Path

from lading.errors import SettingsError, UnauthorizedError

OPEN_PATHS = frozenset({"/livez", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"})
_LOOK_AGAIN_S = 1.0


class Keys:
    """The keys that may be used now.

    Args:
        file: one key a line; empty lines and lines that start with ``#`` are skipped.

    Raises:
        SettingsError: the file cannot be read, or holds no key.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stamp = (0, 0)
        self._digests: tuple[bytes, ...] = ()
        self._looked = 0.0
        self._read()
        if not self._digests:
            raise SettingsError(f"LADING_API_KEYS: {file} holds no key")

    def check(self, authorization: bytes | str | None) -> None:
        """Accept the value of an ``authorization`` header.

        Raises:
            UnauthorizedError: it is missing, not of the form ``Bearer KEY``, or the key is not known.
        """
        now = time.monotonic()
        if now - self._looked > _LOOK_AGAIN_S:
            self._looked = now
            self._read_if_changed()
        sent = authorization.encode("latin-1") if isinstance(authorization, str) else authorization or b""
        scheme, _, key = sent.partition(b" ")
        if scheme.lower() != b"bearer" or not key.strip():
            raise UnauthorizedError("this server asks for a key: send the header authorization: Bearer KEY")
        digest = hashlib.sha256(key.strip()).digest()
        # Every key is compared, each in constant time, so that the answer's delay tells nothing of them.
        if not sum([hmac.compare_digest(digest, known) for known in self._digests]):
            raise UnauthorizedError("the key that was sent is not one of this server's")

    def _read_if_changed(self) -> None:
        # In the middle of a rotation the file may be missing; the keys known so far still hold.
        with contextlib.suppress(SettingsError):
            self._read()

    def _read(self) -> None:
        try:
            status = self._file.stat()
            stamp = (status.st_mtime_ns, status.st_ino)
            if stamp == self._stamp:
                return
            lines = self._file.read_bytes().splitlines()
        except OSError as error:
            raise SettingsError(f"LADING_API_KEYS: {self._file} cannot be read: {error.strerror}") from None
        keys = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith(b"#")]
        if keys:
            self._stamp = stamp
            self._digests = tuple(hashlib.sha256(key).digest() for key in keys)
