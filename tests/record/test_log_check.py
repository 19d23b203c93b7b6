"""``lading drift``: the same scores from a payload log, for a scheduled job and for a review."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from lading.artifact import Artifact
from lading.cli import app
from lading.drift.reference import Reference
from lading.errors import DataError, GateRefusedError
from lading.record.evidently import draw, evidently_app
from lading.record.log_check import check_log
from tests.given.live_server import live_server
from tests.given.recorded import send, with_reference
from tests.given.small_artifacts import table_artifact


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("artifact")
    return with_reference(table_artifact(folder / "plain"), folder / "artifact")


@pytest.fixture(scope="module")
def logs(artifact: Artifact, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A log of requests like the training data, and one of shifted requests."""
    folder = tmp_path_factory.mktemp("logs")
    for name, centre in (("same", 0.0), ("shifted", 1.5)):
        with live_server(artifact, payload_log=str(folder / name), feedback=10) as live:
            send(live, np.random.default_rng(3).normal(centre, 1, (60, 4)))
    return {name: folder / name for name in ("same", "shifted")}


def test_a_log_like_the_training_data_passes(artifact: Artifact, logs: dict[str, Path]) -> None:
    result = CliRunner().invoke(app, ["drift", "check", str(logs["same"]), str(artifact.path)])
    assert result.exit_code == 0
    assert "nothing has drifted" in result.output


def test_a_shifted_log_is_refused_by_name_and_reported(
    artifact: Artifact, logs: dict[str, Path], tmp_path: Path
) -> None:
    report = tmp_path / "drift.html"
    result = CliRunner().invoke(
        app, ["drift", "check", str(logs["shifted"]), str(artifact.path), "--report", str(report)]
    )
    assert isinstance(result.exception, GateRefusedError)
    assert result.exception.exit_code == 3
    assert "features.0" in str(result.exception)
    assert "have drifted" in report.read_text()


def test_a_log_gives_the_scores_that_the_server_gave(artifact: Artifact, logs: dict[str, Path]) -> None:
    found = check_log(logs["shifted"], artifact, newest=500)
    assert found.block.requests == 60
    assert found.block.histograms["features.0"].sum() == 60


def test_a_folder_that_is_no_log_is_refused(artifact: Artifact, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no file of a payload log"):
        check_log(tmp_path, artifact, newest=500)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Evidently's own
def test_evidently_reports_on_the_newest_examples(artifact: Artifact, logs: dict[str, Path]) -> None:
    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(evidently_app(logs["shifted"], artifact))
        async with httpx.AsyncClient(transport=transport, base_url="http://report") as client:
            return [await client.get(path) for path in ("/report?n=50", "/report?n=many", "/livez")]

    report, refused, alive = asyncio.run(ask())
    assert report.status_code == 200
    assert "features.0" in report.text
    assert refused.status_code == 400
    assert alive.status_code == 200


def test_values_drawn_from_a_histogram_have_it_again(artifact: Artifact) -> None:
    feature = Reference.from_json(artifact.reference_json()).features["features.1"]
    drawn = np.array(draw(feature, 5000, np.random.default_rng(0)))
    shares = feature.histogram(drawn) / len(drawn)
    assert shares == pytest.approx(np.array(feature.shares), abs=0.03)
