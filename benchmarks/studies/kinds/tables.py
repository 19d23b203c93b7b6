"""Models of tables: scikit-learn by skl2onnx, XGBoost and LightGBM by onnxmltools."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.studies.kinds.kind import CLASSES, FEW, Graph, Kind
from lading.spec import Array

COLUMNS = 12


def tables() -> Iterator[Kind]:
    yield Kind("scaled logistic regression", "scikit-learn", lambda folder: _sklearn(folder, _logistic()))
    for name, module in (
        ("RandomForestClassifier", "ensemble"),
        ("HistGradientBoostingClassifier", "ensemble"),
        ("GradientBoostingClassifier", "ensemble"),
        ("MLPClassifier", "neural_network"),
        ("KNeighborsClassifier", "neighbors"),
        ("GaussianNB", "naive_bayes"),
    ):
        yield Kind(name, "scikit-learn", _estimator(name, module))
    yield Kind("XGBClassifier", "xgboost", _xgboost)
    yield Kind("LGBMClassifier", "lightgbm", _lightgbm)


def _rows() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    kinds = np.arange(400) % CLASSES
    return (rng.standard_normal((CLASSES, COLUMNS))[kinds] + rng.standard_normal((400, COLUMNS))).astype("f4"), kinds


def _logistic() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression())


def _estimator(name: str, module: str) -> Callable[[Path], Graph]:
    def make(folder: Path) -> Graph:
        from importlib import import_module

        return _sklearn(folder, getattr(import_module(f"sklearn.{module}"), name)())

    return make


def _sklearn(folder: Path, model: Any) -> Graph:
    from skl2onnx import to_onnx

    rows, kinds = _rows()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(rows, kinds)
        graph = to_onnx(model, rows[:1], options={"zipmap": False})
    return _graph(folder, graph, rows, model)


def _xgboost(folder: Path) -> Graph:
    import xgboost
    from onnxmltools import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    rows, kinds = _rows()
    model = xgboost.XGBClassifier(n_estimators=50, n_jobs=1).fit(rows, kinds)
    graph = convert_xgboost(model, initial_types=[("X", FloatTensorType([None, COLUMNS]))])
    return _graph(folder, graph, rows, model)


def _lightgbm(folder: Path) -> Graph:
    import lightgbm
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    rows, kinds = _rows()
    model = lightgbm.LGBMClassifier(n_estimators=50, n_jobs=1, verbose=-1).fit(rows, kinds)
    graph = convert_lightgbm(model, initial_types=[("X", FloatTensorType([None, COLUMNS]))], zipmap=False)
    return _graph(folder, graph, rows, model)


def _graph(folder: Path, graph: Any, rows: Any, model: Any) -> Graph:
    (folder / "model.onnx").write_bytes(graph.SerializeToString())

    def answer(given: Mapping[str, Array]) -> list[Array]:
        (table,) = given.values()
        return [np.asarray(model.predict(table)), np.asarray(model.predict_proba(table))]

    return Graph(folder / "model.onnx", {graph.graph.input[0].name: rows[:FEW]}, answer)
