"""A Cloud Run service, written for an artifact, has Knative's schema and keeps to Cloud Run's container contract."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from lading.artifact import Artifact
from lading.cli.main import app
from lading.deploy.cloud_run import LEAST_MIB, cloud_run_yaml
from lading.deploy.values import plan
from lading.errors import SettingsError
from lading.settings import Settings
from tests.given.changed_artifacts import with_costs
from tests.given.small_artifacts import graph_artifact

SCHEMA = json.loads(Path(__file__).with_name("knative-service.json").read_text())
RESERVED = {"PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION"}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("measured")
    return with_costs(graph_artifact(folder / "bare"), folder / "measured", {1: 4.0, 8: 8.0})


@pytest.mark.parametrize("kinds", list(itertools.product((False, True), repeat=2)), ids=str)
@pytest.mark.parametrize(("cpus", "rate"), list(itertools.product(LEAST_MIB, (0.1, 300, 50_000))))
def test_what_is_written_is_what_cloud_run_takes(
    measured: Artifact, kinds: tuple[bool, bool], cpus: int, rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    grpc, bento = kinds
    planned = plan(measured, rate=rate, cpus=cpus, bento=bento)
    service = yaml.safe_load(cloud_run_yaml(measured, planned, image="graphs:1", grpc=grpc))
    jsonschema.validate(service, SCHEMA)
    (container,) = service["spec"]["template"]["spec"]["containers"]
    the_probes_are_allowed(container)
    assert 1 <= service["spec"]["template"]["spec"]["containerConcurrency"] <= 1000
    assert int(container["resources"]["limits"]["memory"].removesuffix("Mi")) >= LEAST_MIB[cpus]
    given = {variable["name"]: variable["value"] for variable in container["env"]}
    assert not given.keys() & RESERVED
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    (port,) = container["ports"]
    monkeypatch.setenv("PORT", str(port["containerPort"]))
    settings = Settings()
    assert settings.drain_s < 10, "Cloud Run kills after 10 seconds"
    if port["name"] == "h2c":
        assert (settings.grpc_port, container["command"][-1]) == (port["containerPort"], "serve")
    else:
        assert (settings.http_port, settings.grpc_port) == (port["containerPort"], "off")


def the_probes_are_allowed(container: dict[str, Any]) -> None:
    """Cloud Run: a probe's timeout is at most its period, and a start takes at most 240 seconds."""
    for name in ("startupProbe", "livenessProbe"):
        probe = container[name]
        assert probe["timeoutSeconds"] <= probe["periodSeconds"]
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] <= 240


def test_the_schema_finds_a_misspelt_field(measured: Artifact) -> None:
    service = yaml.safe_load(cloud_run_yaml(measured, plan(measured, rate=1), image="graphs:1"))
    (container,) = service["spec"]["template"]["spec"]["containers"]
    container["startupProbes"] = container.pop("startupProbe")
    with pytest.raises(jsonschema.ValidationError, match="startupProbes"):
        jsonschema.validate(service, SCHEMA)


def test_a_number_of_cpus_that_cloud_run_does_not_give_is_refused(measured: Artifact) -> None:
    with pytest.raises(SettingsError, match="--cpus 3: Cloud Run gives 1, 2, 4, 6, 8 CPUs"):
        cloud_run_yaml(measured, plan(measured, rate=1, cpus=3), image="graphs:1")


def test_the_command_prints_the_file(measured: Artifact) -> None:
    words = ["values", str(measured.path), "--cloud-run", "grpc", "--repository", "eu-docker.pkg.dev/p/r/graphs"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    service = yaml.safe_load(result.stdout)
    assert service["metadata"]["name"].endswith("-grpc")
    image = service["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image.startswith("eu-docker.pkg.dev/p/r/graphs:")
    assert image.endswith(measured.digest.removeprefix("sha256:")[:12])
