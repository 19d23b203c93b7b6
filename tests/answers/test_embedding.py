"""An output of content ``embedding``: normalised, compared by cosine, and watched along the reference's directions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lading.answers import check_answers
from lading.artifact import Artifact
from lading.build.verify.report import write_report
from lading.drift.reference import Reference
from lading.drift.window import Window, scores_of
from lading.errors import SpecError
from lading.predictor import Predictor
from lading.spec import Array, Evaluated, Example, Quantization, TensorSpec, Variant
from lading.tensors.agreement import agreeing_rows
from tests.given.live_server import LiveServer, live_server
from tests.given.packed_graph import answers_of_all_ports, packed_graph, verified_graphs

DIMS = 16
POINT = TensorSpec(name="point", dtype="float32", shape=("batch", DIMS), content="embedding")
HONEST = "point = LpNormalization <axis = 1, p = 2> (x)"
LONG = "point = Identity (x)"
COARSE = (
    "factor = Constant <value = float {16.0}> () large = Mul (x, factor) whole = Round (large) "
    "one = Constant <value = float {0.001}> () moved = Add (whole, one) "
    "point = LpNormalization <axis = 1, p = 2> (moved)"
)


class Points(Evaluated):
    """Where does a vector point? Most of them lie near one plane."""

    name = "points"
    inputs = (TensorSpec(name="x", dtype="float32", shape=("batch", DIMS)),)
    outputs = (POINT,)
    variants = (
        Variant(name="fp32", max_score_drop=0.0, required=True),
        Variant(name="coarse", quantization=Quantization(method="dynamic"), max_score_drop=1.0),
    )

    def dataset(self, split: str) -> list[Example]:
        return [({"x": row}, {"point": row / np.linalg.norm(row)}) for row in rows(len(split), 400)]

    def score(self, outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
        return float((outputs["point"] * targets["point"]).sum(axis=1).mean())


def rows(seed: int, count: int, tilt: float = 0.0) -> Array:
    rng = np.random.default_rng(seed)
    plane = np.linalg.qr(np.random.default_rng(0).normal(size=(DIMS, 3)))[0].T
    flat = rng.normal(size=(count, 2)) @ plane[:2] + tilt * plane[2]
    return np.asarray(flat + 0.05 * rng.normal(size=(count, DIMS)), np.float32)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder: Path = tmp_path_factory.mktemp("points")
    return packed_graph(Points(), (HONEST, COARSE), folder)


@pytest.fixture(scope="module")
def live(artifact: Artifact) -> Iterator[LiveServer]:
    with live_server(artifact) as server:
        yield server


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dtype": "int64"}, "an embedding is a float tensor of shape"),
        ({"shape": ("batch", 4, 4)}, "an embedding is a float tensor of shape"),
        ({"shape": ("batch", "dims")}, "an embedding is a float tensor of shape"),
        ({"shape": ("nodes", DIMS)}, "an embedding is a float tensor of shape"),
        ({"labels": tuple(map(str, range(DIMS)))}, "an embedding has no labels"),
        ({"classes": ("a", "b")}, "classes name the values of boxes and masks"),
    ],
)
def test_a_tensor_that_is_no_embedding_is_refused(changes: dict[str, object], reason: str) -> None:
    check_answers([POINT])
    with pytest.raises(SpecError, match=f"tensor 'point': {reason}"):
        check_answers([TensorSpec.model_validate(POINT.model_dump() | changes)])


def test_one_that_is_not_normalised_stops_the_build_and_names_the_row(tmp_path: Path) -> None:
    verification = verified_graphs(Points(), (LONG, HONEST), tmp_path)
    assert verification.chosen is None
    assert verification.variants[0].reasons[0].startswith("output 'point' is no embedding in row 0: its length is ")


def test_a_variant_that_is_not_normalised_is_refused(tmp_path: Path) -> None:
    verification = verified_graphs(Points(), (HONEST, LONG), tmp_path)
    assert verification.chosen == "fp32"
    assert "its length is" in verification.variants[1].reasons[0]


def test_variants_are_compared_by_cosine_in_the_table_and_the_report(tmp_path: Path) -> None:
    verification = verified_graphs(Points(), (HONEST, COARSE), tmp_path)
    fp32, coarse = (entry.measurement for entry in verification.variants)
    assert fp32 is not None
    assert coarse is not None
    assert fp32.agreement == 1
    assert fp32.similarity["point"].least == pytest.approx(1)
    cosine = coarse.similarity["point"]
    assert cosine.measure == "cosine"
    assert cosine.least < 0.99 < cosine.mean < 1
    assert 0.5 < coarse.agreement < 1
    write_report(verification, tmp_path / "report.html")
    assert f"point: cosine {cosine.mean:.4f}, least {cosine.least:.4f}" in (tmp_path / "report.html").read_text()


def test_the_direction_decides_and_not_the_length() -> None:
    right = np.eye(DIMS, dtype=np.float32)[:3]
    got = np.stack([3 * right[0], right[1] + 0.05 * right[0], right[0]])
    assert agreeing_rows([POINT], {"point": right}, {"point": got}).tolist() == [True, True, False]


def test_the_description_says_how_alike_the_variant_is(live: LiveServer) -> None:
    (output,) = live.client.get("/model").json()["outputs"]
    assert output["content"] == "embedding"
    assert output["similarity"]["measure"] == "cosine"
    assert output["similarity"]["least"] == pytest.approx(1)


def test_every_port_answers_the_same_unit_vector(live: LiveServer) -> None:
    asked = rows(8, 3)
    expected = asked / np.linalg.norm(asked, axis=1, keepdims=True)
    for port, answered in answers_of_all_ports(live, {"x": asked}).items():
        np.testing.assert_allclose(answered["point"], expected, atol=1e-6, err_msg=port)


@settings(max_examples=20, deadline=None)
@given(size=st.integers(1, 9), seed=st.integers(0, 1000))
def test_a_batch_is_answered_as_its_rows_are_alone(artifact: Artifact, size: int, seed: int) -> None:
    predictor, asked = Predictor(artifact), rows(seed, size)
    alone = [predictor({"x": asked[[row]]})["point"][0] for row in range(size)]
    np.testing.assert_allclose(predictor({"x": asked})["point"], np.stack(alone), atol=1e-6)


def scores(reference: Reference, asked: Array) -> dict[str, bool]:
    window = Window(reference, 200)
    for row in asked:
        answered = {"point": row / np.linalg.norm(row)}
        window.add(reference.features_of((), (POINT,), {}, answered))
    found: dict[str, bool] = {}
    for score in scores_of(reference, window.blocks(), 1e-4):
        found[score.feature] = found.get(score.feature, False) or score.drifted
    return found


def test_drift_is_watched_along_the_principal_directions(artifact: Artifact) -> None:
    reference = Reference.of(artifact)
    axes = np.asarray(reference.directions["point"].axes)
    plane = np.linalg.qr(np.random.default_rng(0).normal(size=(DIMS, 3)))[0].T[:2]
    assert np.linalg.norm(plane @ axes[:2].T) == pytest.approx(2**0.5, abs=0.01), "the plane of the data comes first"
    assert {f"point.direction{place}" for place in range(8)} | {"point.rest"} <= set(reference.features)
    assert not any(drifted for name, drifted in scores(reference, rows(99, 400)).items() if name.startswith("point"))
    tilted = scores(reference, rows(99, 400, tilt=0.3))
    assert any(drifted for name, drifted in tilted.items() if name.startswith("point"))


def test_a_small_reference_has_fixed_directions() -> None:
    examples: list[Example] = [({}, {"point": row}) for row in rows(1, 60)]
    reference = Reference.fit((), (POINT,), examples)
    assert not reference.directions
    assert set(reference.features) == {f"point.{place}" for place in range(8)}
