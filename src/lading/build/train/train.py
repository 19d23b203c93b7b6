"""Training: from a spec and a configuration to a checkpoint with the run that made it."""

from __future__ import annotations

import contextlib
import logging
import math
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch import callbacks as lightning_callbacks
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from torch import nn

from lading.build.collected import load_spec
from lading.build.dry_run import dry_run
from lading.build.facts import digest_of
from lading.build.train.batch_norm import synced
from lading.build.train.batches import batches_in_order, training_batches
from lading.build.train.checkpoint import command_line, git_state, new_card, save_checkpoint, spec_of
from lading.build.train.config import compose, plain
from lading.build.train.loggers import log_results, run_id, run_loggers
from lading.build.train.made_of import begin, check_begun, data_of, weights_facts
from lading.build.train.module import SpecModule, evaluate
from lading.build.train.processes import Processes, current, joined, start_torchrun, wanted
from lading.build.train.profile import Profile
from lading.build.train.trainer import check_processes, new_trainer
from lading.build.verify.report import plot_confusion
from lading.build.verify.scores import confusion_counts
from lading.build.weights.imported import start_from
from lading.errors import DataError, OccupiedError, SpecError
from lading.spec import Dataset, ModelSpec

CONFIG = "config.yaml"
LAST = "last.ckpt"


def train_command(
    target: str,
    overrides: Sequence[str],
    *,
    out: Path | None,
    resume: Path | None = None,
    restartable: bool = False,
    profile: bool = False,
) -> Path:
    """Train from the command line: compose the configuration, choose the folder, start processes, train or resume.

    Args:
        restartable: go on with the run in ``out`` where it was interrupted, so that a scheduler may start the same
            command again.

    Raises:
        OccupiedError: the folder holds weights of another run.
        SpecError: the configuration is wrong, or the folder to resume holds no run, or that of another model.
    """
    with joined() as group:
        if restartable and resume is None:
            if out is None:
                raise SpecError("--restartable needs --out: a restart continues from that folder")
            resume = group.agree(out if (out / LAST).is_file() else None)
        if resume is not None:
            if out not in (None, resume):
                raise SpecError(f"--out {out} would have no effect: --resume goes on in {resume}. Leave it out")
            return _resume(resume, overrides, target=target, profile=profile)
        spec = load_spec(target)
        config = compose(target, overrides)
        started = datetime.now().strftime("%Y%m%d-%H%M%S")
        folder = group.agree(out or Path("runs") / spec.name / started)
        if (folder / f"{spec.name}.safetensors").exists():
            raise OccupiedError(f"{folder} holds the weights of another run: give another --out, or move them away")
        return _start(spec, config, folder, profile=profile)


def _resume(folder: Path, overrides: Sequence[str], *, target: str, profile: bool) -> Path:
    if not (folder / CONFIG).is_file() or not (folder / LAST).is_file():
        raise SpecError(f"{folder} holds no interrupted run: {CONFIG} and {LAST} are both needed")
    config = OmegaConf.load(folder / CONFIG)
    OmegaConf.set_struct(config, True)
    try:
        config = OmegaConf.merge(config, OmegaConf.from_dotlist(list(overrides)))
    except OmegaConfBaseException as error:
        raise SpecError(f"the training configuration is wrong: {str(error).splitlines()[0]}") from None
    assert isinstance(config, DictConfig)
    if target and not _same_target(target, str(config.target)):
        raise SpecError(
            f"{folder} holds a run of {config.target}, and not of {target}: give that model, or another run"
        )
    return _start(load_spec(config.target), config, folder, resume=True, profile=profile)


def _same_target(one: str, other: str) -> bool:
    """Whether two import strings name the same class; a file may be named by any path to it."""
    (file, _, name), (other_file, _, other_name) = one.partition(":"), other.partition(":")
    return name == other_name and (file == other_file or Path(file).resolve() == Path(other_file).resolve())


def _start(spec: ModelSpec, config: DictConfig, folder: Path, **going: bool) -> Path:
    """Train in this process, or start the configured number of processes on this machine."""
    if current().size == 1 and config.trainer.num_nodes == 1 and (processes := wanted(config)) > 1:
        Processes(size=processes).check_batch(config.data.batch_size)
        start_torchrun(sys.argv[1:], processes)
    return train(spec, config, folder, **going)


