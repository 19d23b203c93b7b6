"""Who may send requests: API keys."""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import Gauge

from lading.errors import ForbiddenError, SettingsError, UnauthorizedError
from lading.key_file import KeyFile, key_file_bytes, parse_keys

OPEN_PATHS = frozenset({"/livez", "/readyz", "/metrics", "/status", "/v2/health/live", "/v2/health/ready"})

"""Probes and scrapes: they need no key, and are answered on connections beyond the limit."""
PAGES = frozenset({"/", "/docs", "/docs/", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css"})
"""Paths that need no key either: pages that are the same for every server, and ask for a key themselves."""


@dataclass(frozen=True)
class KnownKey:
    """What the server keeps of a key: its SHA-256, when it expires (seconds since 1970), and what it is limited to."""

    digest: bytes
    expires: float
    may: frozenset[str] | None


class Keys:
    """The keys that may be used now.

    Args:
        file: of keys, as :func:`lading.key_file.parse_keys` parses it.
        expiry: a gauge that shows when each key with an end expires.

    Raises:
        SettingsError: the file cannot be read, or has no key. A server that starts without a key would refuse every
            request; a start that fails leaves the servers of the previous rollout in place.
    """

    def __init__(self, file: Path, expiry: Gauge | None = None) -> None:
        self._file = file
        self._expiry = expiry
        self._keys: dict[bytes, KnownKey] = {}
        self._shown: set[str] = set()
        self._fault, self._unusable = "", False
        parsed = parse_keys(key_file_bytes(file))
        if not parsed.keys:
            raise SettingsError(parsed.without_keys(file))
        self._digest = b""
        """Of the content that was read last. The content is not kept, because it holds the secrets."""
        self.read()

    def check(self, authorization: bytes | str | None, purpose: str = "infer") -> None:
        """Accept the value of an ``authorization`` header.

        Args:
            authorization: the value.
            purpose: ``infer``, ``feedback``, or ``operate`` for what only a key without ``may=`` may do.

        Raises:
            UnauthorizedError: it is missing, not of the form ``Bearer KEY``, or the key is not known or has expired.
            ForbiddenError: the key is limited to something else.
        """
        sent = authorization.encode("latin-1") if isinstance(authorization, str) else authorization or b""
        scheme, _, key = sent.partition(b" ")
        if scheme.lower() != b"bearer" or not key.strip():
            raise UnauthorizedError("this server asks for a key: send the header authorization: Bearer KEY")
        # A lookup by digest takes as long for a key that is nearly right.
        known = self._keys.get(hashlib.sha256(key.strip()).digest())
        if known is None:
            raise UnauthorizedError("the key that was sent is not one of this server's")
        if time.time() >= known.expires:
            raise UnauthorizedError("the key that was sent has expired: ask the operator of this server for a new one")
        if known.may is not None and purpose not in known.may:
            raise ForbiddenError(
                f"the key that was sent is limited to {' and '.join(sorted(known.may))}: ask the operator of this "
                "server for another key"
            )

    def read(self) -> str:
        """Read the file again and apply it. A key whose line was removed is refused from now on.

        A file that did not change costs one reading of it.

        Returns:
            What is wrong with the file; empty if nothing is.

        Raises:
            SettingsError: the file cannot be read, or no line of it can. The keys read before stay valid.
        """
        content = key_file_bytes(self._file)
        digest = hashlib.sha256(content).digest()
        if digest != self._digest:
            parsed = parse_keys(content)
            self._fault = parsed.faulty(self._file)
            self._unusable = not parsed.keys and bool(parsed.faults)
            if not self._unusable:
                self._apply(parsed)
                if not parsed.keys:
                    self._fault = f"the key file {self._file} has no key: every request is refused"
            self._digest = digest
        if self._unusable:
            raise SettingsError(self._fault)
        return self._fault

    def _apply(self, read: KeyFile) -> None:
        keys: dict[bytes, KnownKey] = {}
        for key in read.keys:
            digest = hashlib.sha256(key.secret).digest()
            keys.setdefault(digest, KnownKey(digest, key.expires, key.may))
        if keys != self._keys:
            self._keys = keys
            self._show()

    def _show(self) -> None:
        if self._expiry is None:
            return
        ends = {key.digest.hex()[:8]: key.expires for key in self._keys.values() if key.expires < math.inf}
        # A series cannot be taken back where several workers share them; one without a number raises no alert either.
        for name in self._shown - ends.keys():
            self._expiry.labels(name).set(math.nan)
        for name, end in ends.items():
            self._expiry.labels(name).set(end)
        self._shown |= ends.keys()


def purpose_of(path: str) -> str:
    """What a key must be allowed to do for an HTTP path: see :meth:`Keys.check`."""
    if path == "/feedback":
        return "feedback"
    if path == "/report" or path.startswith("/v2/repository/models/"):
        return "operate"
    return "infer"
