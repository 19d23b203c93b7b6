"""``GET /metrics`` in the formats and encodings that clients ask for, with exemplars that lead to traces."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from lading.artifact import Artifact
from lading.serve.telemetry.exemplars import Exemplars
from lading.serve.telemetry.exposition import OPENMETRICS, TEXT, chosen, exposition
from lading.serve.telemetry.metrics import DURATION, Metrics
from lading.serve.telemetry.model_metrics import ModelMetrics
from lading.serve.telemetry.request_series import SECONDS
from lading.serve.telemetry.trace_context import TraceContext
from tests.given.live_server import LiveServer, live_server, wait_until
from tests.given.served_process import ServedProcess, serving
from tests.given.traced import BODY, PARENT, SPAN, TRACE
from tools.stack import prometheus_stack

ASKS_OPENMETRICS = {"accept": "application/openmetrics-text;version=1.0.0"}
TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
GO_EXPFMT = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,"
    "text/plain;version=0.0.4;q=0.3"
)
GO_READER = Path(__file__).parents[2] / "clients" / "expfmt"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/*", TEXT),
        ("application/*", OPENMETRICS),
        (BROWSER, TEXT),
        (GO_EXPFMT, TEXT),
        (PROMETHEUS_2, OPENMETRICS),
        (PROMETHEUS_3, OPENMETRICS),
        ("application/openmetrics-text", OPENMETRICS),
        ("APPLICATION/OpenMetrics-Text ; Version = 1.0.0", OPENMETRICS),
        ('application/openmetrics-text; version="1.0.0"; charset=utf-8', OPENMETRICS),
        ("application/openmetrics-text, */*", OPENMETRICS),
        ("text/plain, application/openmetrics-text", TEXT),
        ("application/openmetrics-text;q=0.4, text/plain;q=0.5", TEXT),
        ("application/openmetrics-text;q=0.5, text/plain;q=0.4", OPENMETRICS),
        ("application/openmetrics-text;q=0, */*", TEXT),
        ("text/plain;q=0, */*", OPENMETRICS),
        ("application/openmetrics-text;version=0.0.1", TEXT),
        ("application/openmetrics-text;version=2.0.0;q=0.9, application/openmetrics-text;version=1.0.0", OPENMETRICS),
        ("text/plain;version=1.0.0, application/openmetrics-text;q=0.1", OPENMETRICS),
        ("application/json", TEXT),
        ("application/openmetrics-text;q=many, text/plain;q=0.1", TEXT),
        (";;,,q=1;=", TEXT),
    ],
)
def test_the_format_is_the_one_that_the_client_prefers(accept: str, wanted: str) -> None:
    assert chosen(accept, (TEXT, OPENMETRICS)) == wanted


@pytest.mark.parametrize(
    ("encoding", "wanted"),
    [
        ("", False),
        ("gzip", True),
        ("gzip, deflate, br", True),
        ("GZip;q=0.5", True),
        ("br;q=1, gzip;q=0.2, identity;q=0.1", True),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("identity, gzip;q=0.5", False),
        ("identity;q=0, *", True),
        ("br", False),
    ],
)
def test_it_is_compressed_where_the_client_prefers_that(encoding: str, wanted: bool, table: LiveServer) -> None:
    request = table.client.build_request("GET", "/metrics", headers={"accept-encoding": encoding})
    answer = table.client.send(request, stream=True)
    raw = b"".join(answer.iter_raw())
    assert (answer.headers.get("content-encoding") == "gzip") is wanted
    assert answer.headers["vary"] == "accept, accept-encoding"
    text = gzip.decompress(raw) if wanted else raw
    assert b"\nlading_requests_total{" in text
    assert answer.headers["content-length"] == str(len(raw))


def test_the_default_is_the_text_format_under_the_type_that_every_parser_knows(table: LiveServer) -> None:
    answer = table.client.get("/metrics")
    assert answer.headers["content-type"] == TEXT_TYPE
    assert list(text_string_to_metric_families(answer.text))
    assert "# EOF" not in answer.text
    assert " # {" not in answer.text


def families(text: str) -> dict[str, Metric]:
    return {family.name: family for family in openmetrics_families(text)}  # type: ignore[no-untyped-call]


def test_both_formats_hold_the_same_values(artifacts_metrics: Metrics) -> None:
    artifacts_metrics.answered("http", 200, 0.003, model="small-table", variant="fp32", received=10, sent=20)
    text = exposition(artifacts_metrics).body.decode()
    plain = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("lading_")
    }
    described = families(exposition(artifacts_metrics, **ASKS_OPENMETRICS).body.decode())
    assert plain == {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in described.values()
        for sample in family.samples
        if sample.name.startswith("lading_")
    }
    assert described[DURATION].unit == "seconds"
    assert described["lading_request_bytes"].unit == "bytes"


@pytest.fixture
def artifacts_metrics(small: dict[str, Artifact]) -> Metrics:
    metrics = Metrics()
    ModelMetrics(metrics, small["table"], small["table"].variant()).show()
    return metrics


def exemplars(text: str) -> dict[tuple[str, str], tuple[dict[str, str], float]]:
    """Labels and value of each exemplar by histogram and ``le``."""
    return {
        (family.name, sample.labels["le"]): (sample.exemplar.labels, sample.exemplar.value)
        for family in families(text).values()
        for sample in family.samples
        if sample.exemplar
    }


def test_a_bucket_shows_the_newest_sampled_trace_that_fell_into_it() -> None:
    metrics = Metrics()
    for number, seconds in enumerate([0.0031, 0.0035, 0.5, 99.0]):
        trace = TraceContext(f"{number + 1:032x}", SPAN, flags=1)
        metrics.answered("http", 200, seconds, trace=trace)
    metrics.answered("http", 200, 0.0036, trace=TraceContext("f" * 32, SPAN, flags=0))
    metrics.answered("http", 200, 0.0036)
    found = exemplars(exposition(metrics, **ASKS_OPENMETRICS).body.decode())
    assert found == {
        (DURATION, "0.004"): ({"trace_id": f"{2:032x}", "span_id": SPAN}, 0.0035),
        (DURATION, "0.5"): ({"trace_id": f"{3:032x}", "span_id": SPAN}, 0.5),
        (DURATION, "+Inf"): ({"trace_id": f"{4:032x}", "span_id": SPAN}, 99.0),
    }


def test_an_observation_on_a_bound_is_an_exemplar_of_that_bucket() -> None:
    metrics = Metrics()
    for bound in SECONDS:
        metrics.answered("v2", 200, bound, trace=TraceContext(TRACE, SPAN, flags=1))
    described = families(exposition(metrics, **ASKS_OPENMETRICS).body.decode())  # its parser checks each value
    with_one = [sample for sample in described[DURATION].samples if sample.exemplar]
    assert [float(sample.labels["le"]) for sample in with_one] == list(SECONDS)


def test_a_callers_sampled_trace_is_found_from_the_buckets_with_tracing_off(table: LiveServer) -> None:
    answer = table.client.post("/predict", json=BODY, headers={"traceparent": PARENT})
    assert answer.status_code == 200
    scraped = table.client.get("/metrics", headers=ASKS_OPENMETRICS)
    assert scraped.headers["content-type"] == OPENMETRICS_TYPE
    (labels,) = [labels for (name, _), (labels, _) in exemplars(scraped.text).items() if name == DURATION]
    assert labels == {"trace_id": TRACE, "span_id": answer.headers["traceparent"].split("-")[2]}


def test_with_tracing_the_stages_have_exemplars_too(
    small: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    with live_server(small["table"], tracing=True) as live:
        live.client.post("/predict", json=BODY, headers={"traceparent": PARENT})
        found = exemplars(live.client.get("/metrics", headers=ASKS_OPENMETRICS).text)
    assert {name for name, _ in found} == {
        DURATION,
        "lading_queue_duration_seconds",
        "lading_decode_duration_seconds",
        "lading_inference_duration_seconds",
    }
    assert {labels["trace_id"] for labels, _ in found.values()} == {TRACE}


def test_workers_read_each_others_exemplars_and_the_newest_wins(tmp_path: Path) -> None:
    (tmp_path / "exemplars-1.json").write_text('[["other", {"le": "0.1"}, ["aa", "bb", 0.05, 1.0]]]')
    own = Exemplars((0.1,), tmp_path)
    own.note("own", {"model": "m"}, 0.3, TraceContext(TRACE, SPAN, 1))
    own.share()
    other = Metric("other", "", "histogram")
    other.add_sample("other_bucket", {"le": "0.1"}, 1)
    own.attach(other)
    assert other.samples[0].exemplar is not None
    assert other.samples[0].exemplar.value == 0.05
    (tmp_path / "exemplars-2.json").write_text('[["other", {"le": "0.1"}, ["cc", "dd", 0.07, 2.0]]]')
    Exemplars((0.1,), tmp_path).attach(other)
    assert other.samples[0].exemplar.value == 0.07


def test_a_full_disk_costs_exemplars_and_nothing_else(tmp_path: Path) -> None:
    gone = Exemplars((0.1,), tmp_path / "gone")
    gone.note("own", {}, 0.3, TraceContext(TRACE, SPAN, 1))
    gone.share()
    gone.attach(Metric("own", "", "histogram"))


def test_promtool_accepts_what_a_scrape_gets(table: LiveServer) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    table.client.post("/predict", json=BODY, headers={"traceparent": PARENT})
    body = table.client.get("/metrics", headers={"accept": "text/plain"}).content
    result = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.slow
def test_gos_parser_knows_the_type_and_reads_every_family(table: LiveServer, tmp_path: Path) -> None:
    if shutil.which("go") is None:
        pytest.skip("go is not installed: apt-get install golang-go")
    reader = tmp_path / "expfmt"
    subprocess.run(["go", "build", "-o", str(reader), "."], cwd=GO_READER, check=True)
    result = subprocess.run([str(reader), f"{table.url}/metrics"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    families = list(text_string_to_metric_families(table.client.get("/metrics").text))
    assert result.stdout.split()[:3] == ["text/plain;", "version=0.0.4;", "charset=utf-8"]
    assert int(result.stdout.split()[-2]) == sum(bool(family.samples) for family in families)


@pytest.fixture(scope="module")
def pair(small: dict[str, Artifact], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedProcess]:
    """Two workers."""
    with serving(small["table"].path, tmp_path_factory.mktemp("pair") / "log", workers=2) as served:
        wait_until(lambda: httpx.get(f"{served.url}/readyz").status_code == 200)
        yield served


@pytest.mark.slow
def test_every_worker_shows_the_exemplars_of_all_and_valid_openmetrics(pair: ServedProcess) -> None:
    for _ in range(20):  # a connection each, so that both workers get some
        assert httpx.post(f"{pair.url}/predict", json=BODY, headers={"traceparent": PARENT}).status_code == 200

    def scrape() -> dict[tuple[str, str], tuple[dict[str, str], float]]:
        return exemplars(httpx.get(f"{pair.url}/metrics", headers=ASKS_OPENMETRICS).text)

    wait_until(lambda: scrape() != {})
    wait_until(lambda: all(scrape() == scrape() for _ in range(6)))  # the same from whichever is asked
    assert {labels["trace_id"] for labels, _ in scrape().values()} == {TRACE}


@pytest.mark.slow
def test_a_real_prometheus_stores_the_exemplars(table: LiveServer, tmp_path: Path) -> None:
    table.client.post("/predict", json=BODY, headers={"traceparent": PARENT})
    with prometheus_stack(tmp_path, {"ours": [table.url.removeprefix("http://")]}, [], interval="1s") as stack:

        def stored() -> list[dict[str, object]]:
            query = {"query": f"{DURATION}_bucket", "start": "0", "end": "9999999999"}
            return list(httpx.get(f"{stack.prometheus}/api/v1/query_exemplars", params=query).json()["data"])

        wait_until(lambda: stored() != [], 40)
        assert TRACE in str(stored())
