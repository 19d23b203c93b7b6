"""A dry run: one or two examples of each split go through everything that training and a build do with them.

It takes seconds, so that what does not fit together is told before the first epoch, and not after the last.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import random
import tempfile
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import nn

from lading.build.channels import ROUND_TO, try_pruning
from lading.build.examples import join, read_example, spread, targets
from lading.build.export.export import export_module
from lading.build.export.exporters import place_of, shown_path, trace
from lading.build.own_source import source_files
from lading.build.train.batches import join_examples
from lading.errors import ExportError, LadingError, RequestError, SpecError
from lading.spec import Array, Dataset, Example, ModelSpec, TensorSpec
from lading.tensors.checks import check_inputs, fits
from lading.tensors.lengths import Lengths

TAKEN = 2
"""Examples of each split: a batch of one shows a missing dim, a batch of two what cannot be joined."""
SCORED = 128
"""Examples that a score gets before its error counts: the rank of two examples of one class, for one, has no value."""


def dry_run(
    spec: ModelSpec,
    module: nn.Module | None = None,
    *,
    shares: Collection[float] | None = None,
    round_to: int = ROUND_TO,
) -> list[str]:
    """Run examples through the data set, forward, loss, backward, score, the tracer and pruning.

    Args:
        spec: the model.
        module: what ``spec.build()`` returned, before training; default: a new one. It is left as it is, as are the
            states of the random generators.
        shares: of the multiply-accumulates that will be removed; default: those of the variants.
        round_to: pruning leaves a multiple of this number of channels.

    Returns:
        A sentence for each share that cannot be removed, where no required variant needs it.

    Raises:
        SpecError: they do not fit together. The message is one sentence, with the file and line of the user's code.
        PruneError: a required variant cannot be pruned.
    """
    if shares is None:
        shares = {variant.pruning for variant in spec.variants} - {0.0}
    spec = copy.copy(spec)  # what its methods keep on it is of the dry run alone
    with _as_it_was():
        own = _Own(spec)
        with own.telling("build()"):
            module = copy.deepcopy(module) if module is not None else spec.build()
        if not isinstance(module, nn.Module):
            own.refuse("build", f"build() returns {_kind(module)}; a torch.nn.Module is wanted")
        _refuse_lazy(own, module)
        fresh = copy.deepcopy(module) if shares else module  # what a forward pass leaves may not be copied
        examples: dict[str, list[Example]] = {}
        for split in dict.fromkeys(("train", "valid", *spec.test_splits)):
            examples[split] = _examples(own, split)
        for split, some in examples.items():
            _forward(own, module, split, some)
        _train(own, module, examples["train"])
        _score(own, module, examples["valid"])
        _trace(own, module)
        return _prune(spec, fresh, shares, examples, round_to)


class _Own:
    """The user's files: what is told about them has a file and a line."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.files = {path.resolve() for path in source_files(spec).values()}

    def refuse(self, method: str, sentence: str) -> NoReturn:
        """Refuse what a method returned."""
        raise SpecError(f"{self._place_of(method)}: {sentence}")

    @contextlib.contextmanager
    def telling(self, what: str, hint: str = "") -> Iterator[None]:
        """Turn an error of the user's code into a sentence with the line that raised it."""
        try:
            yield
        except LadingError:
            raise
        except Exception as error:  # the user's code may raise anything
            place = place_of(error, self.files) or self._place_of(what.partition("(")[0])
            raise SpecError(f"{place}: {what} fails: {_reason(error)}{hint}") from error

    def _place_of(self, method: str) -> str:
        for found in (getattr(type(self.spec), method, None), type(self.spec)):
            try:
                file = inspect.getsourcefile(found)  # type: ignore[arg-type]  # None raises TypeError
                line = inspect.getsourcelines(found)[1]  # type: ignore[arg-type]
            except (TypeError, OSError):
                continue
            if file and Path(file).resolve() in self.files:
                return f"{shown_path(file)}:{line}"
        return type(self.spec).__qualname__


