"""Loggers of a training run: a CSV file always, and W&B without ever prompting."""

from __future__ import annotations

import configparser
import netrc
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from omegaconf import DictConfig

from lading.build.train.config import plain
from lading.spec import ModelSpec

OWN_HOSTS = ("api.wandb.ai", "api.forge.coreweave.com")
"""Names of W&B's own server, one of which `wandb login` writes into the netrc file."""


def run_loggers(spec: ModelSpec, config: DictConfig, out: Path, *, resume: bool = False) -> list[Logger]:
    """Open the loggers of a run. A resumed run keeps its W&B run id."""
    earlier = out / "metrics.csv"
    if earlier.is_file():
        # The logger overwrites its file, so keep the lines of the interrupted run.
        earlier.rename(out / f"metrics-{len(list(out.glob('metrics*.csv')))}.csv")
    loggers: list[Logger] = [CSVLogger(out, name="", version="")]
    if config.logger.wandb:
        import wandb

        run = wandb.init(
            project=config.logger.project,
            dir=out,
            group=spec.name,
            config=plain(config),
            id=_earlier_id(out) if resume else None,
            mode=wandb_mode(os.environ),
            settings=wandb.Settings(silent=True),
        )
        loggers.append(WandbLogger(experiment=run))
    return loggers


def wandb_mode(environment: Mapping[str, str]) -> Literal["online", "offline", "disabled"]:
    """``online`` if there is a login, else ``offline``: without one W&B would prompt for it or fail.

    A login is a key or an identity token in the environment, or the entry that ``wandb login`` wrote into the netrc
    file. ``WANDB_MODE`` is honoured where it asks for less. An agent's trials are online: the agent had to log in.
    """
    asked = environment.get("WANDB_MODE", "")
    if asked in {"offline", "dryrun", "disabled"}:
        return "disabled" if asked == "disabled" else "offline"
    known = ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_SWEEP_ID")
    return "online" if any(environment.get(name) for name in known) or _in_netrc(environment) else "offline"


def _in_netrc(environment: Mapping[str, str]) -> bool:
    """Whether the netrc file has a password for W&B's server, as ``wandb login`` writes it."""
    home = Path(environment.get("HOME") or environment.get("USERPROFILE") or "/nonexistent")
    named = environment.get("NETRC")
    host = urlsplit(environment.get("WANDB_BASE_URL") or _login_server(environment, home)).netloc
    hosts = OWN_HOSTS if host in ("", *OWN_HOSTS) else (host,)
    for file in [Path(named).expanduser()] if named else [home / ".netrc", home / "_netrc"]:
        try:
            logins = netrc.netrc(file).hosts
        except (OSError, netrc.NetrcParseError):
            continue
        if any(logins[name][2] for name in hosts if name in logins):
            return True
    return False


def _login_server(environment: Mapping[str, str], home: Path) -> str:
    """Base URL of the server that ``wandb login --host`` noted; empty for W&B's own."""
    folder = environment.get("WANDB_CONFIG_DIR") or home / ".config" / "wandb"
    settings = configparser.ConfigParser(interpolation=None)
    try:
        settings.read(Path(folder) / "settings")
        return settings.get("default", "base_url", fallback="")
    except (OSError, configparser.Error):
        return ""


def run_id(loggers: Sequence[Logger]) -> str:
    """Id of the W&B run; empty without W&B."""
    wandb = next((logger for logger in loggers if isinstance(logger, WandbLogger)), None)
    return str(wandb.experiment.id) if wandb else ""


def log_results(loggers: Sequence[Logger], metrics: Mapping[str, float], path: Path, out: Path) -> None:
    """Log the checkpoint's metrics, the confusion plots in ``out``, and the checkpoint as a model artifact."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            import wandb

            run = logger.experiment
            run.summary.update(dict(metrics))
            run.log({plot.stem: wandb.Image(str(plot)) for plot in sorted(out.glob("confusion-*.png"))})
            artifact = wandb.Artifact(path.stem, type="model", metadata=dict(metrics))
            artifact.add_file(str(path))
            artifact.add_file(str(path.with_suffix(".run.json")))
            run.log_artifact(artifact)
            run.finish()
        else:
            logger.log_metrics({name: value for name, value in metrics.items() if not name.startswith("valid/")})
            logger.save()


def _earlier_id(out: Path) -> str | None:
    # W&B names its folders [offline-]run-DATE_TIME-ID; two of one second are of one run.
    folders = sorted((out / "wandb").glob("*run-*-*"), key=lambda folder: folder.name.split("run-")[-1])
    return folders[-1].name.rsplit("-", 1)[-1] if folders else None
