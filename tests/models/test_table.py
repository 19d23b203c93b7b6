"""The example of a table: numbers, categories and missing values in one file, of which nothing in the package knows."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lading.artifact import Artifact
from lading.build.examples import answer
from lading.build.export.export import export_module
from lading.drift.reference import Reference
from lading.import_string import load_spec
from lading.predictor import open_session
from lading.spec import Array
from tests.given.every_port import assert_every_port_answers
from tests.given.live_server import LiveServer, live_server
from tests.given.tiny import fit

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "table.py"
SPEC = load_spec(f"{EXAMPLE}:Parcels")
PARCELS: list[dict[str, Any]] = [
    {"distance_km": 30, "weight_kg": 1.5, "hour": 9, "carrier": "rail", "city": "Oslo"},
    {"distance_km": 1500, "weight_kg": 9, "hour": 20, "carrier": "bike", "city": "Tromsø"},
    {"distance_km": 900, "weight_kg": None, "hour": 20, "carrier": "bike", "city": "Longyearbyen"},
]
ANSWERS = ["in time", "late", "late"]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> ort.InferenceSession:
    file = tmp_path_factory.mktemp("parcels") / "fp32.onnx"
    export_module(SPEC, fit(SPEC, steps=5, most=200), file)
    return open_session(file)


NUMBERS = st.just(np.nan) | st.floats(0, 1e4, width=32)
ROWS = st.builds(
    lambda distance, weight, hour, carrier, city: {
        "parcel": np.array([distance, weight], np.float32),
        "hour": np.float32(hour),
        "carrier": np.int64(carrier),
        "city": np.int64(city),
    },
    *(NUMBERS, NUMBERS, st.floats(0, 24, width=32), st.integers(0, 2), st.integers(0, 5)),
)


@settings(deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=20))
def test_a_row_in_a_batch_gets_the_answer_that_it_gets_alone(
    session: ort.InferenceSession, rows: list[dict[str, Array]]
) -> None:
    together = answer(session, SPEC, [(row, {}) for row in rows])["arrival"]
    alone = [answer(session, SPEC, [(row, {})])["arrival"][0] for row in rows]
    assert np.isfinite(together).all()
    np.testing.assert_allclose(together, alone, atol=1e-6)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the example was built by its command."""
    folder = tmp_path_factory.mktemp("table")
    shutil.copy(EXAMPLE, folder)
    run(folder, "build", "table.py:Parcels", "data.workers=0", "trainer.threads=1", "trainer.max_epochs=6")
    return folder


@pytest.fixture(scope="module")
def served(built: Path) -> Iterator[LiveServer]:
    with live_server(Artifact.load(built / "artifacts" / "parcels")) as live:
        yield live


def run(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lading")), *words], cwd=folder,
        env=os.environ | {"WANDB_MODE": "offline"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_it_passes_its_gates_and_is_watched_by_column(built: Path) -> None:
    artifact = Artifact.load(built / "artifacts" / "parcels")
    measured = artifact.variant("fp32").measurement
    assert measured is not None
    assert measured.scores["test"] > 0.8
    features = Reference.of(artifact).features
    assert features["city.category"].labels == (*(artifact.manifest.inputs[3].categories or ()), "(other)")
    assert features["city.category"].shares[-1] == pytest.approx(0.1, abs=0.03)
    assert {"parcel.distance_km", "parcel.weight_kg", "parcel.missing", "carrier.category", "hour"} <= {*features}


@pytest.mark.slow
def test_it_is_served_over_every_port(served: LiveServer) -> None:
    answered = served.client.post("/predict", json=PARCELS).json()
    assert answered["labels"]["arrival"] == ANSWERS
    columns = {name: [parcel[name] for parcel in PARCELS] for name in PARCELS[0]}
    assert served.client.post("/predict", json=columns).json()["outputs"] == answered["outputs"]
    arrays = {
        "parcel": np.array([[30, 1.5], [1500, 9], [900, np.nan]], np.float32),
        "hour": np.array([9, 20, 20], np.float32),
        "carrier": np.array([1, 0, 0]),
        "city": np.array([2, 3, 5]),
    }
    assert_every_port_answers(served, arrays, {"arrival": np.array(answered["outputs"]["arrival"])}, atol=1e-5)


@pytest.mark.slow
def test_a_load_test_answers_all_its_rows(built: Path, served: LiveServer) -> None:
    where = ("--url", served.url, "--grpc", served.grpc, "--warm-up", "0")
    for artifact in ((), ("artifacts/parcels",)):
        run(built, "load", *artifact, *where, "--rate", "20", "--seconds", "3", "--slo", "errors=0%")


@pytest.mark.slow
def test_a_csv_file_of_parcels_is_scored(built: Path) -> None:
    with (built / "parcels.csv").open("w", newline="") as file:
        rows = csv.DictWriter(file, list(PARCELS[0]))
        rows.writeheader()
        rows.writerows(PARCELS)
    run(built, "score", "artifacts/parcels", "parcels.csv", "arrivals.jsonl")
    scored = [json.loads(line)["arrival_label"] for line in (built / "arrivals.jsonl").read_text().splitlines()]
    assert scored == ANSWERS