def _examples(own: _Own, split: str) -> list[Example]:
    """The first and the last example of a split."""
    spec, name = own.spec, f"dataset({split!r})"
    with own.telling(name):
        dataset: Dataset = spec.dataset(split)
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        own.refuse(
            "dataset", f"{name} returns {_kind(dataset)}, which has no length or no items; return a list of pairs"
        )
    with own.telling(name):
        _prepare_if_needed(dataset)
        size = len(dataset)
    if size == 0:
        own.refuse("dataset", f"{name} is empty: the {split} split of {spec.name} needs examples")
    found = []
    for index in sorted({0, size - 1}):
        with own.telling(f"{name}[{index}]"):
            raw = dataset[index]
        _check_pair(own, f"{name}[{index}]", raw)
        found.append(read_example(dataset, index))
        _check_arrays(own, f"{name}[{index}]", found[-1])
        try:
            check_inputs(spec.inputs, found[-1][0], example=True)
        except RequestError as error:
            own.refuse("dataset", f"{name}[{index}]: {error}{_without_batch(spec.inputs, found[-1][0])}")
    names = [sorted(target) for _, target in found]
    if names[0] != names[-1]:
        own.refuse("dataset", f"the targets of {name}[0] are {names[0]}, and of its last example {names[-1]}")
    return found


def _refuse_lazy(own: _Own, module: nn.Module) -> None:
    lazy = [
        name for name, value in (*module.named_parameters(), *module.named_buffers()) if nn.parameter.is_lazy(value)
    ]
    if lazy:
        own.refuse(
            "build",
            f"build() returns a module without a size for {lazy[0]!r}, so no weights could be loaded into it: give the "
            "layer its sizes, or run one batch through the module in build()",
        )


def _prepare_if_needed(dataset: Dataset) -> None:
    """Two examples do not pay for preparing a whole split, where they can be read without."""
    prepare = getattr(dataset, "prepare", None)
    if prepare is None:
        return
    try:
        readable = len(dataset) > 0 and dataset[len(dataset) - 1] is not None
    except Exception:  # the user's data set may raise anything before it is prepared
        readable = False
    if not readable:
        prepare()


def _check_pair(own: _Own, name: str, raw: Any) -> None:
    wanted = "return a pair of dicts, inputs by name and targets by name"
    if not isinstance(raw, tuple | list) or len(raw) != 2:
        count = f" of {len(raw)}" if isinstance(raw, tuple | list) else ""
        own.refuse("dataset", f"{name} is {_kind(raw)}{count}; {wanted}")
    for what, part in zip(("inputs", "targets"), raw, strict=True):
        if not isinstance(part, Mapping):
            own.refuse("dataset", f"{name} has {_kind(part)} as its {what}; {wanted}")


def _check_arrays(own: _Own, name: str, example: Example) -> None:
    for key, value in example[0].items():
        if not isinstance(value, np.ndarray | np.generic):
            own.refuse("dataset", f"{name} has {_kind(value)} as its input {key!r}; give a NumPy array or a tensor")


def _without_batch(inputs: Sequence[TensorSpec], given: Mapping[str, Array]) -> str:
    for tensor in inputs:
        array = np.asarray(given.get(tensor.name))
        if tensor.batched and array.ndim == len(tensor.shape) and array.shape[0] == 1:
            return ": an example has no batch dim, so return array[0]"
    return ""


def _forward(own: _Own, module: nn.Module, split: str, examples: list[Example]) -> None:
    """Batches of one and of two, in evaluation mode."""
    module.eval()
    if Lengths(tuple(own.spec.inputs)).pictures:  # they may differ in size until they are augmented
        together = [[example] for example in examples]
    else:
        together = list({1: examples[:1], len(examples): examples}.values())
    for some in together:
        first = _answer(own, module, split, some)
    if split != "train":
        return
    again = _answer(own, module, split, some)
    other = [name for name, one in first.items() if not _alike(one, again[name])]
    if other:
        own.refuse(
            "build",
            f"forward gives another {other[0]!r} for the same batch of {split!r} when it is called again: in "
            "evaluation mode it must not draw random numbers (functional.dropout takes training=self.training) or "
            "remember a call",
        )


