"""The page of a model of graphs, in a real headless browser: it draws what was sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.given.browser import browser
from tests.given.few_molecules import molecules_artifact
from tests.given.live_server import LiveServer, live_server

__all__ = ["browser"]
pytestmark = pytest.mark.slow
READS_SMILES = {"smiles": "models.molecule_graphs.smiles:read_smiles"}


@pytest.fixture(scope="module")
def molecules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(
        molecules_artifact(tmp_path_factory.mktemp("page") / "molecules"), text_forms=READS_SMILES
    ) as live:
        yield live


@pytest.fixture
def page(browser: Any, molecules: LiveServer) -> Iterator[Any]:
    """The page; a line on the console, such as a refused style, fails the test."""
    opened = browser.new_page(viewport={"width": 1100, "height": 900})
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.goto(molecules.url)
    opened.wait_for_selector("#graph svg")
    yield opened
    opened.close()
    assert not [line for line in said if "400" not in line], said


def test_the_example_is_drawn_with_an_element_on_each_atom(page: Any) -> None:
    assert sorted(page.locator("#graph text").all_text_contents()) == sorted("CCOHHHHHH")
    assert page.locator("#graph line").count() == 8
    assert page.inner_text("#graph figcaption") == "9 nodes, 8 pairs of edges"


def test_smiles_are_drawn_and_answered_by_name_with_units(page: Any, tmp_path: Path) -> None:
    page.fill("#text", "c1ccccc1O")
    page.keyboard.press("Enter")
    page.wait_for_selector(".values")
    assert sorted(page.locator("#graph text").all_text_contents()) == sorted("CCCCCCOHHHHHH")
    assert page.locator(".values dt").all_inner_texts()[:2] == ["logp", "molar_refractivity"]
    assert page.locator(".values dd").nth(1).inner_text().endswith("cm3/mol")
    places = page.eval_on_selector_all("#graph circle", "all => all.map(c => [c.cx.baseVal.value, c.cy.baseVal.value])")
    nearest = min(abs(complex(*a) - complex(*b)) for i, a in enumerate(places) for b in places[:i])
    assert nearest > 0.4, "atoms lie upon each other"
    page.screenshot(path=tmp_path / "molecules.png")


def test_json_is_drawn_when_it_is_sent_and_nonsense_is_not(page: Any) -> None:
    page.fill("#body", '{"node_features": [[0,1,0,0,0,6,0,0,0,1,4]], "edge_index": [[], []]}')
    page.click("#send")
    page.wait_for_selector(".values")
    assert page.inner_text("#graph figcaption") == "1 nodes, 0 pairs of edges"
    page.fill("#body", '{"node_features": [[1]], "edge_index": [[0], [7]]}')
    page.click("#send")
    page.wait_for_selector("#error:not([hidden])")
    assert page.locator("#graph").is_hidden()


def test_smiles_that_cannot_be_read_are_refused_in_the_servers_words(page: Any) -> None:
    page.fill("#text", "CC(")
    page.keyboard.press("Enter")
    page.wait_for_selector("#error:not([hidden])")
    assert "is not SMILES of a molecule" in page.inner_text("#error")


def test_without_a_function_to_read_text_there_is_no_box_for_it(browser: Any, molecules: LiveServer) -> None:
    with live_server(molecules.artifact) as live:
        opened = browser.new_page()
        opened.goto(live.url)
        opened.wait_for_selector("#graph svg")
        assert opened.locator("#text-form").is_hidden()
        opened.close()