def train(
    spec: ModelSpec,
    config: DictConfig,
    out: Path,
    *,
    resume: bool = False,
    profile: bool = False,
    tried: bool = False,
) -> Path:
    """Train a new module or the one in ``config.init``, or resume the interrupted run in ``out``.

    Args:
        spec: the model; constructed again with ``config.model``.
        config: what :func:`compose` returned.
        out: the run folder: resolved configuration, CSV metrics, confusion plots, offline W&B run, checkpoint.
        tried: a dry run of the model has passed already.

    Returns:
        The checkpoint, ``<name>.safetensors`` in ``out``.

    Raises:
        SpecError: the dry run before the first epoch found that model, data, loss and score do not fit together.
        PruneError: it found that a required variant cannot be pruned.
    """
    check_processes(config, current())
    spec = spec_of(spec, _options(config))
    if not (tried or resume):
        with current().one_first(shared=config.data.shared):
            sentences = dry_run(spec, round_to=config.prune.round_to)
        if current().first:
            for sentence in sentences:
                Console().print(sentence, markup=False, highlight=False, soft_wrap=True)
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    if config.init is None:
        fresh = spec.build()
        with current().one_first(shared=config.data.shared):
            spec.adapt(fresh)
        return fit(spec, fresh, config, out, resume=resume, profile=profile)
    start = Path(config.init)
    module, card = start_from(spec, start)
    kept: dict[str, Any] = {"pruning": card.pruning, "macs": card.macs, "parent": card} if card else {}
    return fit(spec, module.train(), config, out, resume=resume, profile=profile, started_from=digest_of(start), **kept)


def fit(
    spec: ModelSpec,
    module: nn.Module,
    config: DictConfig,
    out: Path,
    *,
    resume: bool = False,
    profile: bool = False,
    checkpoint: str | None = None,
    facts: Mapping[str, float] | None = None,
    started_from: str | None = None,
    share: float | None = None,
    **card: Any,
) -> Path:
    """Train a module as configured, keep the weights with the best validation score, and score the test splits.

    Args:
        profile: also write where the time of some steps goes, to ``profile`` in ``out``.
        checkpoint: file name to write; default ``<name>.safetensors``.
        facts: more metrics to record.
        started_from: digest of the weights that the module holds; ``None`` for new ones.
        share: that was pruned before; ``None`` for a training.
        card: more fields of the run's card, such as ``pruning``.
    """
    card = git_state() | card
    group = current()
    if group.first:
        check_begun(out)
        out.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(config, out / CONFIG)
    use_threads(config)
    if any(parameter.ndim == 4 for parameter in module.parameters()):
        # Convolutions in channels-last order train up to 1.7 times faster on CPUs (docs/training.md).
        module = module.to(memory_format=torch.channels_last)
    if group.size > 1:
        module = synced(module, on_gpu=config.trainer.accelerator != "cpu" and torch.cuda.is_available())
        # Weights are now the same in all processes. Dropout must differ between them, so seed by rank.
        torch.manual_seed(config.seed + group.rank)
    settings = config.optimizer
    lit = SpecModule(
        spec,
        module,
        lr=settings.lr,
        weight_decay=settings.weight_decay,
        warmup=settings.warmup,
        freeze=tuple(settings.freeze),
        compiled=config.trainer.compile,
    )
    with group.one_first(shared=config.data.shared):
        training, validation = prepared(spec, "train"), prepared(spec, "valid")
    if group.first:
        seen = data_of(training, validation)
        if not resume:  # or the next run would resume another one
            (out / LAST).unlink(missing_ok=True)
        made_of = begin(out, weights_facts(spec, config, seen, parent=started_from, share=share), resume=resume)
    data = {
        "batch_size": config.data.batch_size,
        "workers": config.data.workers,
        "prefetch": config.data.prefetch,
        "group": group,
    }
    with _quiet():
        loggers = run_loggers(spec, config, out, resume=resume) if group.first else []
        extra = [Profile(out / "profile")] if profile and group.first else []
        trainer = new_trainer(config, out, loggers, group, extra)
        judging = batches_in_order(spec, validation, **data)
        trainer.fit(
            lit,
            training_batches(spec, training, seed=config.seed, **data),
            judging,
            ckpt_path=out / LAST if resume else None,
            weights_only=True if resume else None,
        )
        ended = None
        if lit.judged_at != trainer.global_step:  # max_steps or max_minutes ended the run within an epoch.
            ended = float(trainer.validate(lit, judging, verbose=False)[0]["valid/score"])
        path = out / (checkpoint or f"{spec.name}.safetensors")
        if group.first:
            metrics = {"valid/score": _load_best(trainer, lit, ended)}
            metrics |= score_splits(spec, lit.module.eval(), out) | dict(facts or {})
            # No record holds NaN: JSON has no form for it. The gates tell that a score is none.
            metrics = {name: value for name, value in metrics.items() if math.isfinite(value)}
            steps = trainer.global_step
            # Weights that were only scored saw none of the configured data.
            read = seen["train"].text if steps else None
            card |= {"processes": group.size, "steps": steps, "data_fingerprint": read, "made_of": made_of}
            card |= {"command": command_line(), "config": plain(config), "run_id": run_id(loggers)}
            save_checkpoint(path, lit.module, new_card(spec, lit.module, metrics=metrics, **card))
            log_results(loggers, metrics, path, out)
        group.wait()
    return path


