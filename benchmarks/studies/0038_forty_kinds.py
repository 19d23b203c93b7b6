"""Which kinds of models go in, and what do they gain? Decision 38: the table of forty kinds.

    python -m benchmarks.studies.0038_forty_kinds --wheels FOLDER

Networks go in by `lading import`, ONNX files by `lading pack`. Each is exported, quantized, verified and packed, and
the artifact's answers are compared with those of the kind's own library. Weights are random, so a network for classes
gets a linear head that is fitted to its features.

timm, transformers, xgboost and lightgbm are those of requirements/hubs.txt, on PYTHONPATH. FOLDER is what
`uv pip install --no-deps --target FOLDER magika rapidocr-onnxruntime silero-vad nudenet basic-pitch swift-f0 ddddocr`
filled. A kind that is not installed says so. All of them take about twenty minutes on two cores.
"""

from __future__ import annotations

import tempfile
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Annotated, ClassVar

import numpy as np
import torch
import typer
from rich.table import Table
from torch import nn

from benchmarks.server.bench import console
from benchmarks.studies.kinds.kind import SPLITS, Graph, Kind, Network
from benchmarks.studies.kinds.networks import networks
from benchmarks.studies.kinds.tables import tables
from benchmarks.studies.kinds.wheels import wheels
from lading.artifact import Artifact, tensors_to_bytes
from lading.artifact.manifest import PackedVariant, RefusedVariant
from lading.build.export.cleanup import quiet
from lading.build.export.export import export
from lading.build.onnx_file import pack_onnx
from lading.build.pack import pack
from lading.build.quantize.quantize import quantize
from lading.build.records import require_passed
from lading.build.train.checkpoint import load_checkpoint
from lading.build.verify.verify import verify
from lading.build.weights.imported import import_weights
from lading.errors import LadingError
from lading.predictor import Predictor, open_session
from lading.spec import Array, Example, ModelSpec, Quantization, Variant
from lading.tensors.agreement import relative_error

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
CLOSE = 1e-3
"""Largest difference from the library's answer, as a share of its largest value."""
ABSENT = "not installed"
LONGEST = 200
"""Characters of a reason that are shown."""
MATRICES = (nn.LSTM, nn.GRU, nn.Embedding, nn.LayerNorm)
"""Layers of networks that are made of matrix products."""
SHOWN = 4
"""Examples that the artifact and the library answer."""


@dataclass(frozen=True)
class Row:
    """What became of one kind."""

    kind: Kind
    way: str = ""
    mebibytes: float = 0.0
    runs: str = ""
    best: str = ""
    refused: str = ""
    equal: str = ""
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    """Why the kind or a variant was refused, or what was raised."""

    def cells(self) -> tuple[str, ...]:
        size, seconds = (f"{value:.1f}" if value else "" for value in (self.mebibytes, self.seconds))
        found = (self.best, self.refused, self.equal)
        return (self.kind.name, self.kind.library, self.way, size, self.runs, *found, seconds)


def variants_of(network: Network) -> tuple[Variant, ...]:
    """Those that may pay for it. A hundred examples can show no smaller loss than 5 %."""
    methods = ["static"] + ["dynamic"] * any(isinstance(layer, MATRICES) for layer in network.build().modules())
    return (
        Variant(name="fp32", max_score_drop=0.0, required=True),
        *(Variant(name=f"int8-{one}", max_score_drop=0.05, quantization=Quantization(method=one)) for one in methods),
    )


class Imported(ModelSpec):
    """A network of the study. Each gets a subclass."""

    name = "kind"
    network: ClassVar[Network]
    answers: ClassVar[Sequence[Array]]

    def build(self) -> nn.Module:
        torch.manual_seed(0)
        return self.network.build()

    def dataset(self, split: str) -> list[Example]:
        names = [tensor.name for tensor in self.outputs]
        count = len(next(iter(self.network.examples.values())))
        return [
            ({name: array[i] for name, array in self.network.examples.items()}, self._target(names, i))
            for i in range(count)[SPLITS[split]]
        ]

    def _target(self, names: Sequence[str], index: int) -> dict[str, Array]:
        if self.network.classes is not None:
            return {names[0]: np.asarray(self.network.classes[index])}
        return {name: array[index] for name, array in zip(names, self.answers, strict=True)}

    def loss(self, outputs: object, targets: object) -> torch.Tensor:
        raise NotImplementedError("the study trains nothing")

    def score(self, outputs: object, targets: object) -> float:
        """Share of right classes, or 1 minus the relative error of other numbers."""
        assert isinstance(outputs, dict)
        assert isinstance(targets, dict)
        if self.network.classes is not None:
            (name,) = outputs
            return float(np.mean(outputs[name].argmax(-1) == targets[name]))
        return max(0.0, 1.0 - relative_error(targets, outputs))


