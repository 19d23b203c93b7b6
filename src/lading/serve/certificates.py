"""The certificate that the TLS ports show, replaced while they run."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import Gauge

from lading.errors import SettingsError
from lading.files import read_bounded

LARGEST = 1_000_000
"""Maximum bytes of a PEM file."""


class Certificates:
    """A certificate and its private key, as they were when both last belonged together.

    Args:
        certificate: PEM, the server's own certificate first.
        key: PEM, its private key without a password, unless ``password`` is given.
        expiry: a gauge that shows when the certificate expires.
        password: of the private key.
        clients: PEM file with the certificates that clients' own must be signed by.

    Raises:
        SettingsError: a file cannot be read, or the two do not belong together.
    """

    def __init__(
        self,
        certificate: Path,
        key: Path,
        expiry: Gauge | None = None,
        *,
        password: str | None = None,
        clients: str | None = None,
    ) -> None:
        self._certificate, self._key, self._expiry = certificate, key, expiry
        self._password, self._clients = password, clients
        self.pair = (b"", b"")
        """The certificate chain and its private key, PEM."""
        self._context: ssl.SSLContext
        self.read()
        if not self.pair[0]:
            raise SettingsError(f"LADING_TLS_CERTIFICATE={certificate} and LADING_TLS_KEY={key} change: start again")

    def show_on(self, context: ssl.SSLContext) -> None:
        """Let a port's context show the newest certificate in each handshake from now on."""

        def newest(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
            connection.context = self._context

        # Loading into the port's own context could leave it with a certificate and another certificate's key.
        context.sni_callback = newest

    def read(self) -> str:
        """Read both files again, and use them if they belong together.

        Returns:
            An empty text.

        Raises:
            SettingsError: they cannot be used. What was read before stays in use.
        """
        pair = self._bytes()
        if pair == self.pair:
            return ""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            # A password is never asked for on the terminal.
            context.load_cert_chain(self._certificate, self._key, self._password or "")
            if self._clients is not None:
                context.load_verify_locations(self._clients)
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"LADING_TLS_CERTIFICATE={self._certificate} and LADING_TLS_KEY={self._key} are no pair that can be "
                f"used: {getattr(error, 'reason', None) or error}"
            ) from None
        expires = certificate_expiry(self._certificate, pair[0])
        if self._bytes() != pair:
            return ""  # ssl takes paths only, so it may have read newer files than we did; the next look will tell
        self._context, self.pair = context, pair
        if self._expiry is not None:
            self._expiry.labels(self._certificate.name).set(expires)
        return ""

    def _bytes(self) -> tuple[bytes, bytes]:
        try:
            return read_bounded(self._certificate, LARGEST), read_bounded(self._key, LARGEST)
        except OSError as error:
            raise SettingsError(f"{error.filename} cannot be read: {error.strerror}") from None


_VERSION, _UTC_TIME, _GENERALIZED_TIME = 0xA0, 0x17, 0x18
_END = "-----END CERTIFICATE-----"


def certificate_expiry(file: Path, content: bytes) -> float:
    """The end of the first certificate's validity, in seconds since 1970.

    Python's ``ssl`` does not say it of a certificate of one's own, so the few fields before it are walked over, as
    RFC 5280, section 4.1, orders them: version, serial number, signature, issuer, validity.

    Args:
        file: named in the error.
        content: PEM, the server's own certificate first.

    Raises:
        SettingsError: there is no certificate in it.
    """
    try:
        first = content.decode("ascii").partition(_END)[0]
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
