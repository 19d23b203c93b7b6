"""Programs that measure for minutes or hours know the options that a page writes; other tests run them with less."""

from __future__ import annotations

import re

import pytest

from tests.given.documented import ROOT, Documented, Way, run_by


@pytest.mark.parametrize("one", run_by(Way.MEASUREMENT), ids=str)
def test_a_program_knows_the_documented_options(one: Documented) -> None:
    program, flag, module, *words = one.words
    assert (program, flag) == ("python", "-m")
    base = (ROOT / "src" if module.startswith("lading") else ROOT).joinpath(*module.split("."))
    file = base / "__main__.py" if base.is_dir() else base.with_suffix(".py")
    text = file.read_text()
    for word in words:
        if word.startswith("--"):
            name = word.removeprefix("--").partition("=")[0]
            assert re.search(rf"\b{name.replace('-', '_')}\b:|--{name}\b", text), f"{module} has no {word}"
        elif module == "benchmarks.server.compare" and word == words[0]:
            assert re.search(rf"^def {word}\(|\"{word}\"", text, re.MULTILINE), f"{module} has no command {word}"
    assert one.row is not None
    assert one.row.by
