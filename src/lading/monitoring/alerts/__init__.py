"""The alerts that are no SLO's: what will break a promise soon, or is broken where no request shows it."""

from __future__ import annotations

from lading.monitoring.alerts import capacity, credentials, data, errors, pods
from lading.monitoring.rule import Group

ALERT_GROUPS = (
    Group("lading-errors", errors.ALERTS),
    Group("lading-capacity", capacity.ALERTS),
    Group("lading-pods", pods.ALERTS),
    Group("lading-data", data.ALERTS),
    Group("lading-credentials", credentials.ALERTS),
)
