"""A training run as a Vertex AI custom job: of the API's form, and started with the right ranks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

from lading.build.train.config import compose
from lading.build.train.vertex import Machines, custom_job, torchrun_arguments
from lading.cli import app
from lading.errors import SpecError

SCHEMA = json.loads(Path(__file__).with_name("vertex-custom-job.schema.json").read_text())
TARGET = "tests/given/tiny.py:TinyImage"


def job(*overrides: str, bucket: str = "gs://some-bucket/tiny", **machines: Any) -> dict[str, Any]:
    config = compose(TARGET, overrides)
    return custom_job(config, overrides, image="registry/trainer:1", bucket=bucket, machines=Machines(**machines))


@pytest.mark.parametrize(
    ("overrides", "machines", "replicas"),
    [
        ([], {}, ["1"]),
        (["trainer.num_nodes=4"], {"service_account": "me@project.iam.gserviceaccount.com"}, ["1", "3"]),
        (["trainer.num_nodes=2", "trainer.devices=2"], {"accelerator": "NVIDIA_L4", "accelerators": 4}, ["1", "1"]),
    ],
)
def test_the_job_is_of_the_apis_form(overrides: list[str], machines: dict[str, Any], replicas: list[str]) -> None:
    made = job(*overrides, **machines)
    jsonschema.validate(made, SCHEMA)
    pools = made["jobSpec"]["workerPoolSpecs"]
    assert [pool["replicaCount"] for pool in pools] == replicas
    processes, command, target, *_ = pools[0]["containerSpec"]["args"]
    assert (command, target) == ("train", TARGET)
    assert int(processes) == machines.get("accelerators", compose(TARGET, overrides).trainer.devices)


def test_the_schema_refuses_a_job_without_a_primary_replica() -> None:
    made = job("trainer.num_nodes=2")
    made["jobSpec"]["workerPoolSpecs"][0]["replicaCount"] = "2"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(made, SCHEMA)


def test_the_arguments_are_accepted_by_training() -> None:
    args = job("trainer.num_nodes=2", "optimizer.lr=0.5")["jobSpec"]["workerPoolSpecs"][1]["containerSpec"]["args"]
    config = compose(args[2], [word for word in args[3:] if not word.startswith("--")])
    assert (config.trainer.num_nodes, config.optimizer.lr) == (2, 0.5)


@pytest.mark.parametrize(
    ("overrides", "bucket", "message"),
    [
        (["trainer.num_nodes=3"], "gs://some-bucket", "batch_size=64 is of all processes .* 3: use 63 or 66"),
        (["trainer.devices=auto"], "gs://some-bucket", "says nothing about another machine"),
        ([], "s3://some-bucket", "is not a bucket"),
    ],
)
def test_what_cannot_run_is_refused(overrides: list[str], bucket: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        job(*overrides, bucket=bucket)


def test_each_machine_finds_its_rank_in_the_cluster_spec() -> None:
    cluster = {"workerpool0": ["head:2222"], "workerpool1": ["a:2222", "b:2222"]}
    ranks = []
    for pool, index in (("workerpool0", 0), ("workerpool1", 0), ("workerpool1", 1)):
        words = torchrun_arguments(json.dumps({"cluster": cluster, "task": {"type": pool, "index": index}}), 2)
        assert {"--nnodes=3", "--nproc-per-node=2", "--master-addr=head"} <= set(words)
        ranks += [word for word in words if word.startswith("--node-rank")]
    assert ranks == ["--node-rank=0", "--node-rank=1", "--node-rank=2"]
    assert torchrun_arguments(None, 4) == ["--standalone", "--nproc-per-node=4"]


def test_the_command_writes_the_job(tmp_path: Path) -> None:
    words = ["vertex", TARGET, "trainer.num_nodes=2", "--image", "i:1", "--bucket", "gs://some-bucket/x"]
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "job.json")])
    assert result.exit_code == 0, result.output
    jsonschema.validate(json.loads((tmp_path / "job.json").read_text()), SCHEMA)
