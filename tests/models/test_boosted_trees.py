"""XGBoost and LightGBM go in by way of onnxmltools, and every port gives the library's own answers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lading.artifact import read_tensors
from lading.build.onnx_file import pack_onnx
from tests.given.every_port import assert_every_port_answers
from tests.given.hubs import install_hubs
from tests.given.live_server import live_server
from tests.given.quick_verify import quick_verify

TRAIN = """
import sys
from pathlib import Path
import numpy as np
import onnx
import lightgbm, onnxmltools, xgboost
from onnxmltools.convert.common.data_types import FloatTensorType

library, kind, zipmap = sys.argv[1:]
rng = np.random.default_rng(0)
rows = rng.normal(size=(300, 4)).astype(np.float32)
rows[::7, 2] = np.nan
target = rows[:, 0] * 2 + np.nan_to_num(rows[:, 2])
if kind == "classifier":
    target = np.digitize(target, [-1, 1])
made = {
    "xgboost": {"classifier": xgboost.XGBClassifier, "regressor": xgboost.XGBRegressor},
    "lightgbm": {"classifier": lightgbm.LGBMClassifier, "regressor": lightgbm.LGBMRegressor},
}[library][kind](n_estimators=8, **({"verbose": -1} if library == "lightgbm" else {}))
made.fit(rows, target)
types = [("rows", FloatTensorType([None, 4]))]
if library == "xgboost":
    graph = onnxmltools.convert_xgboost(made, initial_types=types, target_opset=15)
else:
    graph = onnxmltools.convert_lightgbm(made, initial_types=types, target_opset=15, zipmap=zipmap == "zipmap")
onnx.save(graph, "trees.onnx")
asked = rows[:12]
scores = {"scores": made.predict_proba(asked)} if kind == "classifier" else {}
np.savez("wanted.npz", rows=rows, asked=asked, answers=made.predict(asked), **scores)
"""


@pytest.fixture(scope="module")
def hubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_hubs(tmp_path_factory.mktemp("hubs"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("library", "kind", "zipmap"),
    [
        ("xgboost", "classifier", "plain"),
        ("xgboost", "regressor", "plain"),
        ("lightgbm", "classifier", "zipmap"),
        ("lightgbm", "classifier", "plain"),
        ("lightgbm", "regressor", "plain"),
    ],
)
def test_trees_answer_as_their_library_does(library: str, kind: str, zipmap: str, hubs: Path, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TRAIN, library, kind, zipmap],
        env=os.environ | {"PYTHONPATH": str(hubs)},
        cwd=tmp_path,
        check=True,
    )
    wanted = read_tensors(tmp_path / "wanted.npz")
    np.savez(tmp_path / "calibration.npz", rows=wanted["rows"])
    with quick_verify():
        artifact = pack_onnx(
            tmp_path / "trees.onnx", tmp_path / "artifact", name="trees", calibration=tmp_path / "calibration.npz"
        )
    manifest = artifact.manifest
    assert manifest.max_batch is None
    assert manifest.inputs[0].missing
    assert [variant.variant.name for variant in manifest.variants] == ["fp32"]  # trees have no weights to quantize
    expected = {manifest.outputs[0].name: wanted["answers"].reshape(-1, *[1] * (len(manifest.outputs[0].shape) - 1))}
    if kind == "classifier":
        assert manifest.outputs[1].labels == ("0", "1", "2")
        expected[manifest.outputs[1].name] = wanted["scores"]
    with live_server(artifact) as live:
        for way in (wanted["asked"], wanted["asked"][:1]):
            rows = {name: array[: len(way)] for name, array in expected.items()}
            assert_every_port_answers(live, {manifest.inputs[0].name: way}, rows, atol=1e-4)
