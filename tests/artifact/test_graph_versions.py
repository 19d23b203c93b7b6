"""A graph says which versions it has; every release of ONNX Runtime that reads them is known, and the others told."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from lading.artifact.graph_versions import GraphVersions, graph_versions
from lading.errors import ArtifactError
from lading.predictor import open_session
from tests.given.small_artifacts import table_artifact


def graph(opset: int, ir: int, domain: str = "") -> bytes:
    """One operator, stamped with an opset and an IR."""
    node = helper.make_node("Identity", ["x"], ["y"])
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    made = helper.make_model(helper.make_graph([node], "graph", value[:1], value[1:]), opset_imports=opsets)
    made.ir_version = ir
    bytes_: bytes = made.SerializeToString()
    return bytes_


@given(st.integers(1, 2**31), st.integers(1, 2**31), st.sampled_from(["", "ai.onnx.ml", "com.microsoft"]))
def test_the_versions_are_read_as_onnx_reads_them(opset: int, ir: int, domain: str) -> None:
    content = graph(opset, ir, domain)
    model = onnx.ModelProto.FromString(content)
    found = graph_versions(content)
    assert found.ir == model.ir_version
    assert found.opsets == {entry.domain: entry.version for entry in model.opset_import}


@given(st.binary(max_size=200))
def test_what_is_no_graph_has_no_versions_or_is_refused(content: bytes) -> None:
    with suppress(ValueError):
        assert graph_versions(content).ir >= 0


def test_a_file_is_read_as_its_bytes_are(tmp_path: Path) -> None:
    (tmp_path / "graph.onnx").write_bytes(graph(20, 10))
    assert graph_versions(tmp_path / "graph.onnx") == graph_versions(graph(20, 10)) == GraphVersions(10, {"": 20})


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        (GraphVersions(8, {"": 17}), "IR 8, opset 17, loads in onnxruntime >= 1.15"),
        (GraphVersions(10, {"": 20}), "IR 10, opset 20, loads in onnxruntime >= 1.18"),
        (GraphVersions(14, {"": 17}), "IR 14, opset 17, loads in onnxruntime >= 1.32"),
        (GraphVersions(9, {"": 26, "ai.onnx.ml": 3}), "IR 9, opset 26, ai.onnx.ml 3, loads in onnxruntime >= 1.25"),
        (
            GraphVersions(9, {"": 17, "com.microsoft": 1}),
            "IR 9, opset 17, com.microsoft 1, loads in onnxruntime >= 1.15 that has the operators of com.microsoft",
        ),
        (GraphVersions(9, {"": 99}), "IR 9, opset 99, loads in no onnxruntime up to 1.32"),
    ],
)
def test_the_oldest_runtime_is_named(versions: GraphVersions, said: str) -> None:
    assert f"{versions}, {versions.loads_in()}" == said


@pytest.mark.parametrize(
    ("versions", "limit"),
    [
        (GraphVersions(14, {"": 20}), "IR 13"),
        (GraphVersions(10, {"": 27}), "opset 25"),
        (GraphVersions(10, {"": 20, "ai.onnx.ml": 6}), "ai.onnx.ml 5"),
        (GraphVersions(14, {"": 28}), "IR 13 and opset 25"),
    ],
)
def test_what_a_runtime_does_not_read_is_one_sentence(versions: GraphVersions, limit: str) -> None:
    said = versions.too_new_for("1.24.1")
    assert said is not None
    assert f"onnxruntime 1.24.1 reads up to {limit}: " in said


def test_nothing_is_claimed_of_a_runtime_that_is_newer_than_the_table_or_older() -> None:
    assert GraphVersions(99, {"": 99}).too_new_for("9.0.0") is None
    assert GraphVersions(99, {"": 99}).too_new_for("1.14.1") is None
    assert GraphVersions(13, {"": 25}).too_new_for("1.24.1") is None


def test_the_table_has_the_limits_of_the_runtime_that_is_installed() -> None:
    def opens(opset: int, ir: int) -> bool:
        try:
            return bool(open_session(graph(opset, ir)))
        except ArtifactError:
            return False

    opset = max(version for version in range(7, 60) if opens(version, 8))
    ir = max(version for version in range(3, 40) if opens(13, version))
    assert GraphVersions(ir, {"": opset}).too_new_for(ort.__version__) is None
    for newer in (GraphVersions(ir + 1, {"": 13}), GraphVersions(8, {"": opset + 1})):
        known = "loads in no onnxruntime up to 1.32" in newer.loads_in()
        assert known or newer.too_new_for(ort.__version__), f"add onnxruntime {ort.__version__} to the table"


def test_a_graph_that_is_too_new_is_one_sentence_where_it_is_opened(tmp_path: Path) -> None:
    (tmp_path / "new.onnx").write_bytes(graph(13, 39))
    with pytest.raises(ArtifactError, match=r"new.onnx is too new: it has IR 39, opset 13, and onnxruntime") as caught:
        open_session(tmp_path / "new.onnx")
    assert "\n" not in str(caught.value)
    assert "ONNXRuntimeError" not in str(caught.value)


def test_every_variant_of_an_artifact_loads_in_the_runtime_here(tmp_path: Path) -> None:
    artifact = table_artifact(tmp_path / "table")
    for packed in artifact.manifest.variants:
        assert graph_versions(artifact.path / packed.file).too_new_for(ort.__version__) is None
