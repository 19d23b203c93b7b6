"""Run a W&B sweep file on this machine, without W&B's server: with Hydra's multirun, and Optuna to choose the trials.

``wandb sweep`` and ``wandb agent`` run the same file.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.table import Table

from lading.build.collected import load_spec
from lading.build.train.checkpoint import read_card
from lading.build.train.config import first_overrides
from lading.build.train.train import train
from lading.errors import LadingError, SpecError
from lading.spec import Frozen

ARGUMENTS = "${args_no_hyphens}"
SAMPLERS = {"bayes": "tpe", "random": "random", "grid": "grid"}
"""W&B's methods and the corresponding Optuna samplers: Bayesian, random, grid."""


class Trial(Frozen):
    """One training of a sweep."""

    parameters: dict[str, Any]
    value: float
    """Final value of the sweep's metric."""
    folder: Path


def read_sweep(file: Path) -> dict[str, Any]:
    """Read a sweep file. Its ``${...}`` macros are kept as they are.

    Raises:
        SpecError: the file is missing, or is no sweep of ``lading train``.
    """
    if not file.is_file():
        raise SpecError(f"there is no sweep file {file}")
    content = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    if not isinstance(content, dict) or not {"command", "method", "metric", "parameters"} <= content.keys():
        raise SpecError(f"{file} is no sweep: it needs command, method, metric and parameters")
    if content["command"][:2] != ["lading", "train"] or ARGUMENTS not in content["command"]:
        raise SpecError(f"{file}: the command is [lading, train, MODEL, KEY=VALUE..., {ARGUMENTS}]")
    return {str(key): value for key, value in content.items()}


def multirun_arguments(sweep: Mapping[str, Any], out: Path, *, count: int, seed: int) -> list[str]:
    """Translate a sweep to Hydra overrides.

    Args:
        sweep: what :func:`read_sweep` returned.
        out: folder of the trials.
        count: trials, at most.
        seed: of the sampling.

    Raises:
        SpecError: a method or distribution that only W&B's server samples.
    """
    method = sweep["method"]
    if method not in SAMPLERS:
        raise SpecError(f"method {method!r} is not one of: {', '.join(SAMPLERS)}")
    spaces = [f"{name}={_space(sweep, name)}" for name in sweep["parameters"]]
    seeded = [] if method == "grid" else [f"hydra.sweeper.sampler.seed={seed}"]
    return [
        "hydra/sweeper=optuna",
        f"hydra/sweeper/sampler={SAMPLERS[method]}",
        *seeded,
        f"hydra.sweeper.direction={_goal(sweep)}",
        f"hydra.sweeper.n_trials={count}",
        "hydra.sweeper.n_jobs=1",
        f"hydra.sweep.dir='{out}'",
        "hydra.output_subdir=null",
        "hydra/job_logging=none",
        "hydra/hydra_logging=none",
        *spaces,
    ]


def run_sweep(file: Path, overrides: Sequence[str], out: Path, *, count: int, seed: int = 0) -> list[Trial]:
    """Train one trial after another, each in ``out/NUMBER``.

    Args:
        overrides: ``key=value``, for every trial.

    Returns:
        The trials, best first.
    """
    sweep = read_sweep(file)
    target, *fixed = [word for word in sweep["command"][2:] if word != ARGUMENTS]
    chosen = multirun_arguments(sweep, out.resolve(), count=count, seed=seed)
    words = [*first_overrides(target), *fixed, *overrides, *chosen]
    trials: list[Trial] = []
    failures: list[LadingError] = []

    def trial(config: DictConfig) -> float:
        try:
            one = _train(sweep, target, config, out / str(HydraConfig.get().job.num))
        except LadingError as error:
            failures.append(error)
            raise
        trials.append(one)
        return one.value

    try:
        _multirun(trial, words)
    except SystemExit:  # Hydra has printed the reason.
        if failures:
            raise failures[0] from None
        raise
    return sorted(trials, key=lambda one: one.value, reverse=_goal(sweep) == "maximize")


def sweep_table(sweep: Mapping[str, Any], trials: Sequence[Trial]) -> Table:
    """The trials, best first."""
    names = list(sweep["parameters"])
    table = Table("trial", *names, sweep["metric"]["name"])
    for trial in trials:
        shown = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in trial.parameters.values()]
        table.add_row(trial.folder.name, *shown, f"{trial.value:.4f}", style="bold" if trial is trials[0] else None)
    return table


def _train(sweep: Mapping[str, Any], target: str, config: DictConfig, folder: Path) -> Trial:
    OmegaConf.resolve(config)
    parameters = {name: OmegaConf.select(config, name) for name in sweep["parameters"]}
    card, metric = read_card(train(load_spec(target), config, folder)), sweep["metric"]["name"]
    assert card is not None
    if metric not in card.metrics:
        raise SpecError(f"the sweep's metric {metric!r} is not one of a run's: {', '.join(card.metrics)}")
    return Trial(parameters=parameters, value=card.metrics[metric], folder=folder)


def _multirun(trial: Callable[[DictConfig], float], words: Sequence[str]) -> None:
    # Hydra's entry point reads its arguments from the command line, so set it.
    before, sys.argv = sys.argv, ["lading sweep", "--multirun", *words]
    GlobalHydra.instance().clear()
    try:
        with warnings.catch_warnings():
            # The sweeper needs Optuna 2.10, which warns about its own deprecated names.
            warnings.simplefilter("ignore")
            hydra.main(version_base="1.3", config_path="pkg://lading.build.train", config_name="train")(trial)()
    finally:
        sys.argv = before


def _goal(sweep: Mapping[str, Any]) -> str:
    goal = sweep["metric"].get("goal", "minimize")
    if goal not in {"maximize", "minimize"}:
        raise SpecError(f"the sweep's goal {goal!r} is neither maximize nor minimize")
    return str(goal)


def _space(sweep: Mapping[str, Any], name: str) -> str:
    """One parameter in Hydra's override grammar."""
    entry = sweep["parameters"][name]
    if "value" in entry:
        return _word(entry["value"])
    if "values" in entry:
        return f"choice({','.join(map(_word, entry['values']))})"
    if sweep["method"] == "grid":
        raise SpecError(f"parameter {name!r} has no values, which a grid needs")
    low, high = entry["min"], entry["max"]
    kind = entry.get("distribution", "int_uniform" if isinstance(low, int) and isinstance(high, int) else "uniform")
    if kind == "int_uniform":
        return f"int(interval({int(low)},{int(high)}))"
    if kind in {"uniform", "log_uniform_values"}:
        interval = f"interval({float(low)},{float(high)})"
        return interval if kind == "uniform" else f"tag(log, {interval})"
    raise SpecError(f"parameter {name!r} has the distribution {kind!r}, which only W&B's server samples")


def _word(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
