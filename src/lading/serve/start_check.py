"""What is refused before any worker starts: artifacts, packages, files of keys and certificates."""

from __future__ import annotations

from importlib.util import find_spec

from lading.errors import SettingsError, SpecError
from lading.import_string import find_module
from lading.record.payload_store import packages_of
from lading.serve.certificates import Certificates
from lading.serve.engine.artifacts import accept, named_artifacts
from lading.serve.keys import Keys
from lading.settings import Settings, variable_of


def check_start(settings: Settings) -> None:
    """Refuse what a worker would refuse when it starts.

    Packages are looked for and not imported, because the process that calls this may serve nothing itself.

    Raises:
        SettingsError: a package or a file that a setting needs is missing, or cannot be used.
        ArtifactError, GateRefusedError: an artifact cannot be served.
    """
    accept(named_artifacts(settings), settings)
    if settings.api_keys is not None:
        Keys(settings.api_keys)
    if settings.tls_certificate is not None and settings.tls_key is not None:
        Certificates(settings.tls_certificate, settings.tls_key)
    for field, package in OTEL_PACKAGES.items():
        if getattr(settings, field) and not installed(package):
            raise otel_missing(field)
    for package, error in packages_of(settings.payload_log or ""):
        if not installed(package):
            raise error
    for target in settings.text_forms.values():
        try:
            find_module(target)
        except SpecError as error:
            raise SettingsError(f"{variable_of('text_forms')}: {error}") from None


OTEL_PACKAGES = {
    "tracing": "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "otlp_metrics": "opentelemetry.exporter.otlp.proto.http.metric_exporter",
}
"""By setting."""


def otel_missing(field: str) -> SettingsError:
    """The error of a setting that needs OpenTelemetry."""
    return SettingsError(f"{variable_of(field)} needs the extra otel: pip install 'lading[otel]'")


def installed(module: str) -> bool:
    """Whether a module could be imported; its parents are."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
