"""``helm upgrade`` as the pages write it is accepted by the chart, and the schemas of its kinds accept what it renders.

tests/e2e/cluster/test_documented.py sends the same commands to an API server.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import yaml

from tests.given.chart import tool
from tests.given.documented import Documented, Way, run_by
from tests.given.working_folder import WorkingFolder
from tests.k8s.tools import validate

COMMANDS = run_by(Way.CHART)
OF_A_CLUSTER = {"--install", "--wait", "--create-namespace", "--rollback-on-failure"}
"""Options that `helm template` does not know."""
REUSING = {"--reset-then-reuse-values", "--reuse-values"}


def template(one: Documented) -> str:
    """The command that renders what an upgrade sends. Values of the release before it are those of the page."""
    program, verb, *words = one.words
    assert (program, verb) == ("helm", "upgrade")
    reused = ["-f", "values.yaml"] if REUSING & set(words) else []
    kept = [word for word in words if word not in OF_A_CLUSTER | REUSING]
    assert one.row is not None
    return f"{shlex.join([tool('helm'), 'template', *kept, *reused])} {one.row.more}"


@pytest.mark.parametrize("one", COMMANDS, ids=str)
def test_the_chart_takes_the_values_of_a_documented_upgrade(one: Documented, folder: WorkingFolder) -> None:
    done = folder.type(template(one))
    assert done.returncode == 0, done.stderr
    assert [document for document in yaml.safe_load_all(done.stdout) if document]


def test_what_documented_upgrades_render_is_valid_by_the_schemas_of_its_kinds(
    folder: WorkingFolder, tmp_path: Path
) -> None:
    rendered = {
        f"{number}.yaml": [one for one in yaml.safe_load_all(folder.type(template(command)).stdout) if one]
        for number, command in enumerate(COMMANDS)
    }
    validate(rendered, tmp_path / "rendered")
