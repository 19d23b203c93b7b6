"""Export is finished only when ONNX Runtime reproduces torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from lading.build.export.export import export, export_module
from lading.build.export.exporters import OPSET
from lading.build.export.parity import SIZES, cases, compare, run_module
from lading.build.records import graph_file, read_export
from lading.build.train import checkpoint as checkpoints
from lading.errors import CheckpointError, ExportError, QuantizationError
from lading.predictor import open_session
from lading.spec import Example, ModelSpec, TensorSpec, Variant
from tests.given.tiny import TinyGraph, TinyImage, TinyTable, fit


def save(spec: ModelSpec, path: Path) -> Path:
    module = fit(spec, steps=5)
    count = sum(parameter.numel() for parameter in module.parameters())
    card = checkpoints.RunCard(spec=spec.name, parameters=count, created="2026-01-01T00:00:00+00:00")
    return checkpoints.save_checkpoint(path, module, card)


@pytest.mark.parametrize("spec", [TinyImage(), TinyTable(), TinyGraph()], ids=lambda spec: spec.name)
def test_pictures_tables_and_graphs_are_exported_with_the_axes_of_the_spec(spec: ModelSpec, tmp_path: Path) -> None:
    file = tmp_path / "fp32.onnx"
    graph = export_module(spec, fit(spec, steps=5), file)
    session = open_session(file)
    assert graph.max_difference <= 1e-4
    assert [(node.name, node.shape) for node in session.get_inputs()] == [(t.name, list(t.shape)) for t in spec.inputs]
    assert [(node.name, node.shape) for node in session.get_outputs()] == [
        (t.name, list(t.shape)) for t in spec.outputs
    ]


def test_a_graph_holds_no_trace_of_this_machine(tiny_onnx: Path) -> None:
    content = tiny_onnx.read_bytes()
    assert b".py" not in content
    assert str(Path(__file__).parents[3]).encode() not in content
    assert [path.name for path in tiny_onnx.parent.iterdir()] == ["fp32.onnx"]


def test_weights_that_no_graph_can_hold_are_refused_before_anything_is_traced(tmp_path: Path) -> None:
    large = nn.Linear(30_000, 30_000, device="meta")  # without memory
    with pytest.raises(ExportError, match=r"its weights take 3\.6 GB, and a graph may have 2\.1 GB"):
        export_module(TinyTable(), large, tmp_path / "large.onnx")


def test_exporting_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    # Trained once: with other numbers of threads, which some test may have set, weights differ in their last bit.
    module = fit(TinyImage())
    for name in ("once.onnx", "again.onnx"):
        export_module(TinyImage(), module, tmp_path / name)
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "once.onnx").read_bytes()


def test_the_stage_writes_one_graph_a_pruning_share(tmp_path: Path) -> None:
    class Pruned(TinyTable):
        variants = (Variant(name="fp32"), Variant(name="pruned30", pruning=0.3), Variant(name="twin", pruning=0.3))

    weights = save(Pruned(), tmp_path / "tiny-table.safetensors")
    out = export(Pruned(), tmp_path / "export", checkpoints={0.0: weights, 0.3: weights})
    graphs = read_export(out).graphs
    assert [(graph.file, graph.pruning, graph.checkpoint) for graph in graphs] == [
        ("fp32.onnx", 0.0, weights.name),
        ("pruned30.onnx", 0.3, weights.name),
    ]
    assert all((out / graph.file).is_file() and graph.opset == OPSET for graph in graphs)
    assert graphs[0].parameters == 4 * 16 + 16 + 16 + 1


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere\.safetensors"):
        export(TinyTable(), tmp_path, checkpoints={0.0: tmp_path / "nowhere.safetensors"})


def test_graph_files_are_named_for_their_pruning() -> None:
    assert [graph_file(share) for share in (0.0, 0.3, 0.5)] == ["fp32.onnx", "pruned30.onnx", "pruned50.onnx"]


def test_a_folder_without_an_export_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(QuantizationError, match="run `lading export` first"):
        read_export(tmp_path)
    (tmp_path / "export.json").write_text("{")
    with pytest.raises(QuantizationError, match="cannot be read"):
        read_export(tmp_path)


class Broken(TinyTable):
    """A spec whose module is given."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def build(self) -> nn.Module:
        return self.module


