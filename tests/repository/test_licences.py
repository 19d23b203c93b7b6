"""Every package that an image installs has a licence that is accepted, and is on the page of licences."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.licences import locked, refused

PAGE = Path(__file__).parents[2] / "docs" / "licences.md"
ROWS = {
    name: (expression, set(images.split(", ")))
    for name, expression, images in re.findall(r"^\| ([a-z0-9._-]+) \| (.+) \| ([a-z, ]+) \|$", PAGE.read_text(), re.M)
    if name != "package"
}


def test_the_page_lists_every_package_of_every_lock() -> None:
    assert {name: images for name, (_, images) in ROWS.items()} == locked(), "run `make generate`"


def test_the_licence_of_every_package_is_accepted() -> None:
    bad = {package: refused(*row) for package, row in ROWS.items() if refused(*row)}
    assert not bad, "take another package, or accept the licence in tools/licences.py"


@pytest.mark.parametrize(
    ("expression", "images", "bad"),
    [
        ("GPL-3.0-only", {"server"}, {"GPL-3.0-only"}),
        ("MIT AND LGPL-2.1-or-later", {"frontend"}, {"LGPL-2.1-or-later"}),
        ("unknown", {"batch"}, {"unknown"}),
        ("LicenseRef-NVIDIA-Proprietary", {"trainer", "server"}, {"LicenseRef-NVIDIA-Proprietary"}),
        ("LicenseRef-NVIDIA-Proprietary", {"trainer"}, set()),
        ("MPL-2.0 AND (Apache-2.0 OR GPL-2.0-only)", {"server"}, set()),
        ("Apache-2.0 WITH LLVM-exception", {"server"}, set()),
    ],
)
def test_a_licence_that_asks_for_more_is_refused(expression: str, images: set[str], bad: set[str]) -> None:
    assert refused(expression, images) == bad
