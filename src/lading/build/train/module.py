"""The Lightning module of a ModelSpec."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import lightning
import numpy as np
import torch
from torch import nn
from torch._dynamo.exc import TorchDynamoException

from lading.build.examples import as_large, place_in
from lading.build.train.batches import Batch, batches_in_order
from lading.build.train.processes import current
from lading.errors import DivergedError, LadingError, SpecError
from lading.spec import Array, Dataset, ModelSpec


class SpecModule(lightning.LightningModule):
    """Trains ``module`` with the spec's loss, and validates it with the spec's score on the whole validation split.

    Args:
        spec: names the outputs; gives loss and score.
        module: the network.
        lr: the peak of the one-cycle schedule.
        weight_decay: of weights; norms and biases are not decayed.
        warmup: share of the steps until the peak, 0 to 1.
        freeze: names of submodules that stay as they are.
        compiled: train through ``torch.compile``; validation, which has other shapes, stays eager.
    """

    def __init__(
        self,
        spec: ModelSpec,
        module: nn.Module,
        *,
        lr: float,
        weight_decay: float,
        warmup: float,
        freeze: Sequence[str] = (),
        compiled: bool = False,
    ) -> None:
        super().__init__()
        self.spec, self.module = spec, module
        self.lr, self.weight_decay, self.warmup = lr, weight_decay, warmup
        self._frozen = frozen_parts(module, freeze)
        self._answer: Callable[..., dict[str, torch.Tensor]] = torch.compile(self.forward) if compiled else self.forward
        self.group = current()
        self.judged_at: int | None = None
        """Training step of the last validation."""
        self._last_loss: torch.Tensor | None = None
        self._answers: list[dict[str, Array]] = []
        self._targets: list[dict[str, Array]] = []

    def train(self, mode: bool = True) -> SpecModule:
        super().train(mode)
        keep_frozen(self._frozen)
        return self

    def forward(self, *inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        return answer_by_name(self.spec, self.module, inputs)

    def training_step(self, batch: Batch, _index: int) -> torch.Tensor:
        inputs, targets = batch
        try:
            outputs = self._answer(*inputs)
        except TorchDynamoException as error:
            reason = str(error).strip().splitlines()[0][:200]
            raise SpecError(f"trainer.compile=true: torch.compile cannot compile the network: {reason}") from error
        loss: torch.Tensor = self._told("loss", outputs, targets)
        together = self.group.size > 1
        self.log("train/loss", loss, prog_bar=True, on_step=True, on_epoch=False, batch_size=1, sync_dist=together)
        self._last_loss = loss.detach()
        return loss

    def on_train_epoch_end(self) -> None:
        # Once a weight is NaN, every later loss is: one look at the end of an epoch is enough, and costs no step.
        if self._last_loss is not None and self._last_loss.isnan():
            raise DivergedError(
                f"the loss is NaN at the end of epoch {self.current_epoch + 1}, so no weights come of this run: lower "
                f"optimizer.lr, which is {self.lr:g}, or look for a logarithm or a division of 0 in loss()"
            )

    def validation_step(self, batch: Batch, _index: int) -> None:
        inputs, targets = batch
        outputs = self(*inputs)
        loss = self._told("loss", outputs, targets)
        size, together = len(next(iter(targets.values()))), self.group.size > 1
        self.log("valid/loss", loss, on_epoch=True, on_step=False, batch_size=size, sync_dist=together)
        self._answers.append({name: tensor.float().cpu().numpy() for name, tensor in outputs.items()})
        self._targets.append({name: tensor.cpu().numpy() for name, tensor in targets.items()})

    def on_validation_epoch_end(self) -> None:
        # Every process has the answers of the whole split, so all get the same score and stop together.
        score = self._told("score", join(self.group.gather(self._answers)), join(self.group.gather(self._targets)))
        self._answers.clear()
        self._targets.clear()
        self.judged_at = self.trainer.global_step
        self.log("valid/score", score, prog_bar=True)

    def _told(self, method: str, outputs: Mapping[str, Any], targets: Mapping[str, Any]) -> Any:
        """Call the spec's ``loss`` or ``score``, in which any batch may be the first that does not fit.

        Raises:
            SpecError: it fails; the message has the line of the user's file.
        """
        try:
            return getattr(self.spec, method)(outputs, targets)
        except LadingError:
            raise
        except Exception as error:  # the user's code may raise anything, in the middle of a long run
            reason = (str(error).strip().splitlines() or [""])[0][:300]
            raise SpecError(
                f"{place_in(type(self.spec), error)}: {method}() fails in epoch {self.current_epoch + 1}: "
                f"{type(error).__name__}: {reason}"
            ) from error

    def configure_optimizers(self) -> Any:
        # No weight decay for norms and biases, as usual since "Bag of Tricks" (arXiv:1812.01187).
        trained = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        decayed = [parameter for parameter in trained if parameter.ndim > 1]
        free = [parameter for parameter in trained if parameter.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": self.weight_decay}, {"params": free, "weight_decay": 0.0}]
        # Fused: one pass over the weights instead of ten. With mixed precision gradients are unscaled first, which the
        # fused optimizer would do itself.
        fused = "mixed" not in str(self.trainer.precision)
        optimizer = torch.optim.AdamW([group for group in groups if group["params"]], lr=self.lr, fused=fused)
        # A run without steps validates and scores the initial weights.
        steps = max(1, int(self.trainer.estimated_stepping_batches))
        schedule = _OneCycle(optimizer, self.lr, total_steps=steps, pct_start=self.warmup)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class _OneCycle(torch.optim.lr_scheduler.OneCycleLR):
    """The one-cycle schedule. A resumed run keeps its step, but may have another length."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        own = ("total_steps", "_schedule_phases")
        super().load_state_dict({key: value for key, value in state_dict.items() if key not in own})