def settle(network: Network, module: nn.Module) -> None:
    """Give random weights the statistics of the examples, and fit the last linear layer to the classes."""
    few = SPLITS["valid"].stop
    batch = [torch.from_numpy(array[:few]) for array in network.examples.values()]
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.momentum = None  # the mean over all batches
    module.train()
    with torch.no_grad():
        for _ in range(2):
            module(*batch)
    module.eval()
    linear = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    if network.classes is None or not linear:
        return
    seen: list[torch.Tensor] = []
    hook = linear[-1].register_forward_hook(lambda _layer, given, _answer: seen.append(given[0].detach()))
    with torch.no_grad():
        module(*batch)
    hook.remove()
    features = seen[0].reshape(few, -1, seen[0].shape[-1])[:, -1].double()
    wanted = 8.0 * nn.functional.one_hot(torch.from_numpy(network.classes[:few])).double()
    centred = features - features.mean(0)
    penalty = 1e-3 * centred.square().sum() / centred.shape[1] * torch.eye(centred.shape[1], dtype=torch.float64)
    weight = torch.linalg.solve(centred.T @ centred + penalty, centred.T @ (wanted - wanted.mean(0)))
    with torch.no_grad():
        linear[-1].weight.copy_(weight.T)
        if linear[-1].bias is not None:
            linear[-1].bias.copy_(wanted.mean(0) - features.mean(0) @ weight)


def imported(network: Network, folder: Path) -> tuple[Artifact, float]:
    """Bring a network in by its weights; the artifact, and its largest difference from torch."""
    torch.manual_seed(0)
    module = network.build()
    settle(network, module)
    torch.save(module.state_dict(), folder / "weights.pth")
    feed = {name: array[:SHOWN] for name, array in network.examples.items()}
    answers = _torch(module, network.examples)
    fields = {
        "network": network,
        "answers": answers,
        "inputs": network.inputs,
        "outputs": network.outputs,
        "variants": variants_of(network),
    }
    spec: ModelSpec = type("Given", (Imported,), fields)()
    checkpoint = folder / "weights.safetensors"
    import_weights(spec, folder / "weights.pth", checkpoint)
    loaded, _ = load_checkpoint(spec, checkpoint)
    assert all(np.array_equal(one, two) for one, two in zip(answers, _torch(loaded, network.examples), strict=True))
    exported = export(spec, folder / "export", checkpoints={0.0: checkpoint})
    variants = quantize(spec, exported, folder / "variants")
    verification = verify(spec, variants, folder / "verify")
    require_passed(verification)
    artifact = pack(spec, variants, verification, folder / "artifact", checkpoint=checkpoint)
    return artifact, difference(artifact, feed, [array[:SHOWN] for array in answers])


def _torch(module: nn.Module, feed: dict[str, Array] | object) -> list[Array]:
    assert isinstance(feed, dict)
    with torch.no_grad():
        answer = module(*(torch.from_numpy(array) for array in feed.values()))
    return [one.numpy() for one in (answer if isinstance(answer, tuple) else (answer,))]


def packed(graph: Graph, folder: Path) -> tuple[Artifact, float]:
    """Bring an ONNX file in; the artifact, and its largest difference from the library."""
    calibration = None
    if graph.examples is not None:
        calibration = folder / "calibration.npz"
        calibration.write_bytes(tensors_to_bytes(graph.examples))
    artifact = pack_onnx(graph.file, folder / "artifact", name="kind", calibration=calibration)
    golden = artifact.golden_inputs()
    count = len(next(iter(golden.values())))
    given = {spec.name: golden[spec.name] for spec in artifact.manifest.inputs}
    if graph.answer is not None:
        return artifact, difference(artifact, given, graph.answer(given))
    session = open_session(graph.file)
    one_by_one = artifact.manifest.max_batch == 1
    feed = {}
    for node, (name, array) in zip(session.get_inputs(), given.items(), strict=True):
        spec = next(tensor for tensor in artifact.manifest.inputs if tensor.name == name)
        feed[node.name] = np.asarray(array[0]) if len(node.shape) < len(spec.shape) else array
    answers = session.run(None, feed)
    wanted = [
        one[None] if one_by_one and one.ndim < len(spec.shape) else one
        for spec, one in zip(artifact.manifest.outputs, answers, strict=True)
    ]
    assert count
    return artifact, difference(artifact, given, wanted)