class FixedBatch(nn.Module):
    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features.reshape(3, 4).sum(1, keepdim=True)


class Flat(nn.Module):
    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features.sum(1)


class Wide(nn.Module):
    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features[:, :2] * 2


class Wrong(nn.Module):
    """Branches on the data in Python, which tracing cannot follow."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features[:, :1] if bool(features.sum() > 0) else features[:, 1:2]


class Doubled(nn.Module):
    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features[:, :1].double()


class Unread(nn.Module):
    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return torch.zeros(features.shape[0], 1)


PROBLEMS = {
    FixedBatch: r"axis 0 of input 'features' is the constant 3, but the spec has 'batch': forward uses this size",
    Flat: "output 'value' has 1 axes",
    Wide: r"axis 1 of output 'value' has size 2, but the spec has 1",
    Wrong: r"test_export\.py:\d+: forward uses the values of a tensor in Python .* torch says: ",
    Doubled: r"dtype tensor\(double\), but the spec has float32",
}


@pytest.mark.parametrize(("module", "problem"), PROBLEMS.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_a_module_that_breaks_its_spec_is_refused_and_leaves_no_file(
    module: type[nn.Module], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=problem):
        export_module(Broken(module()), module(), tmp_path / "fp32.onnx")
    assert list(tmp_path.iterdir()) == []


def test_failures_of_all_graphs_are_in_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Twice(Broken):
        variants = (Variant(name="fp32"), Variant(name="pruned30", pruning=0.3, required=True))

    weights = save(TinyTable(), tmp_path / "tiny-table.safetensors")
    spec = Twice(Wide())
    (tmp_path / "tiny-table.safetensors").unlink()
    weights = checkpoints.save_checkpoint(
        weights, Wide(), checkpoints.RunCard(spec=spec.name, parameters=0, created="2026-01-01T00:00:00+00:00")
    )
    monkeypatch.setattr(checkpoints, "load_checkpoint", lambda *_: (Wide(), None))
    with pytest.raises(ExportError) as caught:
        export(spec, tmp_path / "export", checkpoints={0.0: weights, 0.3: weights})
    assert list(dict.fromkeys(one.split(":")[0] for one in caught.value.failures)) == ["fp32.onnx", "pruned30.onnx"]


def test_every_symbolic_dim_is_swept() -> None:
    named = [name for name, _ in cases(TinyImage())]
    assert named == [f"batch {size}" for size in SIZES]
    graphs = [name for name, _ in cases(TinyGraph())]
    assert {name.split()[0] for name in graphs} >= {"nodes", "edges"}


def test_without_data_the_sweep_uses_made_up_inputs(tmp_path: Path) -> None:
    class NoData(TinyImage):
        def dataset(self, split: str) -> list[Example]:
            raise KeyError(split)

    assert export_module(NoData(), fit(TinyImage(), steps=1), tmp_path / "fp32.onnx").max_difference <= 1e-4
    assert [(name, inputs["image"].shape[0]) for name, inputs in cases(NoData())] == [
        (f"batch {size}", size) for size in SIZES
    ]


def test_another_graph_than_the_module_is_found_out(tiny_onnx: Path) -> None:
    spec = TinyImage()
    worst, failures = compare(spec, fit(spec, steps=1), tiny_onnx)
    assert worst > 1e-2
    assert any("output 'colour' differs by" in failure for failure in failures)


class Shifted(nn.Module):
    """Values of about 1000 metres, ``by`` more of them."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return 1000 + self.by + features[:, :1].tanh()


@pytest.mark.parametrize(("by", "found"), [(0.05, False), (0.2, True)])
def test_what_may_differ_grows_with_the_output(by: float, found: bool, tmp_path: Path) -> None:
    export_module(Broken(Shifted(0.0)), Shifted(0.0), tmp_path / "fp32.onnx")
    _, failures = compare(Broken(Shifted(by)), Shifted(by), tmp_path / "fp32.onnx")
    assert bool(failures) is found


def test_names_axes_and_dtypes_are_compared_before_values(tiny_onnx: Path) -> None:
    class Renamed(TinyImage):
        outputs = (TinyImage.outputs[1], TinyImage.outputs[0])

    class Retyped(TinyImage):
        inputs = (TensorSpec(name="image", dtype="int8", shape=("batch", 16, 8, 3)),)

    module = fit(TinyImage(), steps=1)
    assert compare(Renamed(), module, tiny_onnx)[1] == [
        "the outputs are ['colour', 'shade'], but the spec has ['shade', 'colour']"
    ]
    _, failures = compare(Retyped(), module, tiny_onnx)
    assert any("dtype tensor(uint8)" in failure for failure in failures)
    assert any("axes" in failure for failure in failures)


