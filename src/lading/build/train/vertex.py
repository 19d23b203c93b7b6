"""A training run as a Vertex AI custom job, and the entry point on its machines.

The job's fields are those of ``projects.locations.customJobs`` in the API's v1:
https://cloud.google.com/vertex-ai/docs/reference/rest/v1/CustomJobSpec
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig

from lading.build.train.processes import Processes
from lading.errors import SpecError
from lading.spec import Frozen

PORT = 29500


class Machines(Frozen):
    """Machines of a job."""

    machine_type: str = "n2-standard-8"
    accelerator: str | None = None
    """Type, such as NVIDIA_L4. There is one training process per accelerator."""
    accelerators: int = 1
    """Accelerators per machine."""
    disk_gb: int = 100
    hours: int = 24
    """Job timeout, in hours."""
    service_account: str | None = None


def custom_job(
    config: DictConfig, overrides: Sequence[str], *, image: str, bucket: str, machines: Machines
) -> dict[str, Any]:
    """Describe a configured run as a custom job, ready for JSON.

    Args:
        config: composed; ``trainer.num_nodes`` machines with ``trainer.devices`` processes each, or one an accelerator.
        overrides: ``key=value``, passed on to ``lading train``.
        image: of docker/trainer.Containerfile, in a registry that the job may read.
        bucket: ``gs://BUCKET/FOLDER``, which Vertex AI mounts below /gcs; the run folder is made there.
        machines: what to run on.

    Raises:
        SpecError: the bucket is none, or the batch cannot be dealt out to the processes.
    """
    if not re.fullmatch(r"gs://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](/[\w./-]*)?", bucket):
        raise SpecError(f"{bucket!r} is not a bucket: gs://BUCKET/FOLDER")
    nodes = config.trainer.num_nodes
    each = machines.accelerators if machines.accelerator else _processes(config)
    Processes(size=nodes * each).check_batch(config.data.batch_size)
    folder = bucket.removeprefix("gs://").rstrip("/")
    words = [f"trainer.num_nodes={nodes}", f"trainer.devices={each}", "trainer.progress=false", "data.shared=true"]
    train = ["train", config.target, f"--out=/gcs/{folder}/run", "--restartable", *overrides, *words]
    container: dict[str, Any] = {
        "imageUri": image,
        "command": ["python3", "-m", "lading.build.train.vertex"],
        "args": [str(each), *train],
        "env": [{"name": "LADING_DATA", "value": f"/gcs/{folder}/data"}],
    }
    machine: dict[str, Any] = {"machineType": machines.machine_type}
    if machines.accelerator:
        machine |= {"acceleratorType": machines.accelerator, "acceleratorCount": machines.accelerators}
    pool = {
        "machineSpec": machine,
        "diskSpec": {"bootDiskType": "pd-ssd", "bootDiskSizeGb": machines.disk_gb},
        "containerSpec": container,
    }
    # Pool 0 is the primary replica, pool 1 has all others.
    pools = [pool | {"replicaCount": "1"}, *([pool | {"replicaCount": str(nodes - 1)}] if nodes > 1 else [])]
    job: dict[str, Any] = {
        "workerPoolSpecs": pools,
        "scheduling": {"timeout": f"{machines.hours * 3600}s", "restartJobOnWorkerRestart": True},
        "baseOutputDirectory": {"outputUriPrefix": bucket},
    }
    if machines.service_account:
        job["serviceAccount"] = machines.service_account
    name = str(config.target).rsplit(":", 1)[-1].lower()
    return {"displayName": f"lading-{name}", "labels": {"app": "lading", "model": name}, "jobSpec": job}


def torchrun_arguments(cluster_spec: str | None, processes: int) -> list[str]:
    """Options of torchrun for this machine of the job.

    Args:
        cluster_spec: Vertex AI's environment variable CLUSTER_SPEC: the hosts of each worker pool, and this task's pool
            and index. Without it, there is one machine.
            https://cloud.google.com/vertex-ai/docs/training/distributed-training
        processes: on each machine.
    """
    pools: dict[str, list[str]] = json.loads(cluster_spec)["cluster"] if cluster_spec else {}
    hosts = [host for name in sorted(pools) for host in pools[name]]
    if cluster_spec is None or len(hosts) < 2:
        return ["--standalone", f"--nproc-per-node={processes}"]
    task = json.loads(cluster_spec)["task"]
    before = sum(len(pools[name]) for name in sorted(pools) if name < task["type"])
    return [
        f"--nnodes={len(hosts)}",
        f"--nproc-per-node={processes}",
        f"--node-rank={before + task['index']}",
        f"--master-addr={hosts[0].split(':')[0]}",
        f"--master-port={PORT}",
    ]


def main(processes: str, *train: str) -> None:
    """``python -m lading.build.train.vertex PROCESSES train ...``: become torchrun with ``lading train ...``."""
    where = torchrun_arguments(os.environ.get("CLUSTER_SPEC"), int(processes))
    os.execv(sys.executable, [sys.executable, "-m", "torch.distributed.run", *where, "-m", "lading", *train])


def _processes(config: DictConfig) -> int:
    if not isinstance(config.trainer.devices, int):
        raise SpecError("trainer.devices=auto says nothing about another machine: give a number, or an accelerator")
    return config.trainer.devices


if __name__ == "__main__":
    main(*sys.argv[1:])
