"""The status page: the last minutes, bounded, drawn without a script, and open to whom the metrics are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import sync_playwright

from lading.artifact import Artifact
from lading.serve.pages.history import LENGTH, History, Sample, between, quantile, take_sample
from lading.serve.pages.status import HEIGHT, POLICY, TEMPLATE, WIDTH, chart, drift_ratios, nice_top, path
from lading.serve.telemetry.metrics import Metrics
from lading.serve.telemetry.request_series import SECONDS
from tests.given.browser import CHROMIUM, FLAGS
from tests.given.live_server import LiveServer, live_server, wait_until

BODY = {"features": [[1, 2, 3, 4]]}


def a_sample(at: float, **changes: Any) -> Sample:
    zero: dict[str, Any] = dict.fromkeys(("answered", "failed", "shed", "queue", "batch_sum", "batch_count"), 0.0)
    return Sample(at=at, **(zero | {"durations": ()} | changes))


def test_a_sample_adds_up_what_all_models_counted() -> None:
    metrics = Metrics()
    metrics.answered("http", 200, 0.003, model="a", variant="fp32")
    metrics.answered("grpc", 500, 0.02, model="b", variant="int8")
    metrics.shed("queue")
    sample = take_sample(metrics)
    assert (sample.answered, sample.failed, sample.shed) == (2, 1, 1)
    assert sample.durations[-1] == 2
    assert len(sample.durations) == len(SECONDS) + 1


def test_an_interval_is_what_happened_between_two_samples() -> None:
    before = a_sample(10.0)
    counts = tuple(float(50 * (bound >= 0.002) + 50 * (bound >= 0.25)) for bound in (*SECONDS, float("inf")))
    after = a_sample(20.0, answered=100.0, failed=10.0, shed=5.0, queue=3.0, batch_sum=300.0, batch_count=100.0)
    interval = between(
        before, Sample(**{**{n: getattr(after, n) for n in Sample.__slots__}, "durations": counts}), SECONDS
    )
    assert (interval.rate, interval.failed, interval.shed, interval.queue, interval.batch) == (10, 1, 0.5, 3, 3)
    assert interval.p50 == pytest.approx(0.002)
    assert interval.p99 == pytest.approx(0.1 + 0.15 * 0.98)


def test_where_nothing_happened_there_is_no_latency_and_no_batch() -> None:
    interval = between(a_sample(0.0), a_sample(2.0), SECONDS)
    assert (interval.rate, interval.batch, interval.p50, interval.p99) == (0, None, None, None)


def test_the_history_is_bounded() -> None:
    history = History(Metrics())
    for _ in range(3 * LENGTH):
        history.sample()
    assert len(history.intervals()) == LENGTH - 1


@given(st.lists(st.floats(1e-4, 10.0), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_a_quantile_lies_in_the_bucket_of_the_value_it_stands_for(values: list[float], share: float) -> None:
    counts = [float(sum(value <= bound for value in values)) for bound in (*SECONDS, float("inf"))]
    found = quantile(share, SECONDS, counts)
    assert found is not None
    rank = share * len(values)
    index = next(n for n, count in enumerate(counts) if count >= rank)
    low = SECONDS[index - 1] if index else 0.0
    assert low <= found <= SECONDS[min(index, len(SECONDS) - 1)]


@given(st.lists(st.none() | st.floats(0, 1e6), max_size=LENGTH - 1))
def test_a_line_stays_inside_its_chart(values: list[float | None]) -> None:
    top = nice_top(max((value for value in values if value is not None), default=0.0))
    numbers = [float(number) for number in re.findall(r"[\d.]+", path(values, top))]
    assert all(-0.1 <= x <= WIDTH + 0.1 for x in numbers[::2])
    assert all(0 <= y <= HEIGHT for y in numbers[1::2])
    assert len(numbers) == 2 * sum(value is not None for value in values)


def test_a_missing_value_is_a_gap_and_not_a_zero() -> None:
    drawn = path([1.0, None, 1.0], 1.0)
    assert drawn.count("M") == 2
    assert "L" not in drawn


def test_a_chart_says_in_words_what_it_shows() -> None:
    assert 'aria-label="Latency: p50 1.5 · p99 - ms, at most 2 shown"' in chart(
        "Latency", "ms", ("p50", [1.0, 1.5]), ("p99", [None])
    )


def test_the_page_asks_nobody_and_runs_nothing() -> None:
    assert "<script" not in TEMPLATE
    assert "http://" not in TEMPLATE
    assert "https://" not in TEMPLATE
    assert "script-src ;" in POLICY
    assert "unsafe" not in POLICY


def test_it_is_open_to_whom_the_metrics_are(small: dict[str, Artifact], tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("alpha\n")
    with live_server(small["table"], api_keys=tmp_path / "keys") as live:
        assert live.client.get("/status").status_code == live.client.get("/metrics").status_code == 200
        assert live.client.get("/model").status_code == 401


def test_names_are_shown_as_text(small: dict[str, Artifact]) -> None:
    with live_server(small["table"]) as live:
        drifted(live, "<script>alert(1)</script>", 0.5)
        page = live.client.get("/status").text
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def drifted(live: LiveServer, feature: str, score: float) -> None:
    """Set a score as drift detection does, beside a threshold of 0.2."""
    recorded = dict(live.app.metrics.registry._names_to_collectors)
    for name, value in (("lading_drift_score", score), ("lading_drift_threshold", 0.2)):
        gauge = recorded.get(name) or _gauge(live.app.metrics, name)
        gauge.labels("small-table", feature, "psi").set(value)  # type: ignore[attr-defined]


def _gauge(metrics: Metrics, name: str) -> object:
    from prometheus_client import Gauge

    return Gauge(name, "Drift.", ("model", "feature", "test"), registry=metrics.registry)


def test_the_feature_that_drifted_most_comes_first(small: dict[str, Artifact]) -> None:
    with live_server(small["table"]) as live:
        drifted(live, "calm", 0.1)
        drifted(live, "wild", 0.6)
        names, ratios = zip(*drift_ratios(live.app.metrics), strict=True)
        assert names == ("small-table wild psi", "small-table calm psi")
        assert ratios == pytest.approx((3, 0.5))
        assert "1 drifted" in live.client.get("/status").text


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    assert Path(CHROMIUM).exists(), f"there is no {CHROMIUM}: apt-get install chromium"
    with sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_draws_it_and_loads_it_again_by_itself(
    browser: Any, small: dict[str, Artifact], tmp_path: Path, scheme: str
) -> None:
    with live_server(small["table"]) as live:
        drifted(live, "features", 0.5)
        for _ in range(20):
            live.client.post("/predict", json=BODY)
        wait_until(lambda: any(interval.p50 for interval in live.app.history.intervals()))
        context = browser.new_context(color_scheme=scheme, viewport={"width": 390, "height": 800})
        page = context.new_page()
        said: list[str] = []
        asked: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{live.url}/status")
        assert page.inner_text("h1") == "Status: ready"
        assert page.locator("svg[role=img]").count() == 6
        heights = page.eval_on_selector_all("figure", "all => all.map(one => one.getBoundingClientRect().height)")
        assert min(heights) > 60
        colour = page.eval_on_selector(".line", "line => getComputedStyle(line).stroke")
        assert colour not in ("none", "rgb(0, 0, 0)")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.wait_for_event("framenavigated", timeout=20_000)
        assert {url.rsplit("/", 1)[0] for url in asked} == {live.url}
        assert not said
        page.screenshot(path=str(tmp_path / "status.png"))
        context.close()
