"""Load a weights file into a module, whole or not at all, and say what was changed to make it fit."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from lading.build.weights.file import WeightsFile, equal, read_weights
from lading.build.weights.fit import Match, common_prefix, groups_of, matches, prefixes, roots
from lading.build.weights.shapes import fit_shapes
from lading.errors import CheckpointError

COUNTER = "num_batches_tracked"
"""Buffer of a batch norm that only training with a cumulative average reads, which nothing here does."""
SHOWN = 20
"""Names in a message."""


@dataclass(frozen=True)
class Loaded:
    """What was done to make a file fit."""

    format: str
    renamed: Mapping[str, str]
    """Front of the names in the module by their front in the file."""
    tied: Mapping[str, str]
    """Name that the file lacks, and the one that shares its tensor."""
    dropped: Mapping[str, int]
    """What is in the file and not in the module: an entry, or a name that holds several, and how many."""
    cast: Mapping[str, int]
    """``float16 to float32``, and the number of tensors."""
    counters: int
    """Batch counters of the file, which are not kept."""

    @property
    def exact(self) -> bool:
        """The file holds the module's tensors under the module's own names, and nothing else."""
        return not (self.renamed or self.tied or self.dropped or self.cast or self.counters)

    def sentences(self) -> list[str]:
        """One line for each kind of change."""
        lines = []
        if self.renamed:
            pairs = [f"{old or '(none)'} to {new or '(none)'}" for old, new in self.renamed.items()]
            lines.append(f"renamed, by the front of the names: {_listed(pairs)}")
        if self.tied:
            lines.append(f"added, as they share a tensor: {_listed(f'{a} from {b}' for a, b in self.tied.items())}")
        if self.dropped:
            named = (name if count == 1 else f"{name} ({count} entries)" for name, count in self.dropped.items())
            lines.append(f"dropped, as the model has no such names: {_listed(named)}")
        if self.counters:
            lines.append(f"dropped: {COUNTER} of {self.counters} layers, which only training could read")
        if self.cast:
            lines.append(f"converted: {_listed(f'{count} tensors {kind}' for kind, count in self.cast.items())}")
        return lines


def state_of(module: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors of a module that a checkpoint must have: parameters and buffers, without batch counters."""
    state = module.state_dict().items()
    return {name: value for name, value in state if isinstance(value, torch.Tensor) and not name.endswith(COUNTER)}


