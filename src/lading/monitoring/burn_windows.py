"""How fast an error budget may burn before somebody is told.

The numbers are those of "The Site Reliability Workbook", chapter 5, "Alerting on SLOs", recommended parameters for a
window of 30 days: two pages for what burns 2 % of the budget in an hour or 5 % in six, two tickets for 10 % in one day
or in three. The short window, a twelfth of the long one, lets an alert end soon after its cause has.
"""

from __future__ import annotations

from dataclasses import dataclass

from lading.monitoring.rule import Severity


@dataclass(frozen=True)
class BurnWindow:
    """One pair of windows."""

    severity: Severity
    budget: float
    """Share of the budget that is spent when the alert fires."""
    long: str
    short: str
    factor: float
    """How many times faster than allowed the budget burns."""
    wait: str


BURN_WINDOWS = (
    BurnWindow("critical", 0.02, "1h", "5m", 14.4, "2m"),
    BurnWindow("critical", 0.05, "6h", "30m", 6, "15m"),
    BurnWindow("warning", 0.10, "1d", "2h", 3, "1h"),
    BurnWindow("warning", 0.10, "3d", "6h", 1, "3h"),
)
RECORDED = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
"""Every window above, ascending."""
