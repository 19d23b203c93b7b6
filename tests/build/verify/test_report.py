"""The HTML report in a real browser that has no network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from lading.artifact.manifest import Baseline, Machine
from lading.build.records import Confusion, Verification, VerifiedVariant
from lading.build.verify.report import write_report
from lading.spec import Quantization, Variant
from tests.given.browser import CHROMIUM, FLAGS
from tests.given.measured import MEASURED, TIMING

pytestmark = pytest.mark.slow
INT8 = Variant(name="int8", quantization=Quantization(method="static"))
SMALL = Variant(name="small", quantization=Quantization(method="dynamic"))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("report") / "report.html"
    measured = {"passed": True, "reasons": (), "measurement": MEASURED}
    fp32 = VerifiedVariant(variant=Variant(name="fp32"), file="fp32.onnx", precision="fp32", **measured)
    int8 = VerifiedVariant(variant=INT8, file="int8.onnx", precision="int8", **measured)
    reasons = ("no kernel for <Foo>",)
    small = VerifiedVariant(variant=SMALL, file=None, precision="int8-dynamic", passed=False, reasons=reasons)
    verification = Verification(
        name="signals",
        score_name="accuracy",
        effort="quick",
        created="2026-01-01T00:00:00+00:00",
        method="In turns.",
        machine=Machine(cpu="A CPU", cores=2, flags=("avx2",), onnxruntime="1.32.0"),
        splits={"test": 7},
        variants=(fp32, int8, small),
        baselines=(Baseline(name="torch eager", timings=(TIMING,)),),
        absent={},
        chosen="int8",
        confusions=(Confusion(variant="int8", output="light", labels=("red", "green"), counts=((3, 1), (0, 3))),),
    )
    write_report(verification, file)
    return file


@pytest.fixture
def page(report: Path) -> Iterator[Any]:
    """The report, opened from its file by a browser that may ask for nothing else."""
    assert Path(CHROMIUM).exists(), f"there is no {CHROMIUM}: apt-get install chromium"
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = browser.new_context(offline=True, viewport={"width": 1200, "height": 900})
        opened = context.new_page()
        said: list[str] = []
        asked: list[str] = []
        opened.on("console", lambda message: said.append(message.text))
        opened.on("pageerror", lambda error: said.append(str(error)))
        opened.on("request", lambda request: asked.append(request.url))
        opened.goto(report.as_uri())
        yield opened
        browser.close()
    assert asked == [report.as_uri()]
    assert not said


def test_the_report_opens_offline_with_its_table_its_plots_and_its_confusion(page: Any) -> None:
    assert page.title() == "signals: what was measured"
    verdicts = page.locator("table").first.locator("td.verdict").all_inner_texts()
    assert verdicts == ["passed", "chosen", "refused", "baseline"]
    assert "no kernel for <Foo>" in page.inner_text("body")
    sizes = page.eval_on_selector_all("svg", "plots => plots.map(plot => plot.getBoundingClientRect().toJSON())")
    assert len(sizes) == 3
    assert all(size["width"] > 300 and size["height"] > 150 for size in sizes)
    assert "int8" in page.locator("svg").first.text_content()
    assert page.locator("table.confusion tbody td").all_inner_texts() == ["red", "3", "1", "green", "", "3"]


def test_the_report_fits_a_phone(page: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
