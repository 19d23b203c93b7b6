"""Each command of the documentation has a way to be run, and each way has a test that runs its commands."""

from __future__ import annotations

import re

import pytest

from tests.given.documented import ROOT, ROWS, Documented, Row, Way, documented


@pytest.mark.parametrize("one", documented(), ids=str)
def test_a_command_has_a_way_to_be_run(one: Documented) -> None:
    assert one.row is not None, (
        f"{one.page} documents `{one.text}`, and no test runs it: add a row to ROWS in tests/given/documented.py, "
        "and look whether its way needs something more"
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.pattern)
def test_a_row_has_a_command_and_a_test(row: Row) -> None:
    assert any(one.row is row for one in documented()), f"no command is run by {row.pattern!r}: remove the row"
    by = row.by or row.way.value
    file, _, name = by.partition("::")
    assert (ROOT / file).is_file(), f"{by} does not exist"
    assert not name or re.search(rf"^def {name}\(", (ROOT / file).read_text(), re.MULTILINE), f"{by} does not exist"
    assert by, f"{row.pattern!r} names no test"


@pytest.mark.parametrize("way", [way for way in Way if way.value], ids=lambda way: way.name)
def test_the_test_of_a_way_runs_its_commands(way: Way) -> None:
    assert f"run_by(Way.{way.name})" in (ROOT / way.value).read_text()