def test_a_torn_graph_is_a_failure_and_not_a_crash(tmp_path: Path) -> None:
    torn = tmp_path / "torn.onnx"
    torn.write_bytes(b"not onnx")
    worst, failures = compare(TinyImage(), fit(TinyImage(), steps=1), torn)
    assert worst == float("inf")
    assert "cannot be opened by ONNX Runtime" in failures[0]


class Two(nn.Module):
    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return features, features


def test_a_module_must_return_one_tensor_an_output() -> None:
    with pytest.raises(ValueError, match=r"one tensor for each of the outputs \(value\)"):
        run_module(TinyTable(), Two(), {"features": np.zeros((1, 4), np.float32)})


class Raising(nn.Module):
    def forward(self, features: torch.Tensor) -> torch.Tensor:
        raise RuntimeError(f"no luck with {features.ndim} axes")


def test_torch_failing_itself_is_reported(tmp_path: Path) -> None:
    spec = TinyTable()
    file = tmp_path / "fp32.onnx"
    export_module(spec, fit(spec, steps=1), file)
    _, failures = compare(spec, Raising(), file)
    assert failures[0] == "at batch 1, torch itself fails: no luck with 2 axes"


class SizedByData(nn.Module):
    """Right for one row only: the graph answers another shape than the module for more."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features[:1, :1]


def test_another_shape_is_reported(tmp_path: Path) -> None:
    spec = TinyTable()
    file = tmp_path / "fp32.onnx"
    export_module(spec, fit(spec, steps=1), file)
    _, failures = compare(spec, SizedByData(), file)
    assert "at batch 2, output 'value' is float32 [2, 1], and torch gives float32 [1, 1]" in failures


def test_a_forward_of_any_number_of_tensors_is_exported(tmp_path: Path) -> None:
    class Many(nn.Module):
        def forward(self, *features: torch.Tensor) -> torch.Tensor:
            return features[0][:, :1] * 2

    graph = export_module(Broken(Many()), Many(), tmp_path / "fp32.onnx")
    assert graph.max_difference == 0


def test_an_input_that_forward_ignores_is_still_an_input(tmp_path: Path) -> None:
    export_module(Broken(Unread()), Unread(), tmp_path / "fp32.onnx")
    assert [value.name for value in onnx.load(tmp_path / "fp32.onnx").graph.input] == ["features"]


class OnlyRecorded(nn.Module):
    """Calls forward of a part that torch.export refuses to look into, and that the old exporter runs."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Linear(4, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        if torch.compiler.is_exporting():
            raise RuntimeError("not with torch.export")
        answer: torch.Tensor = self.table(features)
        return answer


def test_the_old_exporter_makes_the_graph_where_the_new_one_fails_and_it_is_recorded(tmp_path: Path) -> None:
    graph = export_module(Broken(OnlyRecorded()), OnlyRecorded(), tmp_path / "fp32.onnx")
    assert (graph.exporter, graph.made_by) == (
        "torchscript",
        f"older exporter (torchscript) of torch {torch.__version__}",
    )
    assert graph.max_difference < 1e-4
    other = export_module(TinyTable(), TinyTable().build(), tmp_path / "other.onnx")
    assert (other.exporter, other.made_by) == ("dynamo", f"dynamo exporter of torch {torch.__version__}")


class Frozen(OnlyRecorded):
    """The same, and its answer to every example is that to the first one."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return super().forward(features * float(features[0, 0]))


def test_a_value_that_the_old_exporter_would_freeze_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"old exporter: .*test_export\.py:\d+: Converting a tensor to a Python"):
        export_module(Broken(Frozen()), Frozen(), tmp_path / "fp32.onnx")


class Unrolled(nn.Module):
    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return torch.stack([features[row, :1] for row in range(features.shape[0])])


def test_a_loop_over_rows_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"the constant 3, .* as a number at .*test_export\.py:\d+ \(a literal"):
        export_module(Broken(Unrolled()), Unrolled(), tmp_path / "fp32.onnx")
