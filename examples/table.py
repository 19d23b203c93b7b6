"""Will a parcel be late? A table of numbers, categories and missing values, and a network with embeddings."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from lading import VARIANTS, Budget, ModelSpec, TensorSpec
from lading.spec import Array, Example

CARRIERS = ("bike", "rail", "road")
CITIES = ("Bergen", "Bodø", "Oslo", "Tromsø", "Trondheim")
OTHER_CITY = len(CITIES)
ROWS = {"train": 4000, "valid": 1000, "test": 2000}


class ParcelNet(nn.Module):
    """Numbers (batch, 2) and (batch,), codes int64 (batch,) to the probability of each outcome (batch, 2).

    A missing number becomes the mean, and a flag tells the network so.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, width: int = 32, embedded: int = 4) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("std", torch.ones(3))
        self.carriers = nn.Embedding(len(CARRIERS), embedded)
        self.cities = nn.Embedding(len(CITIES) + 1, embedded)
        self.hidden = nn.Linear(6 + 2 * embedded, width)
        self.head = nn.Linear(width, 2)

    def forward(
        self, parcel: torch.Tensor, hour: torch.Tensor, carrier: torch.Tensor, city: torch.Tensor
    ) -> torch.Tensor:
        numbers = torch.cat([parcel, hour[:, None]], 1)
        missing = torch.isnan(numbers)
        scaled = (torch.where(missing, self.mean, numbers) - self.mean) / self.std
        row = torch.cat([scaled, missing.float(), self.carriers(carrier), self.cities(city)], 1)
        return torch.softmax(self.head(self.hidden(row).relu()), 1)


class Parcels(ModelSpec):
    """A client sends rows by the names of the columns; the server makes tensors of them."""

    name = "parcels"
    description = "whether a parcel arrives in time, from a table of parcels"
    inputs = (
        TensorSpec(
            name="parcel",
            dtype="float32",
            shape=("batch", 2),
            labels=("distance_km", "weight_kg"),
            minimum=0,
            missing=True,
        ),
        TensorSpec(name="hour", dtype="float32", shape=("batch",), minimum=0, maximum=24, unit="h"),
        TensorSpec(name="carrier", dtype="int64", shape=("batch",), categories=CARRIERS),
        TensorSpec(name="city", dtype="int64", shape=("batch",), categories=CITIES, unknown=OTHER_CITY, missing=True),
    )
    outputs = (TensorSpec(name="arrival", dtype="float32", shape=("batch", 2), labels=("in time", "late")),)
    variants = VARIANTS[:1]  # fp32 only: int8 is no faster for so small a network
    budget = Budget(min_score=0.8)
    score_name = "accuracy"

    def build(self) -> nn.Module:
        return ParcelNet()

    def adapt(self, module: nn.Module) -> None:
        rows = np.array([[*given["parcel"], given["hour"]] for given, _ in self.dataset("train")])
        assert isinstance(module, ParcelNet)
        module.mean.copy_(torch.from_numpy(np.nanmean(rows, 0)))
        module.std.copy_(torch.from_numpy(np.nanstd(rows, 0)))

    def dataset(self, split: str) -> list[Example]:
        """Made-up parcels. One in ten has no weight, and one in ten goes to a city that has no code."""
        rng, rows = np.random.default_rng(list(ROWS).index(split)), ROWS[split]
        distance, weight = rng.gamma(2, 200, rows), rng.gamma(2, 3, rows)
        hour = rng.uniform(0, 24, rows)
        carrier = rng.integers(len(CARRIERS), size=rows)
        city = rng.choice(OTHER_CITY + 1, size=rows, p=[0.2, 0.1, 0.3, 0.1, 0.2, 0.1])
        speed = np.array([15, 60, 45])[carrier]
        delay = np.array([0, 6, 1, 8, 2, 4])[city]
        late = distance / speed + 0.3 * weight + delay + hour / 6 + rng.normal(0, 1, rows) > 15
        weight[rng.random(rows) < 0.1] = np.nan
        parcel = np.stack([distance, weight], 1).astype(np.float32)
        columns: dict[str, Array] = {
            "parcel": parcel,
            "hour": hour.astype(np.float32),
            "carrier": carrier,
            "city": city,
        }
        return [
            (
                {name: np.asarray(column[row]) for name, column in columns.items()},
                {"arrival": np.asarray(late[row], int)},
            )
            for row in range(rows)
        ]

    def loss(self, outputs: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return functional.nll_loss(outputs["arrival"].clamp_min(1e-9).log(), targets["arrival"])

    def score(self, outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
        return float(np.mean(outputs["arrival"].argmax(1) == targets["arrival"]))
