"""Who may ask: API keys, and when they and the certificate end."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import math
import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import Gauge

from lading.errors import SettingsError, UnauthorizedError
from lading.key_file import read_keys

OPEN_PATHS = frozenset({"/livez", "/readyz", "/metrics", "/status", "/v2/health/live", "/v2/health/ready"})
_LOOK_AGAIN_S = 1.0


@dataclass(frozen=True)
class KnownKey:
    """What the server keeps of a key: its SHA-256, and when it expires, in seconds since 1970."""

    digest: bytes
    expires: float


class Keys:
    """The keys that may be used now.

    Args:
        file: of keys, as :func:`lading.key_file.read_keys` reads it.
        expiry: a gauge that shows when each key with an end expires.

    Raises:
        SettingsError: the file cannot be used.
    """

    def __init__(self, file: Path, expiry: Gauge | None = None) -> None:
        self._file = file
        self._expiry = expiry
        self._stamp = (0, 0)
        self._keys: tuple[KnownKey, ...] = ()
        self._shown: set[str] = set()
        self._looked = 0.0
        self._read()

    def check(self, authorization: bytes | str | None) -> None:
        """Accept the value of an ``authorization`` header.

        Raises:
            UnauthorizedError: it is missing, not of the form ``Bearer KEY``, or the key is not known or has expired.
        """
        self.look_again()
        sent = authorization.encode("latin-1") if isinstance(authorization, str) else authorization or b""
        scheme, _, key = sent.partition(b" ")
        if scheme.lower() != b"bearer" or not key.strip():
            raise UnauthorizedError("this server asks for a key: send the header authorization: Bearer KEY")
        digest = hashlib.sha256(key.strip()).digest()
        # Every key is compared, each in constant time, so that the answer's delay tells nothing of them.
        known = [key for key in self._keys if hmac.compare_digest(digest, key.digest)]
        if not known:
            raise UnauthorizedError("the key that was sent is not one of this server's")
        if time.time() >= known[0].expires:
            raise UnauthorizedError("the key that was sent has expired: ask the operator of this server for a new one")

    def look_again(self) -> None:
        """Read the file if it has changed; at most once a second."""
        now = time.monotonic()
        if now - self._looked <= _LOOK_AGAIN_S:
            return
        self._looked = now
        # During a rotation the file may be missing or incomplete. The keys read before stay valid.
        with contextlib.suppress(SettingsError):
            self._read()

    def _read(self) -> None:
        try:
            status = self._file.stat()
        except OSError as error:
            raise SettingsError(f"the key file {self._file} cannot be read: {error.strerror}") from None
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp == self._stamp:
            return
        self._keys = tuple(KnownKey(hashlib.sha256(key.secret).digest(), key.expires) for key in read_keys(self._file))
        self._stamp = stamp
        self._show()

    def _show(self) -> None:
        if self._expiry is None:
            return
        ends = {key.digest.hex()[:8]: key.expires for key in self._keys if key.expires < math.inf}
        # A series cannot be taken back where several workers share them; one without a number raises no alert either.
        for name in self._shown - ends.keys():
            self._expiry.labels(name).set(math.nan)
        for name, end in ends.items():
            self._expiry.labels(name).set(end)
        self._shown |= ends.keys()


_VERSION, _UTC_TIME, _GENERALIZED_TIME = 0xA0, 0x17, 0x18
_END = "-----END CERTIFICATE-----"


def certificate_expiry(file: Path) -> float:
    """The end of the first certificate's validity, in seconds since 1970.

    Python's ``ssl`` does not say it of a certificate of one's own, so the few fields before it are walked over, as
    RFC 5280, section 4.1, orders them: version, serial number, signature, issuer, validity.

    Args:
        file: PEM, the server's own certificate first.

    Raises:
        SettingsError: there is no certificate in it.
    """
    try:
        first = file.read_text(encoding="ascii").partition(_END)[0]
        der = ssl.PEM_cert_to_DER_cert(first[first.index("-----BEGIN CERTIFICATE-----") :] + _END)
        _, certificate = _next(der)
        _, fields = _next(certificate)
        tag, _ = _next(fields)
        for _ in range(4 if tag == _VERSION else 3):
            fields = _after(fields)
        _, validity = _next(fields)
        tag, end = _next(_after(validity))
        form = {_UTC_TIME: "%y%m%d%H%M%SZ", _GENERALIZED_TIME: "%Y%m%d%H%M%SZ"}[tag]
        return datetime.strptime(end.decode("ascii"), form).replace(tzinfo=UTC).timestamp()
    except (OSError, ValueError, LookupError) as error:
        raise SettingsError(f"LADING_TLS_CERTIFICATE: {file} holds no certificate that can be read: {error}") from None


def _next(der: bytes) -> tuple[int, bytes]:
    """Tag and content of the first element."""
    start, length = _length(der)
    return der[0], der[start : start + length]


def _after(der: bytes) -> bytes:
    """What comes after the first element."""
    start, length = _length(der)
    return der[start + length :]


def _length(der: bytes) -> tuple[int, int]:
    """Where the first element's content starts, and its length: short form, or long form with its own size first."""
    if der[1] < 0x80:
        return 2, der[1]
    size = der[1] & 0x7F
    return 2 + size, int.from_bytes(der[2 : 2 + size], "big")