def evaluate(
    spec: ModelSpec, module: nn.Module, split: Dataset, *, batch_size: int = 64
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Run a whole split. Returns outputs and targets by name, with all examples."""
    answers, wanted = [], []
    with torch.inference_mode():
        for inputs, targets in batches_in_order(spec, split, batch_size=batch_size):
            outputs = answer_by_name(spec, module, inputs)
            answers.append({name: tensor.float().numpy() for name, tensor in outputs.items()})
            wanted.append({name: tensor.numpy() for name, tensor in targets.items()})
    return join(answers), join(wanted)


def answer_by_name(spec: ModelSpec, module: nn.Module, inputs: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
    answer = module(*inputs)
    answers = answer if isinstance(answer, tuple | list) else (answer,)
    return {tensor.name: one for tensor, one in zip(spec.outputs, answers, strict=True)}


def join(parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    return {name: np.concatenate(as_large([part[name] for part in parts], joined=0)) for name in parts[0]}


def frozen_parts(module: nn.Module, names: Sequence[str]) -> list[nn.Module]:
    """Freeze the weights of submodules.

    Their norms must stay in evaluation mode too, or their statistics would move: :func:`keep_frozen`.

    Args:
        module: the network.
        names: of submodules, as ``named_modules`` has them, such as ``backbone.features.0``.

    Raises:
        SpecError: no submodule has that name.
    """
    known = dict(module.named_modules())
    for name in names:
        if not name or name not in known:
            near = ", ".join(list(dict(module.named_children()))) or "none"
            raise SpecError(
                f"optimizer.freeze names {name!r}, but there is no such submodule; the outermost ones are: {near}"
            )
        known[name].requires_grad_(False)
    return keep_frozen([known[name] for name in names])


def keep_frozen(parts: list[nn.Module]) -> list[nn.Module]:
    """Set frozen parts to evaluation mode again, after the network was set to training mode."""
    for part in parts:
        part.eval()
    return parts