def prepared(spec: ModelSpec, split: str) -> Dataset:
    """Open a split, and call its ``prepare`` method if it has one, because it will be read many times.

    Raises:
        DataError: the split is empty.
    """
    dataset = spec.dataset(split)
    prepare = getattr(dataset, "prepare", None)
    if prepare is not None:
        prepare()
    if len(dataset) == 0:
        raise DataError(f"the {split} split of {spec.name} is empty")
    return dataset


def use_threads(config: DictConfig) -> None:
    """Set the configured number of torch threads. Its default is very slow if other processes use the cores."""
    if config.trainer.threads:
        torch.set_num_threads(config.trainer.threads)


def _load_best(trainer: lightning.Trainer, lit: SpecModule, ended: float | None) -> float:
    """Load the weights with the best validation score, unless the last ones are better.

    Args:
        ended: score of the last weights; ``None`` where they are an epoch's.

    Returns:
        The validation score of the weights that are kept.
    """
    checkpoint = trainer.checkpoint_callback
    assert isinstance(checkpoint, lightning_callbacks.ModelCheckpoint)
    best = checkpoint.best_model_score
    if ended is not None and (best is None or ended >= float(best)):
        return ended
    assert best is not None
    lit.load_state_dict(torch.load(checkpoint.best_model_path, weights_only=True)["state_dict"])
    return float(best)


def score_splits(spec: ModelSpec, module: nn.Module, out: Path) -> dict[str, float]:
    """Score every test split, and plot the confusion of each labelled output on the first."""
    metrics = {}
    for split in spec.test_splits:
        outputs, targets = evaluate(spec, module, prepared(spec, split))
        metrics[f"{split}/{spec.score_name}"] = spec.score(outputs, targets)
        for tensor in spec.outputs:
            if tensor.labels is None or tensor.name not in targets or targets[tensor.name].dtype.kind not in "iu":
                continue
            predicted = outputs[tensor.name].argmax(axis=-1)
            metrics[f"{split}/{tensor.name} accuracy"] = float(np.mean(predicted == targets[tensor.name]))
            if split == spec.test_splits[0]:
                counts = confusion_counts(targets[tensor.name], predicted, len(tensor.labels))
                plot_confusion(counts, tensor.labels, out / f"confusion-{tensor.name}.png", title=tensor.name)
    return metrics


def _options(config: DictConfig) -> dict[str, Any]:
    options = OmegaConf.to_container(config.model, resolve=True)
    assert isinstance(options, dict)
    return {str(key): value for key, value in options.items()}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's hints about devices, workers and checkpoints."""
    names = ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero", "lightning.fabric")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
