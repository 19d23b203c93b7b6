"""Structured pruning: remove channels from the network, then fine-tune it."""

from __future__ import annotations

import copy
from pathlib import Path

from omegaconf import DictConfig

from lading.build.channels import check_pruned, count_macs, remove_channels
from lading.build.facts import digest_of
from lading.build.train.checkpoint import RunCard, load_checkpoint, spec_of
from lading.build.train.train import CONFIG, fit, use_threads
from lading.files import claim, finish
from lading.spec import ModelSpec


def prune(
    spec: ModelSpec, share: float, checkpoint: Path, config: DictConfig, out: Path, *, resume: bool = False
) -> Path:
    """Remove at least a share of the multiply-accumulates, fine-tune, and write a checkpoint of the smaller shapes.

    Args:
        spec: the model; its outputs' layers and ``prune_protect`` stay whole.
        share: of the multiply-accumulates to remove, 0 to 1.
        checkpoint: the trained weights to start from.
        config: configuration of the fine-tuning. ``config.prune`` overrides ``config.optimizer`` and
            ``config.trainer``. The options of the model come from the checkpoint.
        out: folder to write ``<name>-pruned<percent>.safetensors`` and the run to.
        resume: the interrupted fine-tuning in ``out``.

    Returns:
        The checkpoint.

    Raises:
        PruneError: the network cannot be pruned, or not by this share.
    """
    weights = f"{spec.name}-pruned{round(share * 100)}.safetensors"
    claim(out, (weights,), known_by=CONFIG)
    use_threads(config)
    module, card = load_checkpoint(spec, checkpoint)
    spec = spec_of(spec, card.config.get("model", {}))
    before = count_macs(spec, module)
    remove_channels(spec, module, share, round_to=config.prune.round_to)
    check_pruned(spec, module)
    after = count_macs(spec, module)
    tuned = of_fine_tuning(config, card)
    pruned = fit(
        spec,
        module.train(),
        tuned,
        out,
        checkpoint=weights,
        resume=resume,
        started_from=digest_of(checkpoint),
        share=share,
        pruning=share,
        macs=after,
        parent=card,
        facts={"macs before": float(before), "macs removed": 1 - after / before},
    )
    finish(out)
    return pruned


def of_fine_tuning(config: DictConfig, card: RunCard | None) -> DictConfig:
    """The configuration of a fine-tuning: its own options, and those of the model that the weights have."""
    tuned = copy.deepcopy(config)
    tuned.model = {**config.model, **(card.config.get("model", {}) if card else {})}
    tuned.optimizer.lr = config.prune.lr
    tuned.trainer.max_epochs = config.prune.max_epochs
    return tuned
