"""What ends on a date: nobody looks, until nobody gets in."""

from __future__ import annotations

from lading.monitoring.rule import EVERYWHERE, Alert

_CERTIFICATE = (
    f"min by (namespace, job, file) (\n  lading_tls_certificate_expiry_timestamp_seconds{{{EVERYWHERE}}} - time()\n)"
)
_ENDS = "The certificate {{ $labels.file }} of {{ $labels.job }} expires in {{ $value | humanizeDuration }}"

ALERTS = (
    Alert(
        name="LadingCertificateExpiring",
        expr=f"{_CERTIFICATE} < 2 * 86400",
        severity="critical",
        summary=f"{_ENDS} (less than 2 days): clients will refuse to connect.",
    ),
    Alert(
        name="LadingCertificateExpiring",
        expr=f"{_CERTIFICATE} < 14 * 86400 >= 2 * 86400",
        severity="warning",
        wait="1h",
        summary=f"{_ENDS} (less than 14 days).",
    ),
    Alert(
        name="LadingKeyExpiring",
        # Until a week after its end: then the clients that used it have noticed, and the line is only left over.
        expr=(
            "min by (namespace, job, key) (\n"
            f"  lading_api_key_expiry_timestamp_seconds{{{EVERYWHERE}}} - time()\n) < 14 * 86400 > -7 * 86400"
        ),
        severity="warning",
        wait="1h",
        summary="The API key whose SHA-256 begins with {{ $labels.key }} is refused by {{ $labels.job }} in "
        "{{ $value | humanizeDuration }} (less than 14 days).",
    ),
)
