"""Find the tensors of a module in a file, whatever the file wraps them in.

Trainers add names in front (``state_dict``, ``model``, ``module``), and wrappers add some in between (``_orig_mod``).
No list of such names is needed: the tensors of a module all follow the same prefix. A name in between is one that the
other side never has.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch

Match = dict[str, str]
"""Name in the file by name in the module."""
Groups = Sequence[frozenset[str]]
"""Names in the module; those of a group share one tensor, so a file needs only one of them."""


def groups_of(state: Mapping[str, torch.Tensor]) -> Groups:
    """Group the names of tensors that share their memory, such as tied weights."""
    found: dict[tuple[object, ...], list[str]] = defaultdict(list)
    for name, tensor in state.items():
        shared = tensor.numel() and not tensor.is_meta
        place = (tensor.data_ptr(), tensor.shape, tensor.stride()) if shared else (name,)
        found[place].append(name)
    return [frozenset(names) for names in found.values()]


def matches(groups: Groups, held: Sequence[str]) -> tuple[list[Match], Match]:
    """Look for the module's names among those of a file.

    Args:
        groups: of the module.
        held: names in the file.

    Returns:
        Every different match with a name of each group, and the largest match.
    """
    wanted = sorted(name for group in groups for name in group)
    partial: Match = {}
    for candidates in (_after_one_prefix(wanted, held), _without_unknown_names(wanted, groups, held)):
        complete: list[Match] = []
        for match in candidates:
            partial = max(partial, match, key=len)
            if match not in complete and all(group & match.keys() for group in groups):
                complete.append(match)
        if complete:
            return complete, partial
    return [], partial


def _after_one_prefix(wanted: Sequence[str], held: Sequence[str]) -> Iterator[Match]:
    """Names that are equal after one prefix in the file, and one that all names of the module have."""
    shared = _shared_prefix(wanted)
    ends: dict[tuple[str, ...], list[tuple[int, str]]] = defaultdict(list)
    for name in wanted:
        for depth in range(len(shared) + 1):
            ends[tuple(name.split(".")[depth:])].append((depth, name))
    found: dict[tuple[tuple[str, ...], int], Match] = defaultdict(dict)
    for name in held:
        parts = tuple(name.split("."))
        for place in range(len(parts)):
            for depth, own in ends.get(parts[place:], ()):
                found[parts[:place], depth][own] = name
    yield from found.values()


def _without_unknown_names(wanted: Sequence[str], groups: Groups, held: Sequence[str]) -> Iterator[Match]:
    """Names that are equal once each side leaves out what the other never has, below every prefix in the file."""
    below: dict[tuple[str, ...], list[tuple[str, ...]]] = defaultdict(list)
    for name in held:
        parts = tuple(name.split("."))
        for place in range(len(parts)):
            below[parts[:place]].append(parts)
    known = {part for name in wanted for part in name.split(".")}
    for prefix, names in below.items():
        if len(names) < len(groups):
            continue
        theirs = {part for parts in names for part in parts[len(prefix) :]}
        places: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for parts in names:
            places[_kept(parts[len(prefix) :], known)].append(".".join(parts))
        own = {name: _kept(tuple(name.split(".")), theirs) for name in wanted}
        if len(set(own.values())) == len(own):
            yield {name: places[kept][0] for name, kept in own.items() if len(places.get(kept, ())) == 1}


def _kept(parts: tuple[str, ...], known: set[str]) -> tuple[str, ...]:
    return (*(part for part in parts[:-1] if part in known), parts[-1])


def _shared_prefix(names: Sequence[str]) -> tuple[str, ...]:
    """The names in front that all have in common. The last part of a name is the tensor's own."""
    shared: list[str] = []
    for parts in zip(*(name.split(".")[:-1] for name in names), strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return tuple(shared)


def common_prefix(names: Iterable[str]) -> str:
    """The front that all names have in common, without the tensors' own."""
    return ".".join(_shared_prefix(list(names)))


def roots(match: Match) -> tuple[str, str]:
    """Where the network begins in the module and in the file: below these, both have the same names."""
    own, theirs = list(_shared_prefix(list(match))), list(_shared_prefix(list(match.values())))
    while own and theirs and own[-1] == theirs[-1]:
        own.pop()
        theirs.pop()
    return ".".join(own), ".".join(theirs)


def prefixes(match: Match) -> dict[str, str]:
    """What changed in the names: the differing fronts of the file's and the module's names, each pair once."""
    found = {}
    for own, theirs in match.items():
        if own != theirs:
            end = _shared_end(own.split("."), theirs.split("."))
            found[theirs[: len(theirs) - len(end)]] = own[: len(own) - len(end)]
    return found


def _shared_end(own: list[str], theirs: list[str]) -> str:
    count = 0
    while count < min(len(own), len(theirs)) and own[-1 - count] == theirs[-1 - count]:
        count += 1
    return ".".join(own[len(own) - count :])