def difference(artifact: Artifact, given: dict[str, Array], wanted: Sequence[Array]) -> float:
    """Largest difference of the float32 variant's answers, as a share of the largest value."""
    worst = 0.0
    answers = Predictor(artifact, "fp32")(given)
    for got, right in zip(answers.values(), wanted, strict=True):
        if right.dtype.kind != "f":
            worst = max(worst, float(np.mean(got.reshape(-1) != right.reshape(-1))))
            continue
        assert got.size == right.size, f"{got.shape} is not {right.shape}"
        largest = float(np.abs(right).max(initial=1e-6))
        worst = max(worst, float(np.abs(got.reshape(-1) - right.reshape(-1)).max(initial=0.0)) / largest)
    return worst


def outcome(kind: Kind) -> Row:
    """Bring one kind in."""
    started = perf_counter()
    row = Row(kind)
    try:
        with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the libraries
            folder = Path(name)
            with quiet():
                given = kind.make(folder)
                way = "import" if isinstance(given, Network) else "pack"
                row = replace(row, way=way)
                made = imported(given, folder) if isinstance(given, Network) else packed(given, folder)
            row = described(row, *made)
    except (ImportError, FileNotFoundError) as error:
        return replace(row, equal=ABSENT, notes=(_short(error),))
    except LadingError as error:
        row = replace(row, equal="REFUSED", notes=(_short(error),))
    except Exception as error:  # What a library or a stage raises is a finding, and the table goes on.
        row = replace(row, equal="FAILED", notes=(f"{type(error).__name__}: {_short(error)}",))
    return replace(row, seconds=perf_counter() - started)


def _short(reason: object) -> str:
    return " ".join(str(reason).split())[:LONGEST]


def described(row: Row, artifact: Artifact, worst: float) -> Row:
    manifest = artifact.manifest
    chosen = artifact.variant()
    entries: tuple[PackedVariant | RefusedVariant, ...] = (*manifest.variants, *manifest.refused)
    shown = {}
    for entry in entries:
        name, measured = entry.variant.name, entry.measurement
        shown[name] = f"{name} {measured.speedup.value:.2f}" if measured else name
    refused = [entry for entry in entries if entry.reasons]
    return replace(
        row,
        mebibytes=artifact.onnx_file("fp32").stat().st_size / 2**20,
        runs="one by one" if manifest.max_batch == 1 else "batches",
        best=shown[chosen.variant.name],
        refused=", ".join(shown[entry.variant.name] for entry in refused),
        equal=f"{'equal' if worst <= CLOSE else 'DIFFER'} ({worst:.0e})",
        notes=tuple(f"{entry.variant.name}: {_short(entry.reasons[0])}" for entry in refused),
    )


@app.command(help=__doc__)
def main(
    only: Annotated[str, typer.Option(help="names of kinds or libraries, with commas between; default: all")] = "",
    wheel_folder: Annotated[Path | None, typer.Option("--wheels", help="folder with the packages' ONNX files")] = None,
    out: Annotated[Path | None, typer.Option(help="text file to add each row to, as it is found")] = None,
) -> None:
    wanted = {word.strip() for word in only.split(",") if word.strip()}
    kinds = [
        kind
        for kind in (*tables(), *wheels(wheel_folder), *networks())
        if not wanted or {kind.name, kind.library} & wanted
    ]
    table = Table("kind", "library", "way in", "MiB", "runs", "best, x fp32", "refused", "answers", "s")
    rows = []
    for kind in kinds:
        row = outcome(kind)
        rows.append(row)
        table.add_row(*row.cells())
        if out:
            with out.open("a") as stream:
                stream.write(f"| {' | '.join(row.cells())} |\n" + "".join(f"    {note}\n" for note in row.notes))
    console.print(table)
    for row in rows:
        for note in row.notes:
            console.print(f"{row.kind.name}: {note}", markup=False)
    found = Counter(row.equal.partition(" ")[0] for row in rows)
    console.print(f"{found['equal']} of {len(rows)} kinds are served with their library's answers")
    if found["DIFFER"]:
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
