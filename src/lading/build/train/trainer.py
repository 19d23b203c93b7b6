"""The Lightning trainer of a run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import lightning
from lightning.pytorch import callbacks as lightning_callbacks
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import DDPStrategy, Strategy
from omegaconf import DictConfig

from lading.build.train.processes import Processes, wanted
from lading.errors import SpecError

STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true")


def new_trainer(
    config: DictConfig, out: Path, loggers: list[Logger], group: Processes, extra: Sequence[lightning.Callback] = ()
) -> lightning.Trainer:
    """Make the trainer of a run.

    Args:
        config: ``config.trainer`` is read.
        out: folder for ``best.ckpt`` and ``last.ckpt``. Only the first process writes them.
        loggers: of this process; none in any but the first.
        group: the processes that train together.
        extra: more callbacks.

    Raises:
        SpecError: the configuration asks for other processes than there are, or for an unknown strategy.
    """
    given = config.trainer
    callbacks: list[lightning.Callback] = [
        # Not strict: if max_steps ends a run within its first epoch, there is no score yet.
        lightning_callbacks.EarlyStopping("valid/score", mode="max", patience=given.patience, strict=False),
        lightning_callbacks.ModelCheckpoint(
            out, filename="best", monitor="valid/score", mode="max", enable_version_counter=False
        ),
        # A callback of its own, because Lightning's save_last only writes together with the best.
        lightning_callbacks.ModelCheckpoint(out, filename="last", enable_version_counter=False),
        *extra,
    ]
    if loggers:
        callbacks.append(lightning_callbacks.LearningRateMonitor("step"))
    if given.progress:
        callbacks.append(lightning_callbacks.RichProgressBar(leave=True))
    return lightning.Trainer(
        accelerator=given.accelerator,
        devices=group.local_size,
        num_nodes=group.nodes,
        strategy=_strategy(config, group),
        use_distributed_sampler=False,  # EpochOrder and Processes.share assign the examples.
        max_epochs=given.max_epochs,
        max_steps=given.max_steps,
        max_time=timedelta(minutes=given.max_minutes) if given.max_minutes else None,
        precision=given.precision,
        gradient_clip_val=given.gradient_clip,
        logger=loggers,
        callbacks=callbacks,
        enable_progress_bar=given.progress,
        enable_model_summary=False,
        log_every_n_steps=10,
        num_sanity_val_steps=0,
    )


def check_processes(config: DictConfig, group: Processes) -> None:
    """Check that the configured number of processes was started.

    Raises:
        SpecError: says how to start them.
    """
    if group.size > 1:
        return
    if config.trainer.num_nodes > 1:
        raise SpecError(
            f"trainer.num_nodes={config.trainer.num_nodes}: several machines are started with torchrun on each, "
            "`torchrun --nnodes N --nproc-per-node M ... -m lading train ...`"
        )
    if wanted(config) > 1:
        raise SpecError(
            f"trainer.devices={config.trainer.devices}: `lading train` starts several processes, nothing else"
        )


def _strategy(config: DictConfig, group: Processes) -> Strategy | str:
    name = config.trainer.strategy
    if name not in STRATEGIES:
        raise SpecError(f"trainer.strategy={name!r} is not one of: {', '.join(STRATEGIES)}")
    if group.size == 1:
        return "auto"
    # Batch norms are synchronized and buffers start equal, so they stay equal. Broadcasting them before each forward
    # pass would also block validation, where the processes have shares of different length.
    return DDPStrategy(find_unused_parameters=name.endswith("_true"), forward_sync_buffers=False)
