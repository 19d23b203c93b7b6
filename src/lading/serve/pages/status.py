"""``GET /status``: the last minutes as one page of SVG, without scripts and without the network."""

from __future__ import annotations

import html
from collections.abc import Sequence
from importlib.resources import files
from string import Template

from lading.serve.engine.repository import Repository
from lading.serve.health import Health
from lading.serve.pages.history import INTERVAL_S, LENGTH, Interval
from lading.serve.pages.page import content_security_policy
from lading.serve.telemetry.metrics import Metrics

TEMPLATE = files("lading.serve.pages").joinpath("status.html").read_text(encoding="utf-8")
POLICY = content_security_policy(TEMPLATE)
WIDTH, HEIGHT = 360, 96
MOST_FEATURES = 12
Values = Sequence[float | None]


def status_page(repository: Repository, health: Health, metrics: Metrics, intervals: Sequence[Interval]) -> bytes:
    """The page, for all workers together.

    Args:
        repository: the served models.
        health: whether the server is ready.
        metrics: for drift scores.
        intervals: of the history, oldest first.

    Returns:
        HTML in UTF-8. The browser reloads it every few seconds.
    """
    p50, p99 = ([None if s is None else s * 1e3 for s in line] for line in _quantiles(intervals))
    charts = [
        chart(
            "Requests per second", "", ("answered", [i.rate for i in intervals]), ("5xx", [i.failed for i in intervals])
        ),
        chart("Latency", "ms", ("p50", p50), ("p99", p99)),
        chart("Waiting for a lane", "", ("queue", [i.queue for i in intervals])),
        chart("Refused per second", "", ("shed", [i.shed for i in intervals])),
        chart("Examples per run", "", ("batch", [i.batch for i in intervals])),
        drift_chart(drift_ratios(metrics)),
    ]
    ready = health.ready
    return (
        Template(TEMPLATE)
        .substitute(
            state="ready" if ready else "not ready",
            mark="well" if ready else "ill",
            why=html.escape(health.not_ready_because),
            models="".join(_model_rows(repository)),
            charts="".join(charts),
            minutes=round((LENGTH - 1) * INTERVAL_S / 60),
        )
        .encode()
    )


def chart(title: str, unit: str, *lines: tuple[str, Values]) -> str:
    """A heading with the newest values, and an SVG with one path per line. A missing value is a gap."""
    largest = max((value for _, values in lines for value in values if value is not None), default=0.0)
    top = nice_top(largest) if largest > 0 else 1.0
    newest = [f"{name} {shown(values[-1] if values else None)}" for name, values in lines]
    named = " ".join(f'<b class="l{n}">{text}</b>' for n, text in enumerate(newest))
    label = f"{title}: {' · '.join(newest)} {unit}, at most {shown(top)} shown".replace("  ", " ")
    paths = "".join(f'<path class="line l{n}" d="{path(values, top)}"/>' for n, (_, values) in enumerate(lines))
    return (
        f"<figure><figcaption><span>{title}</span> {named} {unit}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(label)}">'
        f'<path class="grid" d="M0 .5H{WIDTH}M0 {HEIGHT // 2}H{WIDTH}M0 {HEIGHT - 0.5}H{WIDTH}"/>{paths}'
        f'<text x="2" y="11">{shown(top)}</text></svg></figure>'
    )


def path(values: Values, top: float) -> str:
    """The commands of an SVG path, newest value at the right edge."""
    step = WIDTH / (LENGTH - 2)
    at = WIDTH - step * (len(values) - 1)
    commands, pen = [], "M"
    for value in values:
        if value is None:
            pen = "M"
        else:
            commands.append(f"{pen}{at:.1f} {HEIGHT - 1 - (HEIGHT - 4) * value / top:.1f}")
            pen = "L"
        at += step
    return "".join(commands)


def drift_ratios(metrics: Metrics) -> list[tuple[str, float]]:
    """Score over threshold by model, feature and test, largest first."""
    found: dict[str, dict[tuple[str, ...], float]] = {"lading_drift_score": {}, "lading_drift_threshold": {}}
    for family in metrics.together().collect():
        for sample in family.samples if family.name in found else ():
            key = tuple(sample.labels.get(name, "") for name in ("model", "feature", "test"))
            found[family.name][key] = sample.value
    scores, thresholds = found.values()
    ratios = {" ".join(key): score / thresholds[key] for key, score in scores.items() if thresholds.get(key)}
    return sorted(ratios.items(), key=lambda item: -item[1])


def drift_chart(ratios: Sequence[tuple[str, float]]) -> str:
    """A bar per feature. The line is the threshold."""
    if not ratios:
        return '<figure><figcaption><span>Drift</span></figcaption><p class="none">not computed here</p></figure>'
    kept = ratios[:MOST_FEATURES]
    top, height = max(2.0, kept[0][1]), HEIGHT / max(4, len(kept))
    bars = "".join(
        f'<rect class="{"over" if ratio > 1 else "under"}" x="0" y="{n * height + 1:.1f}" height="{height - 2:.1f}" '
        f'width="{WIDTH * max(0.0, ratio) / top:.1f}"><title>{html.escape(name)}: {ratio:.2f}</title></rect>'
        for n, (name, ratio) in enumerate(kept)
    )
    over = sum(ratio > 1 for _, ratio in ratios)
    named = "; ".join(f"{html.escape(name)} {ratio:.2f}" for name, ratio in kept[: max(1, min(over, 3))])
    return (
        f"<figure><figcaption><span>Drift, score over threshold</span> <b>{over} drifted</b></figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Drift: {named}">{bars}'
        f'<path class="threshold" d="M{WIDTH / top:.1f} 0V{HEIGHT}"/></svg>'
        f'<p class="none">largest: {named}</p></figure>'
    )


def nice_top(largest: float) -> float:
    """The smallest of 0.01, 0.02, 0.05, 0.1, ... that is not below the largest value."""
    scale = 0.01
    while True:
        for step in (1, 2, 5):
            if step * scale >= largest:
                return step * scale
        scale *= 10


def shown(value: float | None) -> str:
    """Three significant digits, or a dash."""
    return "-" if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _quantiles(intervals: Sequence[Interval]) -> tuple[Values, Values]:
    return [i.p50 for i in intervals], [i.p99 for i in intervals]


def _model_rows(repository: Repository) -> Sequence[str]:
    rows = []
    for model in repository.all():
        cells = (model.name, model.version, model.variant, model.packed.precision, model.artifact.digest[:19])
        state = "ready" if model.ready else model.not_ready_because
        rows.append("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in (*cells, state)) + "</tr>")
    return rows
