"""An SLO: derived from what was measured, read from a file, refused in one sentence when it says something else."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from lading.artifact import Artifact
from lading.errors import SpecError
from lading.monitoring.rules import Alert, RecordingRule, shortened
from lading.monitoring.slo import ROOM, Slo, read_slo, slo_for, slo_yaml
from lading.monitoring.slo_rules import indicators, slo_groups
from lading.serve.telemetry.request_series import SECONDS
from tests.given.changed_artifacts import with_costs
from tests.given.small_artifacts import table_artifact


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder: Path = tmp_path_factory.mktemp("slo")
    return table_artifact(folder / "table")


def an_slo(**changes: object) -> Slo:
    return Slo.model_validate({"model": "cards", "latency": {"threshold_ms": 25}, **changes})


@pytest.mark.parametrize(("p99_ms", "threshold_ms"), [(0.3, 12), (2.2, 25), (2.5, 25), (2.6, 50), (5000, 10_000)])
def test_by_default_the_threshold_is_the_first_bucket_with_room_above_the_measured_p99(
    artifact: Artifact, tmp_path: Path, p99_ms: float, threshold_ms: float
) -> None:
    measured = with_costs(artifact, tmp_path / "measured", {1: p99_ms, 8: 6 * p99_ms})
    slo = slo_for(measured)
    assert slo.model == "small-table"
    assert slo.latency.threshold_ms == pytest.approx(threshold_ms)
    assert threshold_ms == 1e3 * SECONDS[-1] or threshold_ms >= ROOM * p99_ms


def test_nothing_is_promised_of_a_variant_that_was_not_measured(artifact: Artifact) -> None:
    with pytest.raises(SpecError, match="was not measured; run `lading verify` first"):
        slo_for(artifact)


def test_a_written_slo_is_read_back(tmp_path: Path) -> None:
    (tmp_path / "slo.yaml").write_text(slo_yaml(an_slo(), "A note."))
    assert read_slo(tmp_path / "slo.yaml") == an_slo()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("model: cards\n", "'latency': Field required"),
        ("model: cards\nlatency: {threshold_ms: 30}\n", "30 ms is not a bound of the histogram; choose one of 0.1,"),
        (
            "model: cards\nlatency: {threshold_ms: 25, objective: 1}\n",
            "'latency.objective': Input should be less than 1",
        ),
        ('model: a"b\nlatency: {threshold_ms: 25}\n', "'model': String should match pattern"),
        ("model: cards\nlatency: {threshold_ms: 25}\navailable: 1\n", "'available': Extra inputs are not permitted"),
        ("model: [\n", "is not YAML"),
        ("", "is not an SLO"),
    ],
)
def test_a_file_that_is_no_slo_is_refused_with_its_place(tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / "slo.yaml").write_text(content)
    with pytest.raises(SpecError) as refused:
        read_slo(tmp_path / "slo.yaml")
    assert sentence in str(refused.value)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read: No such file"):
        read_slo(tmp_path / "slo.yaml")


def test_refusals_count_as_errors_unless_the_slo_leaves_them_out() -> None:
    counted, _ = indicators(an_slo())
    left_out, _ = indicators(an_slo(availability={"shed": "left out"}))
    assert 'code=~"5..|429"' in counted.error_ratio
    assert "429" not in left_out.error_ratio + left_out.total


def test_the_slo_for_every_other_model_leaves_out_those_with_one_of_their_own() -> None:
    one, _ = indicators(an_slo(model="*"), others=["cards", "molecules"])
    assert 'model!~"cards|molecules|unknown"' in one.total


def test_rules_are_named_as_sloth_names_them() -> None:
    recorded = {
        rule.record for group in slo_groups(an_slo()) for rule in group.rules if isinstance(rule, RecordingRule)
    }
    assert recorded >= {
        f"slo:sli_error:ratio_rate{window}" for window in ("5m", "30m", "1h", "2h", "6h", "1d", "3d", "30d")
    }
    assert recorded >= {"slo:objective:ratio", "slo:period_error_budget_remaining:ratio", "sloth_slo_info"}


def test_shortened_rules_have_every_window_and_waiting_time_divided() -> None:
    groups = shortened(slo_groups(an_slo()), 60)
    text = yaml.safe_dump([group.to_dict() for group in groups])
    assert "[60000ms]" in text  # an hour
    assert "[5m]" not in text
    waits = {rule.wait for group in groups for rule in group.rules if isinstance(rule, Alert)}
    assert waits == {"3000ms", "15000ms", "60000ms", "180000ms"}