def _alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Equal but for rounding, as sums are added in another order."""
    if not one.is_floating_point() or one.shape != other.shape:
        return torch.equal(one, other)
    return torch.allclose(one, other, rtol=1e-4, atol=1e-6, equal_nan=True)


def _answer(own: _Own, module: nn.Module, split: str, examples: list[Example]) -> dict[str, torch.Tensor]:
    spec, size = own.spec, len(examples)
    of = f"a batch of {size} of {split!r}"
    try:
        inputs, _ = join_examples(spec, examples)
    except Exception as error:  # NumPy's, where shapes differ
        shapes = "; ".join(
            f"{name!r} is {' and '.join(str(list(np.shape(part[name]))) for part in parts)}"
            for parts in ([given for given, _ in examples], [target for _, target in examples])
            for name in parts[0]
            if len({np.shape(part[name]) for part in parts}) > 1
        )
        own.refuse("dataset", f"{of} cannot be joined: {shapes or _reason(error)}. Pad them to one size, in dataset()")
    shapes = ", ".join(f"{t.name} {t.dtype} {list(array.shape)}" for t, array in zip(spec.inputs, inputs, strict=True))
    with own.telling(f"forward on {of}", f" (it gets {shapes})"):
        answer = module(*inputs)
    names = [tensor.name for tensor in spec.outputs]
    listed = ", ".join(names)
    if isinstance(answer, Mapping):
        keys = ", ".join(map(str, answer))
        own.refuse("build", f"forward returns a dict of {keys}; return a tuple in this order: {listed}")
    answers = list(answer) if isinstance(answer, tuple | list) else [answer]
    if len(answers) != len(names):
        own.refuse("build", f"forward returns {len(answers)} outputs, and the spec has {len(names)}: {listed}")
    sizes: dict[Any, int] = {}
    for tensor, array in zip(spec.inputs, inputs, strict=True):
        sizes.update(zip(tensor.shape, array.shape, strict=False))
    for tensor, one in zip(spec.outputs, answers, strict=True):
        _check_output(own, tensor, one, sizes, of)
    return dict(zip(names, answers, strict=True))


def _check_output(own: _Own, tensor: TensorSpec, one: Any, sizes: Mapping[Any, int], of: str) -> None:
    if not isinstance(one, torch.Tensor):
        own.refuse("build", f"forward returns {_kind(one)} as output {tensor.name!r}; a tensor is wanted")
    dtype = str(one.dtype).removeprefix("torch.")
    if dtype != tensor.dtype:
        own.refuse("build", f"forward returns output {tensor.name!r} as {dtype}, and the spec has {tensor.dtype}")
    wanted = [sizes.get(dim, dim) if isinstance(dim, str) else dim for dim in tensor.shape]
    if not fits(wanted, one.shape):
        own.refuse(
            "build",
            f"forward returns output {tensor.name!r} of shape {list(one.shape)} for {of}, and the spec has "
            f"{list(tensor.shape)}",
        )


def _train(own: _Own, module: nn.Module, examples: list[Example]) -> None:
    """One step without an update, in training mode."""
    spec = own.spec
    with own.telling("augment()"):
        augmented = [(spec.augment(given, np.random.default_rng(0)), target) for given, target in examples]
    if len(augmented) < TAKEN:
        augmented *= TAKEN  # batch norm needs two
    module.train()
    inputs, wanted = join_examples(spec, augmented)
    with own.telling("forward in training mode"):
        answer = module(*inputs)
    answers = answer if isinstance(answer, tuple | list) else (answer,)
    outputs = {tensor.name: one for tensor, one in zip(spec.outputs, answers, strict=True)}
    with own.telling("loss()", f" ({_described(outputs, wanted)})"):
        loss = spec.loss(outputs, wanted)
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
        what = f"a tensor of shape {list(loss.shape)}" if isinstance(loss, torch.Tensor) else _kind(loss)
        own.refuse("loss", f"loss() returns {what}; training minimises one number, such as the mean")
    if not loss.isfinite():
        own.refuse(
            "loss", f"loss() is {loss.item():g} for the first examples, before any training: no weights come of it"
        )
    if not loss.requires_grad:
        own.refuse("loss", "loss() returns a number that no weight changes: it was detached, or made under no_grad")
    with own.telling("the backward pass of loss()"):
        loss.backward()  # type: ignore[no-untyped-call]
    module.eval()


def _score(own: _Own, module: nn.Module, examples: list[Example]) -> None:
    """The score of two examples; where it fails, of more: some scores have no value for so few."""
    try:
        _score_of(own, module, examples)
    except SpecError as first:
        if isinstance(first.__cause__, KeyError | AttributeError | NameError):
            raise  # more examples have no other names
        more = spread(own.spec.dataset("valid"), SCORED)
        if len(more) <= len(examples):
            raise
        _score_of(own, module, more)


def _score_of(own: _Own, module: nn.Module, examples: list[Example]) -> None:
    with torch.inference_mode():
        parts = [_answer(own, module, "valid", [example]) for example in examples]
    answers = [[part[tensor.name].float().numpy() for tensor in own.spec.outputs] for part in parts]
    outputs = join(own.spec.outputs, answers)
    wanted = targets(examples)
    with own.telling("score()", f" ({_described(outputs, wanted)})"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = own.spec.score(outputs, wanted)
    if found is None or np.size(found) != 1:
        own.refuse("score", f"score() returns {_kind(found)}; one number is wanted, and higher is better")
    with own.telling("score()"):
        float(found)


def _trace(own: _Own, module: nn.Module) -> None:
    """Trace it. Only where torch.export fails, the slow export is tried as a whole: it has other ways."""
    if trace(own.spec, module).error is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            export_module(own.spec, module, Path(folder) / "tried.onnx")
        except ExportError as error:
            raise SpecError(f"{own.spec.name} cannot be exported: {'; '.join(error.failures)}") from error


def _prune(
    spec: ModelSpec, module: nn.Module, shares: Collection[float], examples: dict[str, list[Example]], round_to: int
) -> list[str]:
    """Prune copies. The sentences are those that the variants will be refused with."""
    spec = copy.copy(spec)
    vars(spec)["dataset"] = examples.__getitem__  # no split is opened again
    torch.set_num_threads(1)  # many small steps: with more threads than free cores, each one would wait
    problems = try_pruning(spec, module, shares, round_to=round_to)
    return [f"there will be no variant with {share:.0%} pruned: {why}" for share, why in sorted(problems.items())]


@contextlib.contextmanager
def _as_it_was() -> Iterator[None]:
    """Put every random generator back to where it was: a run does not depend on whether it was tried before."""
    numpy_state, python_state = np.random.get_state(), random.getstate()  # the user's code may use it
    threads = torch.get_num_threads()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        torch.set_num_threads(threads)


def _described(outputs: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    def listed(parts: Mapping[str, Any]) -> str:
        return ", ".join(
            f"{name} {str(array.dtype).removeprefix('torch.')} {list(array.shape)}" for name, array in parts.items()
        )

    return f"its outputs are {listed(outputs)}, its targets {listed(wanted) or 'none'}"


def _kind(value: object) -> str:
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def _reason(error: Exception) -> str:
    text = (str(error).strip().splitlines() or [""])[0][:300]
    kind = type(error).__name__
    return f"{kind}: {text}" if text else kind
