"""pytest finds every test file."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


def test_no_folder_of_tests_is_left_out_for_its_name(request: pytest.FixtureRequest) -> None:
    # pytest's default list has "build", which would hide tests/build without a word.
    patterns = request.config.getini("norecursedirs")
    folders = {folder for file in TESTS.rglob("test_*.py") for folder in file.relative_to(TESTS).parents}
    hidden = [f for f in folders if any(part for part in f.parts if any(Path(part).match(p) for p in patterns))]
    assert not hidden
