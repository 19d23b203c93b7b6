"""The SLO of a load test, such as ``p99=50ms,errors=0.1%,rps=200``, and whether the test met it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rich.table import Table

from lading.errors import SettingsError

_UNITS_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
_TERM = re.compile(r"(?P<what>[a-z]+[0-9.]*)=(?P<number>[0-9]+(\.[0-9]+)?)(?P<unit>[a-z%]*)")
_PERCENTILE = re.compile(r"p(?P<percent>[1-9][0-9]?(\.[0-9]+)?)")
EXAMPLE = "p99=50ms,errors=0.1%,rps=200"


class Measured(Protocol):
    """The figures of a load test."""

    @property
    def requests(self) -> int: ...
    @property
    def failures(self) -> int: ...
    @property
    def rate(self) -> float:
        """Requests per second, failed ones included."""

    @property
    def mean_ms(self) -> float: ...
    @property
    def max_ms(self) -> float: ...
    def percentile_ms(self, share: float) -> float:
        """The latency below which this share of the requests was answered, 0 to 1."""


@dataclass(frozen=True)
class Objective:
    """One bound. Latencies are in milliseconds, errors a share from 0 to 1, rates in requests per second."""

    name: str
    bound: float

    @property
    def unit(self) -> str:
        return {"errors": "%", "rps": "/s"}.get(self.name, "ms")

    def measure(self, measured: Measured) -> float:
        """The figure that the bound is for."""
        if self.name == "errors":
            return measured.failures / measured.requests if measured.requests else 1.0
        if self.name in ("rps", "mean", "max"):
            return {"rps": measured.rate, "mean": measured.mean_ms, "max": measured.max_ms}[self.name]
        return measured.percentile_ms(float(self.name[1:]) / 100)

    def met(self, value: float) -> bool:
        return value >= self.bound if self.name == "rps" else value <= self.bound

    def show(self, value: float) -> str:
        return f"{value:.3%}" if self.name == "errors" else f"{value:.4g} {self.unit}".replace(" /s", "/s")


@dataclass(frozen=True)
class SloResult:
    """Every objective with its figure."""

    rows: tuple[tuple[Objective, float], ...]
    requests: int

    @property
    def passed(self) -> bool:
        """Whether all were met. Without requests none is."""
        return self.requests > 0 and all(objective.met(value) for objective, value in self.rows)

    def table(self) -> Table:
        """Objective, bound, figure and result."""
        table = Table(title=f"SLO over {self.requests} requests: {'met' if self.passed else 'MISSED'}")
        table.add_column("objective")
        for column in ("wanted", "measured"):
            table.add_column(column, justify="right")
        table.add_column("result")
        for objective, value in self.rows:
            sign = "at least" if objective.name == "rps" else "at most"
            result = "[green]met[/]" if objective.met(value) else "[bold red]MISSED[/]"
            table.add_row(objective.name, f"{sign} {objective.show(objective.bound)}", objective.show(value), result)
        return table


def read_objectives(text: str) -> tuple[Objective, ...]:
    """Parse ``p99=50ms,errors=0.1%,rps=200``.

    Terms: ``pN`` (any percentile), ``mean`` and ``max`` in ``us``, ``ms`` or ``s``; ``errors`` in ``%``; ``rps``. Only
    ``rps`` is a lower bound.

    Raises:
        SettingsError: a term is unknown; the message names it.
    """
    objectives: dict[str, Objective] = {}
    for term in text.split(","):
        objective = _read_term(term.strip())
        if objective.name in objectives:
            raise SettingsError(f"--slo names {objective.name} twice: {text!r}")
        objectives[objective.name] = objective
    return tuple(objectives.values())


def evaluate(objectives: Sequence[Objective], measured: Measured) -> SloResult:
    """Measure every objective."""
    return SloResult(tuple((one, one.measure(measured)) for one in objectives), measured.requests)


def _read_term(term: str) -> Objective:
    parts = _TERM.fullmatch(term)
    if parts is None:
        raise SettingsError(f"--slo cannot read {term!r}; an example: {EXAMPLE}")
    what, number, unit = parts["what"], float(parts["number"]), parts["unit"]
    if what == "errors" and unit == "%" and number <= 100:
        return Objective(what, number / 100)
    if what == "rps" and unit == "":
        return Objective(what, number)
    if (_PERCENTILE.fullmatch(what) or what in ("mean", "max")) and unit in _UNITS_MS:
        return Objective(what, number * _UNITS_MS[unit])
    raise SettingsError(
        f"--slo cannot read {term!r}: latencies are p50, p99, p99.9, mean or max in us, ms or s, errors are in % "
        f"and rps has no unit; an example: {EXAMPLE}"
    )
