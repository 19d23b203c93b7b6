"""``lading retrain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def retrain(
    token_file: Annotated[Path, typer.Option(help="file with the token that Alertmanager must send")],
    namespace: Annotated[str, typer.Option(help="of the CronJobs")] = "lading-training",
    hours: Annotated[float, typer.Option(min=0.01, help="least hours between two starts for one model")] = 24.0,
    alert: Annotated[list[str] | None, typer.Option(help="an alert that starts one; default: LadingDrift")] = None,
    host: Annotated[str, typer.Option(help="address to listen on")] = "0.0.0.0",
    port: Annotated[int, typer.Option(min=0, max=65535, help="port; 0: a free one")] = 8070,
) -> None:
    """Take Alertmanager's notifications and start a model's training Job from its suspended CronJob, in a pod.

    Example: `lading retrain --token-file /run/token/token`
    """
    import uvicorn

    from lading.errors import SettingsError
    from lading.retraining import Cluster, Retraining, retraining_app

    token = token_file.read_text().strip() if token_file.is_file() else ""
    if not token:
        raise SettingsError(f"{token_file} holds no token: without one anybody could start a Job")
    retraining = Retraining(Cluster.of_this_pod(), namespace, hours * 3600, alert or ["LadingDrift"])
    uvicorn.run(retraining_app(retraining, token), host=host, port=port, log_level="warning")