def fill(module: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put tensors into a module, as ``load_state_dict`` does, which raises what it raises.

    Names and shapes are known to fit. A layer may ask for the version of its class that wrote them, as MNASNet does.
    safetensors has no place for it, so the layer is told its own.
    """
    state = OrderedDict(tensors)
    state._metadata = getattr(module.state_dict(), "_metadata", {})  # type: ignore[attr-defined]
    module.load_state_dict(state, strict=False)


def load_into(
    module: nn.Module,
    path: Path,
    model: str,
    *,
    resize: bool = False,
    part: str | None = None,
    drop: Collection[str] = (),
) -> Loaded:
    """Load a file's tensors into a module.

    Args:
        module: changed in place.
        path: safetensors, or what torch.save wrote.
        model: its name, for errors.
        resize: give layers the sizes in the file, as pruning left them.
        part: name under which the weights lie in the file, where it holds several that fit.
        drop: names inside the network that the file may have and the module need not.

    Raises:
        CheckpointError: the file cannot be read, a tensor is missing or has another shape, the file has more inside the
            network, or several sets of weights fit. Nothing was loaded.
    """
    file = read_weights(path)
    state = state_of(module)
    match = _choose(path, model, state, file, resize=resize, part=part)
    more = [name for name in _more_inside(module, file, match) if name not in drop]
    if more:
        raise CheckpointError(
            f"{path} does not fit {model}: it has {_listed(map(repr, more))} inside the network, which the model has "
            f"not, so the answers would change. If not, allow it: `lading import {path} MODEL --drop {more[0]}`"
        )
    found = {name: file.tensors[theirs] for name, theirs in match.items()}
    if resize:
        fit_shapes(module, found)
        state = state_of(module)
    _check(path, model, state, found)
    _refuse_diverged(path, module, found)
    try:
        fill(module, found)
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit {model}: {str(error).splitlines()[-1].strip()}") from None
    return _loaded(file, state, match)


def _choose(
    path: Path, model: str, state: Mapping[str, torch.Tensor], file: WeightsFile, *, resize: bool, part: str | None
) -> Match:
    held = [name for name in file.tensors if part is None or f"{name}.".startswith(f"{part}.")]
    if not held:
        inside = f" under {part!r}; it has {_listed(_tops(file.tensors))}" if part else ""
        raise CheckpointError(f"{path} holds no tensors{inside}")
    groups = groups_of(state)
    complete, partial = matches(groups, held)
    if not complete:
        raise CheckpointError(f"{path} does not fit {model}: {_lacking(groups, partial, held)}")
    if not resize:
        fits = [match for match in complete if all(file.tensors[b].shape == state[a].shape for a, b in match.items())]
        complete = fits or complete
    first, *others = complete
    same = all(_equal(file.tensors, first, other) for other in others)
    if same:
        return first
    places = {common_prefix(match.values()): match for match in complete}
    if part in places:
        return places[part]
    raise CheckpointError(
        f"{path} holds {len(complete)} different sets of weights that fit {model}: {_listed(map(repr, places))}. "
        f"Choose one: `lading import {path} MODEL --part {next(iter(places))}`"
    )


def _equal(tensors: Mapping[str, torch.Tensor], one: Match, other: Match) -> bool:
    return one.keys() == other.keys() and all(
        one[name] == other[name] or equal(tensors[one[name]], tensors[other[name]]) for name in one
    )


def _lacking(groups: Sequence[frozenset[str]], partial: Match, held: Sequence[str]) -> str:
    missing = sorted(min(group) for group in groups if not group & partial.keys())
    used = set(partial.values())
    unknown = sorted(name for name in held if name not in used and not name.endswith(COUNTER))
    more = f"; it has {_listed(map(repr, unknown[:SHOWN]), len(unknown))}, which the model has not" if unknown else ""
    none = ", none of the model's tensors" if not partial else ""
    return (
        f"it lacks {_listed(map(repr, missing), len(missing))}{none}{more}. Was it made by another backbone or an "
        "older model file? A constant that build() makes is no weight: register it with persistent=False"
    )


def _check(path: Path, model: str, state: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]) -> None:
    """Compare kinds, shapes and shared tensors, before any is loaded."""
    problems = []
    for name, tensor in found.items():
        own = state[name]
        kind = _unusual(tensor)
        if kind:
            problems.append(f"{name!r} is {kind}")
        elif tensor.shape != own.shape:
            problems.append(f"{name!r} is {list(tensor.shape)} in the file and {list(own.shape)} in the model")
        elif _kind(tensor) != _kind(own):
            problems.append(f"{name!r} is {_dtype(tensor)} in the file and {_dtype(own)} in the model")
    for group in groups_of(state):
        first, *others = (name for name in group if name in found)
        problems += [
            f"{first!r} and {other!r} are one tensor in the model and differ in the file"
            for other in others
            if not equal(found[first], found[other])
        ]
    if problems:
        raise CheckpointError(f"{path} does not fit {model}: {_listed(problems, len(problems))}")


def _refuse_diverged(path: Path, module: nn.Module, found: Mapping[str, torch.Tensor]) -> None:
    """No training ends well with NaN in a parameter. A buffer may hold it, such as a range that was never observed."""
    trained = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    holes = {name: int(tensor.isnan().sum()) for name, tensor in found.items() if name in trained}
    broken = [f"{name!r} ({count} of {found[name].numel()} numbers)" for name, count in holes.items() if count]
    if broken:
        raise CheckpointError(
            f"{path} holds NaN in {_listed(broken)}, so its training diverged and every answer would be NaN: give a "
            "checkpoint from before that"
        )


def _unusual(tensor: torch.Tensor) -> str | None:
    if tensor.is_quantized:
        return "quantized: give the float weights, and Lading makes the int8 variant"
    if tensor.is_meta:
        return "without values (on the device meta)"
    if tensor.layout != torch.strided:
        return "sparse: save tensor.to_dense()"
    if type(tensor) not in (torch.Tensor, nn.Parameter):
        return f"a {type(tensor).__name__}, one process's share: save the full state_dict"
    return None


def _kind(tensor: torch.Tensor) -> str:
    return "float" if tensor.is_floating_point() else "complex" if tensor.is_complex() else "whole"


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _loaded(file: WeightsFile, state: Mapping[str, torch.Tensor], match: Match) -> Loaded:
    tied = {name: min(group & match.keys()) for group in groups_of(state) for name in sorted(group - match.keys())}
    used = set(match.values())
    names = [*file.tensors, *file.others]
    layers = {name.rpartition(".")[0] for name in used}
    counters = {name for name in names if name.endswith(COUNTER) and name.rpartition(".")[0] in layers}
    cast = Counter(
        f"{_dtype(file.tensors[theirs])} to {_dtype(state[name])}"
        for name, theirs in match.items()
        if file.tensors[theirs].dtype != state[name].dtype
    )
    return Loaded(
        format=file.format,
        renamed=prefixes(match),
        tied=tied,
        dropped=_unused(used, [name for name in names if name not in used and name not in counters]),
        cast=dict(cast),
        counters=len(counters),
    )


def _more_inside(module: nn.Module, file: WeightsFile, match: Match) -> list[str]:
    """Names in the file that belong to the same network: more of a layer, of a block, or of a numbered row of them.

    A part of its own next to the network's parts, such as the head of another task, is none of these.
    """
    used = set(match.values())
    root, top = roots(match)
    beside = {name[len(top) :].lstrip(".").partition(".")[0] for name in used}
    numbered = any(name.isdecimal() for name in beside)
    inside = [name for name in file.tensors if name.startswith(f"{top}." if top else "") and name not in used]
    found = []
    for name in _unused(used, [name for name in inside if not name.endswith(COUNTER)]):
        front, _, end = name.rpartition(".")
        if front != top or (numbered and end.isdecimal()) or end in _switched_off(module.get_submodule(root)):
            found.append(name)
    return found


def _switched_off(layer: nn.Module) -> set[str]:
    """Tensors that a layer was made without, such as ``bias``."""
    return {name for name, value in (*layer._parameters.items(), *layer._buffers.items()) if value is None}


def _unused(used: set[str], names: Iterable[str]) -> dict[str, int]:
    """Names that are not used, joined to the shortest front that holds no used one."""
    taken = {name[:place] for name in used for place in range(len(name)) if name[place] == "."}
    found: Counter[str] = Counter()
    for name in names:
        fronts = (name[:place] for place in range(len(name)) if name[place] == ".")
        found[next((front for front in fronts if front not in taken), name)] += 1
    return dict(found)


def _tops(names: Iterable[str]) -> list[str]:
    return sorted({name.partition(".")[0] for name in names})


def _listed(names: Iterable[str], count: int | None = None) -> str:
    shown = list(names)
    count = len(shown) if count is None else count
    more = f" and {count - SHOWN} more" if count > SHOWN else ""
    return ", ".join(shown[:SHOWN]) + more
