"""A pipeline of scikit-learn goes in by way of skl2onnx, and its answers come out of every port."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from lading.artifact import Artifact, tensors_to_bytes
from lading.build.batch_axis import rename
from lading.build.onnx_file import pack_onnx
from lading.drift.reference import Reference
from lading.spec import Array
from tests.given.every_port import assert_every_port_answers
from tests.given.live_server import live_server
from tests.given.quick_verify import quick_verify

CITIES = ("Bergen", "Oslo", "Trondheim")


def people(rows: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": rng.uniform(18, 80, rows).astype(np.float32),
            "city": np.array(CITIES, object)[rng.integers(0, 3, rows)],
            "plan": np.array(["free", "paid"], object)[rng.integers(0, 2, rows)],
        }
    )


def pipeline(estimator: Any) -> Any:
    columns = [("age", StandardScaler(), ["age"]), ("names", OneHotEncoder(handle_unknown="ignore"), ["city", "plan"])]
    frame = people(200)
    target: Array = np.where((frame.age > 45) ^ (frame.city == "Oslo"), "stays", "leaves").astype(object)
    if isinstance(estimator, LinearRegression | RandomForestRegressor):
        target = frame.age.to_numpy() * 2 + (frame.plan == "paid")
    return make_pipeline(ColumnTransformer(columns), estimator).fit(frame, target)


def converted(pipe: Any, file: Path, **options: Any) -> Path:
    types = [
        ("age", FloatTensorType([None, 1])),
        ("city", StringTensorType([None, 1])),
        ("plan", StringTensorType([None, 1])),
    ]
    onnx.save(to_onnx(pipe, initial_types=types, options=options or None, target_opset={"": 18, "ai.onnx.ml": 3}), file)
    return file


def packed(file: Path, calibration: Path | None = None) -> Artifact:
    with quick_verify():
        return pack_onnx(file, file.with_suffix(""), name="people", calibration=calibration)


def as_inputs(frame: pd.DataFrame) -> dict[str, Array]:
    return {str(name): frame[name].to_numpy()[:, None] for name in frame}


@pytest.mark.parametrize("zipmap", [True, False], ids=["ZipMap", "plain"])
@pytest.mark.parametrize("estimator", [LogisticRegression(), RandomForestClassifier(5, random_state=0)], ids=repr)
def test_a_classifier_of_named_columns_answers_as_its_own_predict(estimator: Any, zipmap: bool, tmp_path: Path) -> None:
    pipe, asked = pipeline(estimator), people(5, seed=1)
    artifact = packed(converted(pipe, tmp_path / "people.onnx", zipmap=zipmap))
    names, scores = artifact.manifest.outputs
    assert scores.labels == tuple(pipe.classes_)
    assert [spec.categories for spec in artifact.manifest.inputs] == [None, CITIES, ("free", "paid")]
    wanted = {names.name: pipe.predict(asked), scores.name: pipe.predict_proba(asked)}
    with live_server(artifact) as live:
        assert_every_port_answers(live, as_inputs(asked), wanted)
        records = live.client.post("/predict", json=asked.astype({"age": float}).to_dict("records")).json()
        assert records["outputs"][names.name] == list(wanted[names.name])
        assert records["labels"][scores.name] == list(wanted[names.name])
        columns = live.client.post("/predict", json=asked.astype({"age": float}).to_dict("list"))
        assert columns.json()["outputs"] == records["outputs"]
        one = live.client.post("/predict", json={"age": 31, "city": "Paris", "plan": "free"})
        paris = pd.DataFrame({"age": [31.0], "city": ["Paris"], "plan": ["free"]})
        assert one.json()["outputs"][names.name] == list(pipe.predict(paris))  # handle_unknown="ignore"


def test_a_regressor_answers_as_its_own_predict(tmp_path: Path) -> None:
    pipe, asked = pipeline(LinearRegression()), people(5, seed=1)
    artifact = packed(converted(pipe, tmp_path / "people.onnx"))
    with live_server(artifact) as live:
        wanted = {artifact.manifest.outputs[0].name: pipe.predict(asked)[:, None]}
        assert_every_port_answers(live, as_inputs(asked), wanted, atol=1e-3)


def test_a_record_may_use_the_names_of_the_file(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(100, 1)).astype(np.float32)
    model = LogisticRegression().fit(rows, rows.sum(1) > 0)
    graph = to_onnx(model, initial_types=[("length", FloatTensorType([None, 1]))], options={"zipmap": False})
    rename(graph.graph, "length", "length (cm)")
    onnx.save(graph, tmp_path / "flowers.onnx")
    with live_server(packed(tmp_path / "flowers.onnx"), grpc_port="off") as live:
        answer = live.client.post("/predict", json=[{"length (cm)": float(row[0])} for row in rows[:3]])
        assert answer.status_code == 200, answer.text
        assert answer.json()["outputs"]["label"] == model.predict(rows[:3]).astype(int).tolist()


def test_calibration_data_with_strings_make_a_reference_and_no_int8_variant_without_a_matrix(tmp_path: Path) -> None:
    pipe, frame = pipeline(RandomForestClassifier(5, random_state=0)), people(80, seed=2)
    arrays = {
        name: values.astype(str) if values.dtype == object else values for name, values in as_inputs(frame).items()
    }
    (tmp_path / "rows.npz").write_bytes(tensors_to_bytes(arrays))
    artifact = packed(converted(pipe, tmp_path / "people.onnx", zipmap=False), tmp_path / "rows.npz")
    features = Reference.of(artifact).features
    assert features["city.category"].labels == (*CITIES, "(other)")
    assert features["city.category"].shares[-1] == 0
    assert [variant.variant.name for variant in artifact.manifest.variants] == ["fp32"]
    assert artifact.manifest.refused[0].reasons
    assert artifact.golden_inputs()["city"].dtype == object
