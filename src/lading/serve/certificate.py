"""When a certificate expires: the one fact of it that its owner forgets."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

from lading.errors import SettingsError

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
