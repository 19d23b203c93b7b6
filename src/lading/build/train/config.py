"""The configuration of a training run: the package's defaults, a model's experiment file, and the command line."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lading.build.collected import load_spec
from lading.errors import SpecError

CONFIGS = Path("configs")


def compose(target: str, overrides: Sequence[str] = (), config_dir: Path | None = None) -> DictConfig:
    """Compose the configuration of a run.

    Args:
        target: the model's import string; its constructor's arguments become the ``model.*`` keys.
        overrides: ``key=value``, as Hydra writes them.
        config_dir: folder that may hold ``experiment/NAME.yaml``; default: ``configs`` where the command runs.

    Raises:
        SpecError: an unknown key, or a value of the wrong form.
    """
    given = [*first_overrides(target, config_dir), *overrides]
    GlobalHydra.instance().clear()
    try:
        with initialize_config_module("lading.build.train", version_base="1.3"):
            config = hydra_compose("train", overrides=given)
    except (HydraException, OmegaConfBaseException) as error:
        reason = f"{error}" if error.__cause__ is None else f"{error}: {error.__cause__}"
        raise SpecError(f"the training configuration is wrong: {reason.splitlines()[0]}") from None
    OmegaConf.resolve(config)
    return config


def first_overrides(target: str, config_dir: Path | None = None) -> list[str]:
    """Register the model's options with Hydra. Returns the overrides that come before all others."""
    spec = load_spec(target)
    options = {
        name: parameter.default
        for name, parameter in inspect.signature(type(spec)).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    ConfigStore.instance().store(group="model", name="options", node=options)
    folder = (config_dir or CONFIGS).resolve()
    given = [f"target='{target}'"]
    if (folder / "experiment" / f"{spec.name}.yaml").is_file():
        given = [f"hydra.searchpath=['file://{folder}']", f"+experiment={spec.name}", *given]
    return given


def plain(config: DictConfig) -> dict[str, Any]:
    """The configuration as dicts and lists, for a file."""
    content = OmegaConf.to_container(config, resolve=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}
