"""Molecules as graphs: properties such as logP, with their units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from lading import Budget, ModelSpec, TensorSpec
from lading.spec import VARIANTS, Array
from models.molecule_graphs import FEATURES, MoleculeSplit, Source, error_ratio

NODE_FEATURES = TensorSpec(name="node_features", dtype="float32", shape=("nodes", 11), labels=FEATURES, max_rows=256)
Form = Literal["dense", "scatter"]
Pool = Literal["sum", "mean"]


class MoleculeNet(nn.Module):
    """A graph isomorphism network (Xu et al., arXiv:1810.00826) to one float32 (batch,) a property.

    Takes several molecules one after another: ``node_features`` float32 (nodes, 11), ``edge_index`` int64 (2, edges),
    and ``owner`` int64 (nodes,), the molecule of each node, counting up from 0. The ``dense`` form multiplies by an
    adjacency matrix a molecule, padded to the largest one; the ``scatter`` form adds along all edges, and is what is
    trained. Both compute the same; docs/decisions/0014-graphs.md compares them.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, properties: int, *, width: int, layers: int, dropout: float, pool: Pool, form: Form) -> None:
        super().__init__()
        self.pool, self.form = pool, form
        self.embed = nn.Linear(len(FEATURES), width)
        self.rounds = nn.ModuleList(_perceptron(width, width, dropout) for _ in range(layers))
        self.head = _perceptron(width, properties, dropout)
        self.register_buffer("mean", torch.zeros(properties))
        self.register_buffer("deviation", torch.ones(properties))

    def forward(self, node_features: Tensor, edge_index: Tensor, owner: Tensor) -> tuple[Tensor, ...]:
        molecules = torch.arange(_size(owner[-1] + 1))
        member = (molecules[:, None] == owner).to(node_features.dtype)  # (batch, nodes), one 1 a column
        states = self.embed(node_features).relu()
        if self.training or self.form == "scatter":
            for update in self.rounds:
                states = update(states.index_add(0, edge_index[1], states[edge_index[0]])).relu()
        else:
            states = self._dense(states, edge_index, owner, member.sum(1).long())
        pooled = member @ states
        if self.pool == "mean":
            pooled = pooled / member.sum(1, keepdim=True)
        columns = (self.head(pooled) * self.deviation + self.mean).T
        return tuple(columns[index] for index in range(len(self.mean)))

    def _dense(self, states: Tensor, edges: Tensor, owner: Tensor, counts: Tensor) -> Tensor:
        most = _size(counts.max())
        starts = counts.cumsum(0) - counts
        # A molecule is a block of ``most`` rows; the last rows of a block repeat some node, and nothing reads them.
        padded = (starts[:, None] + torch.arange(most)).clamp(max=len(states) - 1).view(-1)
        row = torch.arange(len(states)) + (torch.arange(len(counts)) * most - starts)[owner]
        # Writing a 1 twice is writing it once: no sum whose order could differ, and a bond sent twice is one bond.
        place = row[edges[1]] * most + row[edges[0]] - owner[edges[0]] * most
        adjacency = torch.zeros(len(counts) * most * most).scatter(0, place, torch.ones(place.shape))
        adjacency = adjacency.view(-1, most, most) + torch.eye(most)
        states = states[padded]
        for update in self.rounds:
            summed = adjacency @ states.view(-1, most, states.shape[1])
            states = update(summed.view(-1, summed.shape[2])).relu()
        return states[row]


class Molecules(ModelSpec):
    """Properties of a molecule from its graph.

    A node is an atom, hydrogens included; its 11 features are those of ``torch_geometric.datasets.QM9``, in this order:
    H, C, N, O, F (one-hot), atomic number, aromatic, sp, sp2, sp3, number of hydrogens. ``edge_index`` holds each bond
    twice, once each way: sources in the first row, targets in the second.

    Args:
        data: ``generated`` molecules, which need no download, or ``qm9``.
        molecules: generated ones, of all splits.
        root: folder of QM9.
        form, width, layers, dropout, pool: of the network.
    """

    name = "molecules"
    description = "properties of a molecule from its atoms and bonds"
    inputs = (
        NODE_FEATURES,
        TensorSpec(name="edge_index", dtype="int64", shape=(2, "edges"), indexes="nodes", max_rows=1024),
        TensorSpec(name="owner", dtype="int64", shape=("nodes",), owner_of="nodes"),
    )
    variants = tuple(one for one in VARIANTS if one.pruning != 0.3)
    budget = Budget(min_score=0.85)
    score_name = "1 - MAE / MAE of the mean"

    def __init__(
        self,
        data: Literal["generated", "qm9"] = "generated",
        molecules: int = 40_000,
        root: str | None = None,
        *,
        form: Form = "dense",
        width: int = 64,
        layers: int = 4,
        dropout: float = 0.0,
        pool: Pool = "sum",
    ) -> None:
        self.source = Source(data, molecules, root)
        self.outputs = self.source.outputs  # each data set has its own
        self.network = {"form": form, "width": width, "layers": layers, "dropout": dropout, "pool": pool}

    def build(self) -> nn.Module:
        return MoleculeNet(len(self.outputs), **self.network)  # type: ignore[arg-type]

    def dataset(self, split: str) -> MoleculeSplit:
        return self.source.split(split)

    def reference(self) -> MoleculeSplit:
        # The validation split has only its own scaffolds; live requests have others too.
        return self.dataset("train" if self.source.data == "generated" else "valid")

    def adapt(self, module: nn.Module) -> None:
        for name, values in zip(("mean", "deviation"), self.source.statistics, strict=True):
            module.get_buffer(name).copy_(torch.from_numpy(values))

    def loss(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """Mean absolute error in standard deviations, over all properties."""
        deviation = dict(zip(outputs, self.source.statistics[1].tolist(), strict=True))
        errors = [nn.functional.l1_loss(outputs[name], targets[name]) / deviation[name] for name in outputs]
        return torch.stack(errors).mean()

    def score(self, outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
        """1 - MAE / MAE of the mean, averaged over the properties: 0 is as good as the mean, 1 is perfect."""
        return 1 - float(np.mean([error_ratio(outputs[name], targets[name]) for name in outputs]))


def _perceptron(width: int, out: int, dropout: float) -> nn.Sequential:
    hidden = nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(dropout)
    return nn.Sequential(*hidden, nn.Linear(width, out))


def _size(size: Tensor) -> int:
    """A size that depends on the data, as a number that torch.export treats as a symbol."""
    number = int(size.item())
    torch._check(number >= 1)
    return number
