"""A release keeps the values of the chart that it was installed from: a newer chart finds some keys missing."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.given.chart import CHART, helm
from tools import chart

VALUES = list(chart.values((CHART / "values.yaml").read_text()))
DEFAULTS: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
PATHS = sorted({value.path[:depth] for value in VALUES for depth in range(1, len(value.path) + 1)})
OLDER = Path(__file__).parent / "older"
"""All values of releases, by the version of the chart that they were installed from."""
MEANS_ITSELF = {("replicaCount",)}
"""Missing is null, which has a meaning of its own: the number of pods stays as it is."""
EVERY_MODE = {
    "deployment": ["monitoring.scrape=podMonitor", "monitoring.rules.enabled=true", "test.enabled=true"],
    "kserve": ["mode=kserve", "autoscaling.kind=keda", "gateway.enabled=true", "gateway.parentRefs[0].name=web"],
}


@pytest.fixture(scope="module", params=EVERY_MODE)
def older(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Older:
    sets = [word for value in EVERY_MODE[request.param] for word in ("--set", value)]
    return Older(shutil.copytree(CHART, tmp_path_factory.mktemp("chart") / "lading"), sets)


class Older:
    """The chart's templates with the values of an older chart."""

    def __init__(self, folder: Path, options: list[str]) -> None:
        self._folder, self._options = folder, options
        self.with_all = self.render(DEFAULTS)

    def render(self, values: dict[str, Any]) -> str:
        (self._folder / "values.yaml").write_text(yaml.safe_dump(values))
        result = helm("template", "cards", str(self._folder), *self._options)
        return result.stdout + result.stderr


def without(*paths: tuple[str, ...]) -> dict[str, Any]:
    values = copy.deepcopy(DEFAULTS)
    for path in paths:
        at = values
        for name in path[:-1]:
            at = at[name]
        del at[path[-1]]
    return values


@pytest.mark.parametrize("depth", sorted({len(path) for path in PATHS}))
def test_missing_keys_have_their_defaults(older: Older, depth: int) -> None:
    """All keys of one depth are missing at once. Where the output differs, each is tried alone to name it."""
    paths = [path for path in PATHS if len(path) == depth and path not in MEANS_ITSELF]
    if older.render(without(*paths)) != older.with_all:
        differ = [path for path in paths if older.render(without(path)) != older.with_all]
        pytest.fail(f"without its key, the default is another one: {differ or paths}")


def test_a_release_without_any_value_has_the_defaults(older: Older) -> None:
    values = {"replicaCount": 2}
    assert older.render(values) == older.with_all


@pytest.mark.parametrize("file", sorted((CHART / "templates").rglob("*.[yt][ax][mt]*")), ids=lambda file: file.name)
def test_every_template_completes_the_values_first(file: Path) -> None:
    assert file.read_text().startswith('{{- include "lading.values" . -}}\n')


@pytest.mark.parametrize("stored", sorted(OLDER.glob("*.yaml")), ids=lambda file: file.stem)
@pytest.mark.parametrize("mode", EVERY_MODE)
def test_the_stored_values_of_an_older_chart_are_taken(stored: Path, mode: str, tmp_path: Path) -> None:
    """`helm upgrade --reuse-values` gives a newer chart all values of the older one, and none of its own defaults."""
    chart_folder = shutil.copytree(CHART, tmp_path / "lading")
    shutil.copy(stored, chart_folder / "values.yaml")
    sets = [word for value in EVERY_MODE[mode] for word in ("--set", value)]
    result = helm("template", "cards", str(chart_folder), *sets)
    assert result.returncode == 0, result.stderr
    assert "<no value>" not in result.stdout
    assert "null" not in {line.partition(": ")[2].strip() for line in result.stdout.splitlines()}
